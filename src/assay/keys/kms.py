"""Keys in key services and other places that securesystemslib signs with: AWS, Google Cloud, Azure, Vault, PIV.

Its signers hash the bytes here and have the service sign the digest; for EC keys the answer is DER, as
a bundle holds it. Addresses are its own (``awskms:ID``); cosign's spelling (``awskms:///ID``,
``hashivault://NAME``) is taken too. Signing in is the business of each service's own library, from its environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from assay.errors import AssayError, KeyFileError, MissingExtraError, VerificationError
from assay.keys.base import Ask, Opened, SecretWanted
from assay.keys.pem import PemVerifier, load_private, load_public, read_public

if TYPE_CHECKING:
    from securesystemslib.signer import SecretsHandler
    from securesystemslib.signer import Signer as OtherSigner

PUBLIC = "#public="  # what follows is the file of the public key: then the service is asked to sign only
_SIGNS = ("ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512", "ed25519")
_PACKAGES = {"awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hv": "vault", "hsm": "hsm"}
_AZURE_PARTS = 2  # keys/NAME, keys/NAME/VERSION


class KmsSigner:
    """A private key that somebody else keeps. Make it with :func:`open_key`."""

    def __init__(self, address: str, other: OtherSigner, public: PemVerifier) -> None:
        self._address = address
        self._other = other
        self._public = public
        self.key_id = public.key_id
        self.algorithm = public.algorithm

    def __repr__(self) -> str:
        return f"KmsSigner({self.algorithm}, {self.key_id}, {self._address})"

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM text."""
        return self._public.public_pem()

    def sign(self, data: bytes) -> bytes:
        """Have the service sign; DER for ECDSA, 64 raw bytes for Ed25519.

        Raises:
            KeyFileError: It refuses, cannot be reached, or signs with another key than the public one.
        """
        with _asking(self._address):
            signature = bytes.fromhex(self._other.sign(data).signature)
        try:
            self._public.verify(signature, data)
        except VerificationError as err:
            raise KeyFileError(f"{self._address}: what it signs with is not key {self.key_id[:16]}") from err
        return signature


def open_key(address: str, ask: Ask) -> Opened:
    """Open a key by its address.

    Args:
        address: ``awskms:ID``, ``gcpkms:projects/…``, ``azurekms://VAULT.vault.azure.net/keys/NAME[/VERSION]``,
            ``hv:NAME[/VERSION]``, ``hsm:[ID][?label=TOKEN]``, ``file2:PATH``; with ``#public=FILE`` the public
            key is read from there instead of being asked for.
        ask: For the PIN of ``hsm:``.

    Raises:
        KeyFileError: The service refuses or cannot be reached, or the key is of a kind we do not sign with.
        MissingExtraError: securesystemslib is not installed.
    """
    try:
        from securesystemslib.signer import Signer as OtherSigner
        from securesystemslib.signer import SSlibKey
    except ImportError as err:
        raise MissingExtraError("a key in a key service", "kms") from err
    place, _, given = address.partition(PUBLIC)
    place = plain_address(place)

    @cache
    def pin(_: str) -> str:
        return ask(SecretWanted("PIN", place))

    with _asking(place):
        if given:
            public = read_public(Path(given))
        else:
            place, public = _fetched(place, pin)
        if public.algorithm not in _SIGNS:  # securesystemslib puts a prefix of its own before what ML-DSA signs
            raise KeyFileError(f"{place}: found a key for {public.algorithm}; wanted one of {', '.join(_SIGNS)}")
        key = serialization.load_pem_public_key(public.public_pem())
        other = OtherSigner.from_priv_key_uri(place, SSlibKey.from_crypto(key), pin)
    return Opened(KmsSigner(place, other, public))


def plain_address(address: str) -> str:
    """An address as securesystemslib writes it.

    >>> plain_address("awskms:///alias/release")
    'awskms:alias/release'
    """
    scheme, _, rest = address.partition(":")
    scheme = "hv" if scheme == "hashivault" else scheme
    if not rest.strip("/") and scheme != "hsm":
        raise KeyFileError(f"{address}: names no key; wanted {scheme}:KEY")
    if scheme in {"awskms", "gcpkms", "hv"}:
        rest = rest.lstrip("/")
    if scheme == "gcpkms" and "/cryptoKeyVersions/" not in rest:
        rest = rest.replace("/versions/", "/cryptoKeyVersions/")
    return f"{scheme}:{rest}"


def _fetched(place: str, pin: SecretsHandler) -> tuple[str, PemVerifier]:
    """The public key as the service gives it, and the address with the version it chose."""
    from securesystemslib import signer as others

    scheme, _, rest = place.partition(":")
    if scheme == "file2":  # that plug reads plain files only
        return place, load_public(load_private(Path(rest)).public_pem())
    if scheme == "awskms":
        found, key = others.AWSSigner.import_(rest)
    elif scheme == "gcpkms":
        found, key = others.GCPSigner.import_(rest)
    elif scheme == "azurekms":
        vault, name = _azure(place)
        found, key = others.AzureSigner.import_(vault, name)
        found = _same_version(place, found)
    elif scheme == "hv":
        found, key = others.VaultSigner.import_(rest.split("/")[0])
        found = _same_version(place, found)
    else:
        identity, label = _piv(rest)
        found, key = others.HSMSigner.import_(identity, label, pin)
    pem = key._crypto_key().public_bytes(  # noqa: SLF001 - its own way from any key to one of cryptography
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found, load_public(pem)


def _same_version(asked: str, found: str) -> str:
    """Refuse when another version than the newest was asked for: only of that is the public key given out."""
    if asked.rstrip("/") in {found, found.rpartition("/")[0]}:
        return found
    raise KeyFileError(f"{asked}: the newest version is {found}; for another, add {PUBLIC}FILE")


def _azure(place: str) -> tuple[str, str]:
    host, _, path = place.removeprefix("azurekms:").lstrip("/").partition("/")
    parts = path.strip("/").split("/")
    if not host.endswith(".vault.azure.net") or len(parts) < _AZURE_PARTS or parts[0] != "keys":
        raise KeyFileError(f"{place}: wanted azurekms://VAULT.vault.azure.net/keys/NAME")
    return host.removesuffix(".vault.azure.net"), parts[1]


def _piv(rest: str) -> tuple[int | None, str | None]:
    from urllib.parse import parse_qs

    number, _, query = rest.partition("?")
    if number and not (number.isascii() and number.isdecimal()):
        raise KeyFileError(f"hsm:{number}: wanted the number of a key, such as hsm:2?label=TOKEN")
    return int(number) if number else None, parse_qs(query).get("label", [""])[0] or None


@contextmanager
def _asking(place: str) -> Iterator[None]:
    """Turn whatever a service's library raises into our error."""
    from securesystemslib.exceptions import UnsupportedLibraryError

    try:
        yield
    except AssayError:
        raise
    except UnsupportedLibraryError as err:
        extra = _PACKAGES.get(place.partition(":")[0], "crypto")
        wanted = f"run pip install 'securesystemslib[{extra}]'"
        raise KeyFileError(f"{place}: needs a package that is not installed: {wanted}") from err
    except Exception as err:  # its documentation: signers raise errors that it does not list
        said = " ".join(f"{type(err).__name__} {err}".split())[:300]
        raise KeyFileError(f"{place}: the key service refuses or cannot be reached ({said})") from err
