"""Keys that never leave their token: PKCS#11 through python-pkcs11.

The hash is made here and only the digest goes to the token, because CKM_ECDSA is what every token
has; a token that has only the hashing mechanisms gets the bytes. Tokens answer with r||s, bundles hold DER.

References:
    OASIS PKCS#11 v3.0, section 2.3 (elliptic curves); RFC 7512.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from assay.errors import KeyFileError, MissingExtraError, VerificationError
from assay.keys import rfc7512
from assay.keys.base import Ask, Opened, SecretWanted
from assay.keys.pem import PemVerifier, load_public
from assay.keys.rfc7512 import TokenAddress

if TYPE_CHECKING:
    import pkcs11

MODULE = "PKCS11_MODULE_PATH"  # the variable that OpenSSL's PKCS#11 provider reads too
_MAX_PIN_BYTES = 256
_CURVE_OIDS: dict[bytes, ec.EllipticCurve] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
    bytes.fromhex("06052b81040023"): ec.SECP521R1(),
}
_HASHES: dict[str, tuple[hashes.HashAlgorithm, str]] = {
    "ecdsa-p256-sha256": (hashes.SHA256(), "ECDSA_SHA256"),
    "ecdsa-p384-sha384": (hashes.SHA384(), "ECDSA_SHA384"),
    "ecdsa-p521-sha512": (hashes.SHA512(), "ECDSA_SHA512"),
}
_HALF_BYTES = {"ecdsa-p256-sha256": 32, "ecdsa-p384-sha384": 48, "ecdsa-p521-sha512": 66}
_RAW_ED25519_BYTES = 32
_DER_OCTETS = b"\x04"


class Pkcs11Signer:
    """A private key on a token. Make it with :func:`open_key`.

    Each signature opens a session of its own and closes it, so that nothing stays signed in.
    """

    def __init__(self, door: Door, public: PemVerifier) -> None:
        self._door = door
        self._public = public
        self.key_id = public.key_id
        self.algorithm = public.algorithm

    def __repr__(self) -> str:
        return f"Pkcs11Signer({self.algorithm}, {self.key_id}, {self._door.address})"

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM text."""
        return self._public.public_pem()

    def sign(self, data: bytes) -> bytes:
        """Have the token sign; DER for ECDSA, 64 raw bytes for Ed25519.

        Raises:
            KeyFileError: The token is gone, refuses, or answers with what is no signature of this key.
        """
        with self._door.session() as session:
            signature = _sign(_private(session, self._door.address), self.algorithm, data)
        try:
            self._public.verify(signature, data)
        except VerificationError as err:
            detail = f"{self._door.address}: the token's private and public key do not belong together"
            raise KeyFileError(detail) from err
        return signature


class Door:
    """The way to a token: where it is, and the PIN that opens it, which is never shown.

    Args:
        address: Which token.
        pin: What opens it.
    """

    def __init__(self, address: TokenAddress, pin: str) -> None:
        self.address = address
        self._pin = pin

    def __repr__(self) -> str:
        return f"Door({self.address})"

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[pkcs11.Session]:
        """Sign in for as long as the block runs.

        Args:
            write: The block makes or removes objects.

        Raises:
            KeyFileError: There is no such token, or it does not take the PIN; or what the block asked of it failed.
        """
        import pkcs11

        try:
            with _token(self.address).open(rw=write, user_pin=self._pin) as session:
                yield session
        except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid) as err:
            detail = f"{self.address}: the PIN is wrong; a token locks itself after a few wrong ones"
            raise KeyFileError(detail) from err
        except pkcs11.PinLocked as err:
            raise KeyFileError(f"{self.address}: the token is locked after too many wrong PINs") from err
        except pkcs11.PKCS11Error as err:
            raise KeyFileError(f"{self.address}: the token refuses ({type(err).__name__})") from err


