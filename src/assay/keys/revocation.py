"""Revocation lists: which certificates their authority took back, and from when on. Pure but for the reading.

References:
    RFC 5280, sections 5.1 (the list), 5.2 (its extensions), 5.3 (its entries), 6.3.3 (how it is used).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from assay.errors import KeyFileError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.der import DAMAGED, read_bounded

_MAX_FILE_BYTES = 16 * 1024 * 1024  # the largest public lists have about 10 MiB
_BEGIN = b"-----BEGIN X509 CRL-----"
_ISSUES = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)


def read_revocations(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Read the revocation lists of a file: one in DER, or any number in PEM. Nothing about them is checked yet.

    Raises:
        KeyFileError: Missing, unreadable, too large, or no revocation list.
    """
    data = read_bounded(path, most=_MAX_FILE_BYTES, what="the revocation list")
    try:
        if _BEGIN not in data:
            return (x509.load_der_x509_crl(data),)
        return tuple(x509.load_pem_x509_crl(_BEGIN + part) for part in data.split(_BEGIN)[1:])
    except DAMAGED as err:
        raise KeyFileError(f"{path}: found no certificate revocation list (X509 CRL), or a damaged one") from err


def check_revoked(
    path: Sequence[x509.Certificate],
    lists: Sequence[x509.CertificateRevocationList],
    *,
    now: datetime,
    signed: datetime | None,
    needed: bool = True,
) -> None:
    """Refuse a chain of which a certificate was taken back, or of which that cannot be told.

    Whoever gives lists wants revocation looked at: the signer's certificate must be covered by a list that is
    sound and still current, else an attacker would only have to keep an old list in place. A certificate
    between is looked up where a list of its issuer is among those given.

    Args:
        path: The signer's certificate first, the trusted authority's last, each issued by the next; checked.
        lists: As read; an empty sequence checks nothing.
        now: The present, timezone-aware; lists are held against it.
        signed: When a trusted authority saw the signature; None when none vouches for a time, and then what
            was ever revoked is refused.
        needed: The first certificate must be covered by a list.

    Raises:
        VerificationError: Rule ``certificate.revoked``, ``.stale-crl``, ``.bad-crl`` or ``.no-crl``; every reason
            is in ``findings``.
    """
    findings: list[Finding] = []
    if lists:
        for position, (certificate, issuer) in enumerate(pairwise(path)):
            findings += _look_up(certificate, issuer, lists, now, signed, needed=needed and position == 0)
    if findings:
        raise VerificationError("; ".join(one.detail for one in findings), findings)


def _look_up(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    lists: Sequence[x509.CertificateRevocationList],
    now: datetime,
    signed: datetime | None,
    *,
    needed: bool,
) -> list[Finding]:
    subject = certificate.subject.rfc4514_string() or "(no subject)"
    covering = [one for one in lists if _names(one, issuer)]
    if not covering:
        if not needed:
            return []
        detail = f"none of the revocation lists is by {issuer.subject.rfc4514_string()}, who certified {subject}"
        return [_against("no-crl", subject, detail)]
    reasons: list[Finding] = []
    sound = False
    for one in covering:
        try:
            trouble = _trouble(one, issuer, now)
            found = _entry(one, certificate)
            reasons += [_revoked(found, subject, signed)] if not trouble and _counts(found, signed) and found else []
        except DAMAGED:
            trouble = ("bad-crl", "is damaged")
        if trouble is None:
            sound = True
        else:
            rule, why = trouble
            reasons.append(_against(rule, subject, f"the revocation list by {one.issuer.rfc4514_string()} {why}"))
    revoked = [one for one in reasons if one.rule == "certificate.revoked"]
    return revoked if sound else reasons  # one sound list says it all: another may be last month's copy


def _names(one: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return one.issuer == issuer.subject
    except DAMAGED:  # parts of a list are parsed when asked for
        return False


def _trouble(one: x509.CertificateRevocationList, issuer: x509.Certificate, now: datetime) -> tuple[str, str] | None:
    """Why a list says nothing: not its issuer's, of a kind we do not read, or not of this time."""
    usage = next((e.value for e in issuer.extensions if isinstance(e.value, x509.KeyUsage)), None)
    if not _signed_by(one, issuer):
        return "bad-crl", "is not signed by that authority"
    if usage is not None and not usage.crl_sign:  # RFC 5280 6.3.3 (f)
        return "bad-crl", "is by a certificate that may not sign such lists"
    if not all(_is_plain(extension) for extension in one.extensions):
        return "bad-crl", "covers only a part of what was revoked, or is of a kind that is not read here"
    if one.last_update_utc > now:
        return "bad-crl", f"is of {one.last_update_utc:%Y-%m-%d %H:%M} UTC, which is to come"
    end = one.next_update_utc
    if end is not None and end < now:
        return "stale-crl", f"was to be renewed by {end:%Y-%m-%d %H:%M} UTC: fetch the present one"
    return None


def _signed_by(one: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    return isinstance(key, _ISSUES) and one.is_signature_valid(key)


def _is_plain(extension: x509.Extension[x509.ExtensionType]) -> bool:
    """Whether the list may be read without obeying this: a partial list must not pass for the whole."""
    value = extension.value
    if isinstance(value, x509.IssuingDistributionPoint):
        return not (value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs)
    return not extension.critical  # RFC 5280 5.2.4: among them that of a delta list


def _entry(one: x509.CertificateRevocationList, certificate: x509.Certificate) -> x509.RevokedCertificate | None:
    return one.get_revoked_certificate_by_serial_number(certificate.serial_number)


def _counts(entry: x509.RevokedCertificate | None, signed: datetime | None) -> bool:
    """Whether an entry speaks against a signature: always, unless a trusted time puts it before the revocation."""
    return entry is not None and (signed is None or signed >= _from(entry))


def _from(entry: x509.RevokedCertificate) -> datetime:
    """From when on a certificate must not count: from its revocation, or from when its key was known to leak."""
    for extension in entry.extensions:
        if isinstance(extension.value, x509.InvalidityDate):
            return min(entry.revocation_date_utc, extension.value.invalidity_date_utc)
    return entry.revocation_date_utc


def _revoked(entry: x509.RevokedCertificate, subject: str, signed: datetime | None) -> Finding:
    reason = next((e.value.reason.value for e in entry.extensions if isinstance(e.value, x509.CRLReason)), "")
    why = f" ({reason})" if reason else ""
    since = f"{_from(entry):%Y-%m-%d %H:%M} UTC"
    late = "and no trusted timestamp puts the signature before that" if signed is None else "before it signed"
    return _against("revoked", subject, f"the certificate of {subject} was revoked from {since} on{why}, {late}")


def _against(rule: str, subject: str, detail: str) -> Finding:
    return Finding(f"certificate.{rule}", subject, Severity.CRITICAL, detail)
