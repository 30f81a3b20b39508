"""Keys in PEM files: made, read, used.

ECDSA on P-256, P-384 and P-521 signs over SHA-256, SHA-384 and SHA-512, the only pairs that every
OMS v1.0 verifier knows. Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204, pure, empty context) are in the
registry of signature algorithms that OMS refers to, but ``model_signing`` does not read them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from assay.errors import KeyFileError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Ask, Opened, SecretWanted, key_id_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import mldsa

    PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | mldsa.MLDSA65PublicKey
    PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA65PrivateKey

MAX_BYTES = 64 * 1024  # the largest PEM key anybody has is far below; a bigger file is something else
WANTED = "wanted an EC key on P-256, P-384 or P-521, an Ed25519 or an ML-DSA-65 key"
KINDS = ("p256", "p384", "p521", "ed25519", "ml-dsa-65")  # what can be made

_SCHEMES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("ecdsa-p256-sha256", hashes.SHA256()),
    "secp384r1": ("ecdsa-p384-sha384", hashes.SHA384()),
    "secp521r1": ("ecdsa-p521-sha512", hashes.SHA512()),
}
_MAX_PASSPHRASE_BYTES = 1023  # OpenSSL, PEM_BUFSIZE
LOOSE_BITS = stat.S_IRWXG | stat.S_IRWXO

_CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}


class PemVerifier:
    """A public key that verifies. Make it with :func:`load_public` or :func:`read_public`."""

    def __init__(self, key: PublicKey) -> None:
        self._key = key
        self._pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = key_id_of(self._pem)
        self.algorithm = algorithm_of(key)

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM text."""
        return self._pem

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return when ``signature`` is this key's over ``data``.

        Raises:
            VerificationError: It is not; rule ``signature.bad``.
        """
        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, data, ec.ECDSA(_SCHEMES[self._key.curve.name][1]))
            else:
                self._key.verify(signature, data)
        except InvalidSignature as err:
            detail = f"the signature is not one of key {self.key_id[:16]} ({self.algorithm}) over these bytes"
            finding = Finding("signature.bad", self.key_id, Severity.CRITICAL, detail)
            raise VerificationError(detail, [finding]) from err


class PemSigner:
    """A private key held in memory. Make it with :func:`load_private` or :func:`generate`.

    Attributes:
        key_id: Hex SHA-256 of the public PEM text.
        algorithm: Signature scheme.
        encrypted: The file it came from asks for a passphrase.
        loose_mode: Others than the owner may read the file it came from.
    """

    def __init__(self, key: PrivateKey, *, encrypted: bool, loose_mode: bool) -> None:
        self._key = key
        public = PemVerifier(key.public_key())
        self._pem = public.public_pem()
        self.key_id = public.key_id
        self.algorithm = public.algorithm
        self.encrypted = encrypted
        self.loose_mode = loose_mode

    def __repr__(self) -> str:
        return f"PemSigner({self.algorithm}, {self.key_id})"  # the key itself never reaches a log

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM text."""
        return self._pem

    def sign(self, data: bytes) -> bytes:
        """Sign the bytes themselves; DER for ECDSA, raw for the others."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(_SCHEMES[self._key.curve.name][1]))
        return self._key.sign(data)

    def backup(self, path: Path, *, passphrase: str) -> None:
        """Write the private key once more, always encrypted, and open what was written.

        The file is an ordinary encrypted PKCS#8 key: to restore it is to use it.

        Args:
            path: Where it goes (mode 0600). Nothing is ever overwritten.
            passphrase: Its own; not empty.

        Raises:
            KeyFileError: It cannot be written, or what was written does not open as this key.
        """
        _create(path, _encoded(self._key, _checked(passphrase, path)), mode=0o600)
        try:
            again = load_private(path, passphrase=passphrase)
            load_public(self._pem).verify(again.sign(b"assay backup"), b"assay backup")
        except (KeyFileError, VerificationError) as err:
            raise KeyFileError(f"{path}: the backup does not open as key {self.key_id[:16]}; keep the key") from err


def algorithm_of(key: PublicKey) -> str:
    """Name the signature scheme a public key is used with.

    Raises:
        KeyFileError: The key is of a kind we do not sign or verify with.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return "ml-dsa-65"
    if key.curve.name in _SCHEMES:
        return _SCHEMES[key.curve.name][0]
    raise KeyFileError(f"found an EC key on {key.curve.name}; {WANTED}")