def open_key(address: str, ask: Ask) -> Opened:
    """Open a key on a token by its ``pkcs11:`` address.

    Args:
        address: ``pkcs11:token=…;object=…?module-path=…``; ``id=`` in place of or beside ``object=``.
        ask: For the PIN, when the address names no file with it.

    Raises:
        KeyFileError: No such token or key, a wrong PIN, or a key of a kind we do not sign with.
        MissingExtraError: python-pkcs11 is not installed.
    """
    wanted = rfc7512.parse(address)
    if wanted.label is None and wanted.id is None:
        raise KeyFileError(f"{wanted}: which key? add object=LABEL or id=%01")
    door, warnings = open_door(wanted, ask)
    with door.session() as session:
        public = _public(session, wanted)
        _private(session, wanted)
    return Opened(Pkcs11Signer(door, public), warnings)


def open_door(address: TokenAddress, ask: Ask) -> tuple[Door, tuple[str, ...]]:
    """Find the token and its PIN; whether it takes the PIN is seen when a session is opened.

    Returns:
        The way in, and warnings about where the PIN came from.

    Raises:
        KeyFileError: No such token, or its PIN cannot be had.
        MissingExtraError: python-pkcs11 is not installed.
    """
    _token(address)  # before asking: nobody types a PIN for a token that is not there
    if address.pin is not None:
        warning = "a PIN in the address is seen by everybody who lists processes: use pin-source=file:… or ASSAY_PIN"
        return Door(address, address.pin), (warning,)
    if address.pin_file is not None:
        pin, warnings = _read_pin(address.pin_file)
        return Door(address, pin), warnings
    return Door(address, ask(SecretWanted("PIN", str(address)))), ()


def _token(address: TokenAddress) -> pkcs11.Token:
    try:
        import pkcs11
    except ImportError as err:
        raise MissingExtraError("a key on a PKCS#11 token", "pkcs11") from err
    module = address.module or Path(os.environ.get(MODULE) or "")
    if not module.is_file():
        named = f"{module} is no file" if address.module or os.environ.get(MODULE) else "no module is named"
        raise KeyFileError(f"{address}: {named}; give ?module-path=/…/library.so, or set {MODULE}")
    try:
        slots = pkcs11.lib(str(module)).get_slots(token_present=True)
        tokens = [slot.get_token() for slot in slots if address.slot in {None, slot.slot_id}]
        there = [token for token in tokens if pkcs11.TokenFlag.TOKEN_INITIALIZED in token.flags]
    except pkcs11.PKCS11Error as err:
        raise KeyFileError(f"{module}: cannot be used as a PKCS#11 module ({err or type(err).__name__})") from err
    fitting = [token for token in there if _fits(token, address)]
    if len(fitting) != 1:
        labels = ", ".join(sorted(repr(token.label) for token in there)) or "none"
        raise KeyFileError(f"{address}: fits {len(fitting)} tokens, wanted one; tokens there: {labels}")
    return fitting[0]


def _fits(token: pkcs11.Token, address: TokenAddress) -> bool:
    said = {
        "token": token.label,
        "manufacturer": token.manufacturer_id,
        "model": token.model,
        "serial": token.serial.decode("utf-8", "replace"),
    }
    return all(said[name].strip(" \0") == value for name, value in address.token)


def _find(session: pkcs11.Session, address: TokenAddress, kind: pkcs11.ObjectClass) -> list[pkcs11.Object]:
    import pkcs11

    template: dict[pkcs11.Attribute, object] = {pkcs11.Attribute.CLASS: kind}
    if address.label is not None:
        template[pkcs11.Attribute.LABEL] = address.label
    if address.id is not None:
        template[pkcs11.Attribute.ID] = address.id
    return list(session.get_objects(template))


def _private(session: pkcs11.Session, address: TokenAddress) -> pkcs11.PrivateKey:
    import pkcs11

    found = _find(session, address, pkcs11.ObjectClass.PRIVATE_KEY)
    if len(found) != 1 or not isinstance(found[0], pkcs11.PrivateKey):
        raise KeyFileError(f"{address}: fits {len(found)} private keys, wanted one; name it by object= and id=")
    return found[0]


