"""The rule for models signed without a key of one's own, through Sigstore; verified without a network.

The signer showed an identity provider who they are, got a certificate for some minutes, and the
signature was entered in a public log, which says when. Sigstore's own library checks all of it; whose
identity counts is always said by both the identity and the provider that vouches for it, since any
provider can name anybody.

References:
    Sigstore bundle v0.3; sigstore-python, ``Verifier.verify_dsse``.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from assay.errors import KeyFileError, MissingExtraError
from assay.keys.der import read_bounded
from assay.signing import canonical
from assay.signing.bundle import WHAT, Bundle
from assay.signing.moment import Moment
from assay.signing.signers import Signatory, refusal, wants_method

if TYPE_CHECKING:
    from sigstore.models import Bundle as TheirBundle
    from sigstore.models import TrustedRoot
    from sigstore.verify.policy import VerificationPolicy

_MAX_FILE_BYTES = 4 * 1024 * 1024  # the public instance's trust root has 10 KB
_PUBLIC = "https://tuf-repo-cdn.sigstore.dev"  # the name under which the library keeps its roots
# What the library raises for certificates and entries that are none; each is a refusal.
_DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
# Fulcio, OID information: the provider that vouched, as text of older and as DER of newer certificates.
_ISSUER, _ISSUER_DER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_UTF8_STRING = 0x0C


class Authorities(Protocol):
    """Where the roots of a Sigstore instance come from."""

    def root(self) -> TrustedRoot:
        """Give the roots; raises KeyFileError when there are none."""
        ...


class PublicInstance:
    """The public Sigstore instance, by the roots that came with the installed library."""

    def root(self) -> TrustedRoot:
        """Give the roots, without asking the network."""
        with_extra()
        from sigstore.errors import Error

        # Not by the library's offline mode: that reads a file in the user's cache which nothing has verified.
        place = resources.files("sigstore._store") / quote(_PUBLIC, safe="") / "trusted_root.json"
        try:
            return _root(place.read_bytes())
        except (Error, OSError, *_DAMAGED) as err:
            raise KeyFileError(
                "the installed Sigstore library brings no roots of the public instance; give them with --trust-config"
            ) from err


class TrustConfig:
    """Another instance, by its trust configuration (or trusted root) in a JSON file.

    Args:
        path: As ``--trust-config`` of other Sigstore tools takes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def root(self) -> TrustedRoot:
        """Give the roots.

        Raises:
            KeyFileError: The file cannot be read or is no such configuration.
        """
        with_extra()
        from sigstore.errors import Error

        text = read_bounded(self._path, most=_MAX_FILE_BYTES, what="the trust configuration")
        try:
            return _root(text)
        except (Error, *_DAMAGED) as err:
            detail = f"{self._path}: found no trust configuration of a Sigstore instance ({type(err).__name__})"
            raise KeyFileError(detail) from err


class SignedBySigstore:
    """Signed through Sigstore by this identity, as this provider vouched.

    The signature counts for ever: the log says that it was made while the certificate was valid.

    Args:
        identity: Mail address or URI in the certificate, whole.
        issuer: URL of the identity provider that must have vouched for it.
        authorities: Whose certificates and logs count.
    """

    def __init__(self, identity: str, issuer: str, authorities: Authorities) -> None:
        if not identity or not issuer:
            raise ValueError("SignedBySigstore needs an identity and the provider that vouches for it")
        self._identity = identity
        self._issuer = issuer
        self._root = authorities.root()

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when they signed; raise VerificationError when not."""
        del when  # the log says when it was signed, and the certificate is judged at that time only
        from sigstore.errors import Error
        from sigstore.verify import Verifier

        bundle = bundle.alone(0)
        wants_method(bundle, "sigstore")
        whom = _Whom(self._identity, self._issuer)
        try:
            theirs = _theirs(bundle)
            kind, payload = Verifier(trusted_root=self._root).verify_dsse(theirs, whom)
        except (Error, *_DAMAGED) as err:
            if whom.found:
                detail = f"signed by {whom.found}, wanted {self._identity} ({self._issuer})"
                raise refusal("signature.wrong-identity", bundle, detail) from err
            what = " ".join(str(err).split())[:200] or type(err).__name__
            raise refusal("signature.sigstore", bundle, f"Sigstore's checks refuse it: {what}") from err
        if (kind, payload) != (bundle.envelope.payload_type, bundle.envelope.payload):
            # Two readers that understand one file differently are a way round every check.
            raise refusal("signature.sigstore", bundle, "Sigstore's library reads another statement from it")
        from assay.keys.base import key_id_of
        from assay.keys.x509 import certified_pem

        return Signatory(self._identity, key_id_of(certified_pem(bundle.certificates[0])))


class _Whom:
    """Asks for the identity and the provider, and remembers who it was instead."""

    def __init__(self, identity: str, issuer: str) -> None:
        from sigstore.verify import policy

        self._policy: VerificationPolicy = policy.AllOf(
            [
                policy.Identity(identity=identity),
                policy.AnyOf([policy.OIDCIssuer(issuer), policy.OIDCIssuerV2(issuer)]),
            ]
        )
        self.found = ""

    def verify(self, cert: x509.Certificate) -> None:
        from sigstore.errors import VerificationError as TheirError

        try:
            self._policy.verify(cert)
        except (TheirError, *_DAMAGED):
            self.found = _named(cert)
            raise


def with_extra() -> None:
    """See that Sigstore's library is installed.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import sigstore.verify  # noqa: F401 - whether it is there is the question
    except ImportError as err:
        raise MissingExtraError("verifying signatures of Sigstore", "sigstore") from err


def _theirs(bundle: Bundle) -> TheirBundle:
    """The bundle as their library reads it, without the co-signers that it knows nothing of."""
    from sigstore.models import Bundle as TheirBundle

    value = cast("dict[str, Any]", canonical.parse(bundle.raw, what=WHAT))  # read before, so its form is known
    del value["dsseEnvelope"]["signatures"][1:]
    return TheirBundle.from_json(json.dumps(value))


def _root(text: bytes) -> TrustedRoot:
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore_models.trustroot.v1 import TrustedRoot as Inner

    if b"clienttrustconfig" in text:
        return ClientTrustConfig.from_json(text.decode()).trusted_root
    return TrustedRoot(Inner.from_json(text))


def _named(certificate: x509.Certificate) -> str:
    """Who a certificate names, and who vouches, as far as it can be read."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        kinds = (x509.RFC822Name, x509.UniformResourceIdentifier)
        found = ", ".join(name for kind in kinds for name in names.get_values_for_type(kind))
        issuer = _issuer(certificate)
    except _DAMAGED:
        return "somebody who cannot be read"
    return f"{found or 'nobody by name'} ({issuer or 'no provider'})"


def _issuer(certificate: x509.Certificate) -> str:
    for extension in certificate.extensions:
        if extension.oid == _ISSUER and isinstance(extension.value, x509.UnrecognizedExtension):
            return extension.value.value.decode("utf-8", "replace")
    for extension in certificate.extensions:
        if extension.oid == _ISSUER_DER and isinstance(extension.value, x509.UnrecognizedExtension):
            raw = extension.value.value
            return raw[2:].decode("utf-8", "replace") if raw[:1] == bytes([_UTF8_STRING]) else ""
    return ""