def generate(path: Path, *, passphrase: str | None, kind: str = "p256") -> PemSigner:
    """Make a key: PKCS#8 at ``path`` (mode 0600), its public half at ``path`` with ``.pub``.

    Args:
        path: Where the private key goes. Nothing is ever overwritten.
        passphrase: Encrypts the file; None leaves it in plain text.
        kind: ``p256``, ``p384``, ``p521``, ``ed25519`` or ``ml-dsa-65``.

    Raises:
        KeyFileError: A file is there already, or cannot be written; the installed cryptography makes no such key.
    """
    public_path = path.with_suffix(".pub")
    if public_path == path:
        raise KeyFileError(f"{path}: the private key would get the name of its public half; choose another ending")
    secret = None if passphrase is None else _checked(passphrase, path)
    key = _new(kind)
    text = _encoded(key, secret)
    signer = PemSigner(key, encrypted=passphrase is not None, loose_mode=False)
    # The public half first: when it cannot be written, no private key was left behind.
    _create(public_path, signer.public_pem(), mode=0o644)
    try:
        _create(path, text, mode=0o600)
    except KeyFileError:
        public_path.unlink()
        raise
    return signer


def write_public(path: Path, pem: bytes) -> None:
    """Write a public key; nothing is ever overwritten.

    Raises:
        KeyFileError: A file is there already, or cannot be written.
    """
    _create(path, pem, mode=0o644)


def open_key(address: str, ask: Ask) -> Opened:
    """Open the key of a PEM file; its passphrase is asked for when it is encrypted.

    Raises:
        KeyFileError: Missing, unreadable, not such a key, or the passphrase is wrong.
    """
    path = Path(address)
    text, _ = read_text(path)
    signer = load_private(path, passphrase=ask(SecretWanted("passphrase", address)) if is_encrypted(text) else None)
    warnings = []
    if not signer.encrypted:
        warnings.append(f"{path} is not encrypted; assay keys new makes encrypted ones")
    if signer.loose_mode:
        warnings.append(f"{path} can be read by others: chmod 600 {path}")
    return Opened(signer, tuple(warnings))


