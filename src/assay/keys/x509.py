"""Certificates that vouch for a signer's key: read, and checked up to a root.

References:
    RFC 5280, sections 4.2.1.3 (key usage), 4.2.1.9 (basic constraints), 4.2.1.12 (extended key usage), 6.1.
    RFC 3161, section 2.3 (the key purpose of a timestamp authority).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
)
from cryptography.x509.verification import (
    VerificationError as ChainError,
)

from assay.errors import KeyFileError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.der import DAMAGED, read_bounded
from assay.keys.pem import PemVerifier, load_public
from assay.keys.revocation import check_revoked

Kind = TypeVar("Kind", bound=x509.ExtensionType)
MAX_CERTIFICATES = 16  # a chain has three or four; more is work for us and nothing for the signer
_MAX_FILE_BYTES = 4 * 1024 * 1024  # a bundle of every public root is a quarter of that


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a checked certificate speaks for.

    Attributes:
        names: Mail addresses, URIs and host names of the subject's alternative names; the common name
            only when there are none.
        verifier: The certified key.
        findings: Worth knowing, no reason to refuse.
    """

    names: tuple[str, ...]
    verifier: PemVerifier
    findings: tuple[Finding, ...] = ()


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file.

    Raises:
        KeyFileError: Missing, unreadable, or without a certificate.
    """
    text = read_bounded(path, most=_MAX_FILE_BYTES, what="the certificates in PEM")
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except DAMAGED as err:
        raise KeyFileError(f"{path}: found no certificates in PEM (BEGIN CERTIFICATE), or a damaged one") from err


def der(certificate: x509.Certificate) -> bytes:
    """The certificate as a bundle holds it."""
    return certificate.public_bytes(Encoding.DER)


def certified_pem(certificate: bytes) -> bytes:
    """The public key in a DER certificate, as SubjectPublicKeyInfo PEM text.

    Raises:
        KeyFileError: The bytes are no certificate.
    """
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    except DAMAGED as err:
        raise KeyFileError("found a damaged certificate; wanted one in DER") from err


def check_chain(
    chain: Sequence[bytes],
    anchors: Sequence[x509.Certificate],
    *,
    now: datetime,
    signed: datetime | None = None,
    revocations: Sequence[x509.CertificateRevocationList] = (),
) -> Holder:
    """Check that the first certificate may sign models and leads to an anchor that nobody took back.

    Args:
        chain: DER, the signer's own first, as the signature brought them. Only the anchors are trusted.
        anchors: Certificates of authorities to trust; never empty.
        now: The present, timezone-aware.
        signed: When a trusted authority saw the signature: certificates are judged at that time, without one
            at ``now``. A time inside the signature is the signer's own claim and not used.
        revocations: Lists to look the certificates up in; without any nothing is looked up.

    Raises:
        VerificationError: Rule ``certificate.malformed``, ``.expired``, ``.not-yet``, ``.wrong-purpose``,
            ``.wrong-key``, ``.untrusted``, or one of :func:`assay.keys.revocation.check_revoked`; every reason is
            in ``findings``.
    """
    at = now if signed is None else signed
    if len(chain) > MAX_CERTIFICATES:
        raise _refused([_finding("malformed", "signer", f"the chain has more than {MAX_CERTIFICATES} certificates")])
    try:
        leaf, *others = [x509.load_der_x509_certificate(one) for one in chain]
        subject = leaf.subject.rfc4514_string() or "(no subject)"
        findings = [*_times(leaf, subject, at), *_purpose(leaf, subject)]
        if not findings:  # an expired certificate leads nowhere either: say the plain reason only
            check_revoked(_path(leaf, others, anchors, at), revocations, now=now, signed=signed)
        names, warnings = _names(leaf), _remarks(leaf, subject)
    except DAMAGED as err:
        detail = "the signer's certificate, or one of its chain, is damaged"
        raise _refused([_finding("malformed", "signer", detail)]) from err
    if findings:
        raise _refused(findings)
    try:
        pem = leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return Holder(names, load_public(pem), warnings)
    except (KeyFileError, *DAMAGED) as err:
        raise _refused([_finding("wrong-key", subject, f"the certificate of {subject}: {err}")]) from err


def check_usable(leaf: x509.Certificate, *, now: datetime) -> None:
    """Check, before anything is signed, that a signature by this certificate can ever count.

    Args:
        leaf: The signer's own.
        now: The present, timezone-aware.

    Raises:
        KeyFileError: It has expired, is damaged, or is not for signing code.
    """
    try:
        subject = leaf.subject.rfc4514_string() or "(no subject)"
        expired = _times(leaf, subject, max(now, leaf.not_valid_before_utc))
        findings = [*expired, *_purpose(leaf, subject)]
    except DAMAGED as err:
        raise KeyFileError("the signer's certificate is damaged; wanted one in PEM") from err
    if findings:
        told = "; ".join(finding.detail for finding in findings)
        raise KeyFileError(f"{told}: nobody would accept this signature; nothing was signed")


def check_timestamper(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    *,
    at: datetime,
    now: datetime,
    revocations: Sequence[x509.CertificateRevocationList] = (),
) -> Sequence[x509.Certificate]:
    """Check that a certificate may make timestamps and led to an anchor at the time it wrote.

    Args:
        leaf: The one that signed the timestamp.
        others: Certificates between, as the timestamp brought them. Only the anchors are trusted.
        anchors: Certificates of timestamp authorities to trust; never empty.
        at: The time in the timestamp, timezone-aware.
        now: The present.
        revocations: Lists to look the certificates up in. One that was ever taken back is refused: whoever holds
            its key writes any time he likes.

    Returns:
        The chain from it to its anchor.

    Raises:
        VerificationError: Rule ``certificate.expired``, ``.not-yet``, ``.wrong-purpose``, ``.malformed`` or
            ``.untrusted``, ``.revoked``.
    """
    try:
        subject = leaf.subject.rfc4514_string() or "(no subject)"
        findings = _times(leaf, subject, at)
        extended = next((one for one in leaf.extensions if isinstance(one.value, x509.ExtendedKeyUsage)), None)
        if extended is None or not extended.critical or list(extended.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
            detail = f"the certificate of {subject} is not for timestamps alone (RFC 3161, 2.3)"
            findings.append(_finding("wrong-purpose", subject, detail))
        if findings:
            raise _refused(findings)
        chain = _path(leaf, list(others), anchors, at)
        check_revoked(chain, revocations, now=now, signed=None, needed=False)
    except DAMAGED as err:
        raise _refused([_finding("malformed", "timestamp", "the timestamp's certificate is damaged")]) from err
    return chain


def _path(
    leaf: x509.Certificate, others: list[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime
) -> list[x509.Certificate]:
    policy = PolicyBuilder().store(Store(list(anchors))).time(at.astimezone(UTC).replace(tzinfo=None))
    policy = policy.extension_policies(ca_policy=_AUTHORITY, ee_policy=ExtensionPolicy.permit_all())
    try:
        return policy.build_client_verifier().verify(leaf, others).chain
    except ChainError as err:
        subject = leaf.subject.rfc4514_string()
        detail = f"the certificate of {subject} does not lead to a trusted authority ({err})"
        raise _refused([_finding("untrusted", subject, detail)]) from err


def _may_certify(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer may not sign certificates")


# The verifier itself asks for cA in the constraints, and counts the path length.
_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_certify)
)


def _times(leaf: x509.Certificate, subject: str, at: datetime) -> list[Finding]:
    if at < leaf.not_valid_before_utc:
        detail = f"the certificate of {subject} is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
        return [_finding("not-yet", subject, detail)]
    if at > leaf.not_valid_after_utc:
        detail = f"the certificate of {subject} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        return [_finding("expired", subject, detail)]
    return []


def _purpose(leaf: x509.Certificate, subject: str) -> list[Finding]:
    """A signer's certificate says digital signatures and code signing: one that says nothing is for anything."""
    usage = _extension(leaf, x509.KeyUsage)
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    if extended is None or ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        purposes = ", ".join(_spoken(one) for one in extended or ()) or "nothing in particular"
        detail = f"the certificate of {subject} is for {purposes}; wanted one whose extended key usage is code signing"
        return [_finding("wrong-purpose", subject, detail)]
    if usage is None or not usage.digital_signature:
        detail = f"the certificate of {subject} is not for digital signatures (key usage); wanted one that is"
        return [_finding("wrong-purpose", subject, detail)]
    return []