def _public(session: pkcs11.Session, address: TokenAddress) -> PemVerifier:
    """The public half: its own object, else the certificate of the same label or id."""
    import pkcs11

    keys = _find(session, address, pkcs11.ObjectClass.PUBLIC_KEY)
    if len(keys) == 1:
        return _verifier(keys[0], address)
    certificates = _find(session, address, pkcs11.ObjectClass.CERTIFICATE)
    if len(keys) > 1 or len(certificates) != 1:
        raise KeyFileError(f"{address}: fits {len(keys)} public keys, wanted one; name it by object= and id=")
    try:
        key = x509.load_der_x509_certificate(certificates[0][pkcs11.Attribute.VALUE]).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return load_public(key.public_bytes(serialization.Encoding.PEM, form))
    except (ValueError, TypeError) as err:
        raise KeyFileError(f"{address}: the certificate on the token is damaged") from err


def _verifier(key: pkcs11.Object, address: TokenAddress) -> PemVerifier:
    import pkcs11

    kind = key[pkcs11.Attribute.KEY_TYPE]
    try:
        if kind == pkcs11.KeyType.EC:
            curve = _CURVE_OIDS.get(key[pkcs11.Attribute.EC_PARAMS])
            if curve is not None:
                point = _unwrapped(key[pkcs11.Attribute.EC_POINT], 1 + 2 * ((curve.key_size + 7) // 8))
                return PemVerifier(ec.EllipticCurvePublicKey.from_encoded_point(curve, point))
        if kind == pkcs11.KeyType.EC_EDWARDS:  # an Ed448 point is longer, and is refused below
            point = _unwrapped(key[pkcs11.Attribute.EC_POINT], _RAW_ED25519_BYTES)
            return PemVerifier(ed25519.Ed25519PublicKey.from_public_bytes(point))
    except ValueError as err:
        raise KeyFileError(f"{address}: the public key on the token is damaged or of another curve") from err
    raise KeyFileError(f"{address}: wanted an EC key on P-256, P-384 or P-521, or an Ed25519 key")


def _unwrapped(point: bytes, size: int) -> bytes:
    """The point of ``size`` bytes without the DER OCTET STRING around it, which some tokens leave out."""
    if point[:1] == _DER_OCTETS and len(point) - size in {2, 3}:  # two bytes of length from 128 bytes on
        return point[-size:]
    return point


def _sign(key: pkcs11.PrivateKey, algorithm: str, data: bytes) -> bytes:
    import pkcs11

    assert isinstance(key, pkcs11.SignMixin)  # noqa: S101 - every private key of the package is one
    if algorithm == "ed25519":
        return bytes(key.sign(data, mechanism=pkcs11.Mechanism.EDDSA))
    algorithm_hash, hashing = _HASHES[algorithm]
    digest = hashes.Hash(algorithm_hash)
    digest.update(data)
    try:
        raw = key.sign(digest.finalize(), mechanism=pkcs11.Mechanism.ECDSA)
    except pkcs11.MechanismInvalid:
        raw = key.sign(data, mechanism=pkcs11.Mechanism[hashing])
    half = _HALF_BYTES[algorithm]
    if len(raw) != 2 * half:
        raise KeyFileError(f"the token answered with {len(raw)} bytes, wanted a signature of {2 * half}")
    return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


def _read_pin(path: Path) -> tuple[str, tuple[str, ...]]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            line = file.readline(_MAX_PIN_BYTES + 1).rstrip(b"\r\n")
    except OSError as err:
        raise KeyFileError(f"{path}: cannot read the PIN ({err.strerror or err})") from err
    if not stat.S_ISREG(status.st_mode) or not 0 < len(line) <= _MAX_PIN_BYTES:
        raise KeyFileError(f"{path}: wanted a file whose first line is the PIN")
    try:
        pin = line.decode()
    except UnicodeDecodeError:
        pin = ""  # an error that shows the bytes would show the PIN
    if not pin:
        raise KeyFileError(f"{path}: the PIN is no UTF-8 text")
    loose = status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return pin, ((f"{path} can be read by others: chmod 600 {path}",) if loose else ())