def load_private(path: Path, *, passphrase: str | None = None) -> PemSigner:
    """Read a private key: SEC1 or PKCS#8, encrypted or not.

    Args:
        path: PEM file of an EC P-256, P-384 or P-521, an Ed25519 or an ML-DSA-65 key.
        passphrase: For an encrypted file; ignored for a plain one.

    Raises:
        KeyFileError: Missing, unreadable, not such a key, or the passphrase is wrong.
    """
    text, mode = read_text(path)
    if b"PRIVATE KEY-----" not in text:
        raise KeyFileError(f"{path}: found {label(text)}; wanted a private key in PEM (BEGIN … PRIVATE KEY)")
    encrypted = is_encrypted(text)
    if encrypted and not passphrase:
        raise KeyFileError(f"{path}: found an encrypted private key; give its passphrase")
    secret = _checked(passphrase, path) if encrypted and passphrase else None
    try:
        key = serialization.load_pem_private_key(text, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        why = "the passphrase is wrong, or the file is damaged" if encrypted else "the private key is damaged or odd"
        raise KeyFileError(f"{path}: {why}; {WANTED}") from err
    if not _is_private(key):
        raise KeyFileError(f"{path}: found {_kind(key)}; {WANTED}")
    try:
        return PemSigner(key, encrypted=encrypted, loose_mode=bool(mode & LOOSE_BITS))
    except KeyFileError as err:
        raise KeyFileError(f"{path}: {err.message}") from err


def load_public(pem: bytes) -> PemVerifier:
    """Take a public key from SubjectPublicKeyInfo PEM text.

    Raises:
        KeyFileError: The text is no such key.
    """
    if len(pem) > MAX_BYTES:
        raise KeyFileError(f"found {len(pem)} bytes; a public key has at most {MAX_BYTES}")
    if b"-----BEGIN PUBLIC KEY-----" not in pem:
        raise KeyFileError(f"found {label(pem)}; wanted a public key in PEM (BEGIN PUBLIC KEY)")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise KeyFileError(f"the public key is damaged or odd; {WANTED}") from err
    if not _is_public(key):
        raise KeyFileError(f"found {_kind(key)}; {WANTED}")
    return PemVerifier(key)


def is_encrypted(text: bytes) -> bool:
    """Whether the text of a private key asks for a passphrase."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in text or b"Proc-Type: 4,ENCRYPTED" in text


def read_public(path: Path) -> PemVerifier:
    """Read a public key from a PEM file.

    Raises:
        KeyFileError: Missing, unreadable, or no such key.
    """
    text, _ = read_text(path)
    try:
        return load_public(text)
    except KeyFileError as err:
        raise KeyFileError(f"{path}: {err.message}") from err


def _is_private(key: object) -> TypeGuard[PrivateKey]:
    # By name: releases of cryptography without ML-DSA have no such type to compare with.
    known = isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
    return known or type(key).__name__ == "MLDSA65PrivateKey"


def _is_public(key: object) -> TypeGuard[PublicKey]:
    known = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    return known or type(key).__name__ == "MLDSA65PublicKey"


def _new(kind: str) -> PrivateKey:
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind != "ml-dsa-65":
        raise KeyFileError(f"found the kind of key {kind!r}; wanted one of {', '.join(KINDS)}")
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa

        return mldsa.MLDSA65PrivateKey.generate()
    except (ImportError, UnsupportedAlgorithm) as err:  # before release 48, or an OpenSSL without it
        raise KeyFileError("the installed cryptography makes no ML-DSA keys: pip install -U cryptography") from err


def _checked(passphrase: str, path: Path) -> bytes:
    if not passphrase:
        raise KeyFileError(f"{path}: found an empty passphrase; give one, or none for a key in plain text")
    secret = passphrase.encode("utf-8", "surrogateescape")
    if len(secret) > _MAX_PASSPHRASE_BYTES:
        raise KeyFileError(f"{path}: the passphrase has more than {_MAX_PASSPHRASE_BYTES} bytes; no reader takes it")
    return secret


def _encoded(key: PrivateKey, secret: bytes | None) -> bytes:
    secrecy: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secrecy)


def read_text(path: Path) -> tuple[bytes, int]:
    """Read a PEM file, bounded, and the mode bits it has.

    Raises:
        KeyFileError: Missing, unreadable, no regular file, or too large for a key.
    """
    try:
        # O_NONBLOCK: a FIFO in the key's place must not hang us.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else str(err)
        raise KeyFileError(f"{path}: cannot read the key ({reason}); check the path and its permissions") from err
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise KeyFileError(f"{path}: found a folder or device; wanted a PEM file")
    with os.fdopen(handle, "rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise KeyFileError(f"{path}: found more than {MAX_BYTES} bytes; wanted a PEM key")
    return text, stat.S_IMODE(status.st_mode)


def _create(path: Path, data: bytes, *, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except FileExistsError as err:
        raise KeyFileError(f"{path}: a file is there already and is never overwritten; choose another name") from err
    except OSError as err:
        raise KeyFileError(f"{path}: cannot write the key ({err.strerror})") from err
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        path.unlink(missing_ok=True)
        raise KeyFileError(f"{path}: cannot write the key ({err.strerror})") from err


def label(text: bytes) -> str:
    """What a PEM text says it is, for a message; never its content."""
    if not text.strip():
        return "an empty file"
    start = text.find(b"-----BEGIN ")
    if start < 0:
        return "no PEM text"
    found = text[start + 11 : start + 60].split(b"-----")[0].decode("ascii", "replace")
    return f"PEM text of a {found!r}"


def _kind(key: object) -> str:
    name = type(key).__name__
    for word in ("PublicKey", "PrivateKey"):
        name = name.removesuffix(word)
    return f"a key of kind {name.lstrip('_')}"
