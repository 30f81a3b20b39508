"""What every key of the shelf can do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol


class Verifier(Protocol):
    """The public half of a key."""

    @property
    def key_id(self) -> str:
        """Name of the key: hex SHA-256 of its PEM text, as ``publicKey.hint`` of a bundle holds it."""
        ...

    @property
    def algorithm(self) -> str:
        """Signature scheme.

        ``ecdsa-p256-sha256``, ``ecdsa-p384-sha384``, ``ecdsa-p521-sha512``, ``ed25519`` or ``ml-dsa-65``.
        """
        ...

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM text, with its last newline."""
        ...

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return when ``signature`` is this key's over ``data``.

        Args:
            signature: DER for ECDSA, raw for Ed25519 (64 bytes) and ML-DSA-65 (3,309 bytes).
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


@dataclass(frozen=True, slots=True)
class SecretWanted:
    """A secret that a key or a place asks for.

    Attributes:
        kind: A key's passphrase, a token's PIN, or the passphrase of a sealed file.
        of: Whose secret, for the prompt.
    """

    kind: Literal["passphrase", "PIN", "seal"]
    of: str


# Answers with the secret, or raises KeyFileError when there is nobody to ask. Called only when one is needed.
Ask = Callable[[SecretWanted], str]


@dataclass(frozen=True, slots=True)
class Opened:
    """A key that was opened.

    Attributes:
        signer: What signs with it.
        warnings: Sentences for the person who asked: what is careless about where the key or its secret lies.
    """

    signer: Signer
    warnings: tuple[str, ...] = ()


def key_id_of(public_pem: bytes) -> str:
    """Name a public key as OMS does.

    Args:
        public_pem: SubjectPublicKeyInfo PEM text including its last newline.

    Returns:
        Hex SHA-256 of the text (OMS v1.0, ``publicKey.hint``).
    """
    return hashlib.sha256(public_pem).hexdigest()