def _spoken(purpose: x509.ObjectIdentifier) -> str:
    known = {ExtendedKeyUsageOID.SERVER_AUTH: "a web server (TLS)", ExtendedKeyUsageOID.CLIENT_AUTH: "a TLS client"}
    return known.get(purpose, purpose.dotted_string)


def _remarks(leaf: x509.Certificate, subject: str) -> tuple[Finding, ...]:
    """Flaws of the certificates that model_signing's own instructions make: told, since old signatures have them."""
    found: list[Finding] = []
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        detail = f"the certificate of {subject} is an authority's own (CA:TRUE): a signer's should certify nobody else"
        found.append(Finding("certificate.is-authority", subject, Severity.WARNING, detail))
    if _extension(leaf, x509.SubjectAlternativeName) is None:
        detail = f"the certificate of {subject} has no alternative name; its common name was taken for the identity"
        found.append(Finding("certificate.no-alternative-name", subject, Severity.WARNING, detail))
    return tuple(found)


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    found = _extension(leaf, x509.SubjectAlternativeName)
    if found is not None:
        kinds = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
        return tuple(name for kind in kinds for name in found.get_values_for_type(kind))
    return tuple(str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _extension(leaf: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _finding(rule: str, subject: str, detail: str) -> Finding:
    return Finding(f"certificate.{rule}", subject, Severity.CRITICAL, detail)


def _refused(findings: list[Finding]) -> VerificationError:
    return VerificationError("; ".join(one.detail for one in findings), findings)
