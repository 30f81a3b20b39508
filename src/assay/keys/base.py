"""What every key of the shelf can do."""

from __future__ import annotations

import hashlib
from typing import Protocol


class Verifier(Protocol):
    """The public half of a key."""

    @property
    def key_id(self) -> str:
        """Name of the key: hex SHA-256 of its PEM text, as ``publicKey.hint`` of a bundle holds it."""
        ...

    @property
    def algorithm(self) -> str:
        """Signature scheme: ``ecdsa-p256-sha256``, ``ecdsa-p384-sha384``, ``ecdsa-p521-sha512`` or ``ed25519``."""
        ...

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM text, with its last newline."""
        ...

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return when ``signature`` is this key's over ``data``.

        Args:
            signature: DER for ECDSA, 64 raw bytes for Ed25519.
            data: The bytes signed, not their digest.

        Raises:
            VerificationError: It is not.
        """
        ...


class Signer(Protocol):
    """The private half of a key, wherever it lives."""

    @property
    def key_id(self) -> str:
        """Name of the key: hex SHA-256 of its public PEM text."""
        ...

    @property
    def algorithm(self) -> str:
        """Signature scheme, as in :class:`Verifier`."""
        ...

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM text, with its last newline."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Sign the bytes themselves; hashing is part of the scheme."""
        ...


def key_id_of(public_pem: bytes) -> str:
    """Name a public key as OMS does.

    Args:
        public_pem: SubjectPublicKeyInfo PEM text including its last newline.

    Returns:
        Hex SHA-256 of the text (OMS v1.0, ``publicKey.hint``).
    """
    return hashlib.sha256(public_pem).hexdigest()
