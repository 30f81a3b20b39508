"""Timestamps: the word of an outside authority that a signature was there at a time. Pure.

References:
    RFC 3161, sections 2.3 (the authority's certificate) and 2.4.2 (the answer).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from assay.errors import MissingExtraError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.der import DAMAGED
from assay.keys.x509 import check_timestamper
from assay.signing.bundle import Bundle
from assay.signing.moment import CLOCK_SKEW, Moment
from assay.signing.unordered import in_order

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

MAX_TOKENS = 16  # one or two are usual; more is work for us and nothing for the signer
_DIGESTS = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256.name,
    "2.16.840.1.101.3.4.2.2": hashes.SHA384.name,
    "2.16.840.1.101.3.4.2.3": hashes.SHA512.name,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What the timestamps of a signature say.

    Attributes:
        moment: The times to judge the signature by.
        against: Why the signature is refused for them.
        remarks: Worth knowing, no reason to refuse.
    """

    moment: Moment
    against: tuple[Finding, ...] = ()
    remarks: tuple[Finding, ...] = ()


class TimestampAuthorities:
    """Whose timestamps count.

    Args:
        anchors: Certificates of the authorities up to the self-signed one that they lead to; never empty.
        revocations: Lists of certificates taken back.
    """

    def __init__(
        self,
        anchors: Sequence[x509.Certificate],
        *,
        revocations: Sequence[x509.CertificateRevocationList] = (),
    ) -> None:
        if not anchors:
            raise ValueError("TimestampAuthorities needs at least one certificate")
        self._anchors = tuple(anchors)
        self._revocations = tuple(revocations)

    def check(self, token: bytes, signature: bytes, now: datetime) -> datetime:
        """Return the latest time at which a token says that a signature was there.

        Args:
            token: DER of a time-stamp response.
            signature: The bytes that were stamped.
            now: The present, timezone-aware.

        Raises:
            VerificationError: Rule ``timestamp.malformed``, ``.other-signature``, ``.bad``, ``.to-come``, or
                ``timestamp.certificate-…``, as of :func:`assay.keys.x509.check_timestamper`.
            MissingExtraError: rfc3161-client is not installed.
        """
        rfc3161 = _package()
        with _reading():
            answer = parse(token)
            time = answer.tst_info.gen_time
            check_imprint(answer, signature)
            leaf, others = _signer(answer, self._anchors)
            roots = [one for one in self._anchors if one != leaf]
            if not roots:
                raise _refused("bad", "the authority's own certificate is not enough: give the root it leads to, too")
            try:
                chain = check_timestamper(leaf, others, roots, at=time, now=now, revocations=self._revocations)
            except VerificationError as err:
                raise VerificationError(
                    f"the timestamp: {err.message}", [_renamed(one) for one in err.findings]
                ) from err
            builder = rfc3161.VerifierBuilder(tsa_certificate=leaf, roots=[*chain, *self._anchors])
            builder.build().verify_message(answer, signature)
            accuracy = answer.tst_info.accuracy
            latest: datetime = time + timedelta(
                seconds=accuracy.seconds or 0 if accuracy else 0,
                milliseconds=accuracy.millis or 0 if accuracy else 0,
                microseconds=accuracy.micros or 0 if accuracy else 0,
            )
        if time > now + CLOCK_SKEW:
            detail = f"the timestamp is of {time:%Y-%m-%d %H:%M} UTC, which is to come: one of the clocks is wrong"
            raise _refused("to-come", detail)
        return latest


def judge(bundle: Bundle, authorities: TimestampAuthorities | None, now: datetime) -> Judged:
    """Say when a bundle's signatures were seen by an authority that counts: the earliest time for each.

    Args:
        bundle: As read.
        authorities: Whose timestamps count; None counts nobody's.
        now: The present, timezone-aware.

    Raises:
        MissingExtraError: There are timestamps to check, and rfc3161-client is not installed.
    """
    tokens = bundle.timestamps
    if not tokens:
        return Judged(Moment(now))
    name = bundle.claim.name
    if authorities is None:
        detail = "the signature has a timestamp that was not checked: no timestamp authority is given, so it counts not"
        return Judged(Moment(now), remarks=(Finding("timestamp.unchecked", name, Severity.WARNING, detail),))
    if len(tokens) > MAX_TOKENS:
        detail = f"the signature has {len(tokens)} timestamps, more than {MAX_TOKENS}"
        return Judged(Moment(now), (Finding("timestamp.malformed", name, Severity.CRITICAL, detail),))
    signatures = [signature for _, signature in bundle.signatures]
    times: dict[bytes, datetime] = {}
    against: list[Finding] = []
    for token in tokens:
        try:
            signature = _stamped(token, signatures)
            time = authorities.check(token, signature, now)
        except VerificationError as err:
            against += err.findings
            continue
        times[signature] = min(time, times.get(signature, time))
    told = tuple(Finding("timestamp.trusted", name, Severity.INFO, _told(time)) for time in times.values())
    strangers = [one for one in against if one.rule == "timestamp.certificate-untrusted"]
    if times and len(strangers) == len(against):  # two authorities stamped it, and one of them is enough here
        remarks = tuple(Finding(one.rule, one.subject, Severity.WARNING, one.detail) for one in strangers)
        return Judged(Moment(now, times.get(signatures[0]), times), remarks=(*told, *remarks))
    return Judged(Moment(now, times.get(signatures[0]), times), tuple(against), told)


def parse(token: bytes) -> TimeStampResponse:
    """Read a time-stamp response; nothing in it is checked.

    Raises:
        VerificationError: The bytes are none, or say that none was granted.
        MissingExtraError: rfc3161-client is not installed.
    """
    rfc3161 = _package()
    with _reading():
        answer: TimeStampResponse = rfc3161.decode_timestamp_response(in_order(token))
        if answer.status != rfc3161.PKIStatus.GRANTED:
            said = "; ".join(answer.status_string) or f"status {answer.status}"
            raise _refused("malformed", f"the authority granted no timestamp ({said[:200]!r})")
        return answer


def check_imprint(answer: TimeStampResponse, signature: bytes) -> None:
    """Raise VerificationError unless the timestamp is over this signature."""
    with _reading():
        imprint = answer.tst_info.message_imprint
        name = _DIGESTS.get(imprint.hash_algorithm.dotted_string)
        if name is None:
            raise _refused("bad", f"the timestamp's digest ({imprint.hash_algorithm.dotted_string}) is none of SHA-2")
        if hashlib.new(name, signature).digest() != imprint.message:
            raise _refused("other-signature", "the timestamp is over another signature than any that is here")


def _told(time: datetime) -> str:
    return f"a trusted authority saw the signature by {time:%Y-%m-%d %H:%M:%S} UTC, and it is judged at that time"


def _stamped(token: bytes, signatures: Sequence[bytes]) -> bytes:
    """Which of the signatures a token is over."""
    answer = parse(token)
    for signature in signatures[:-1]:
        try:
            check_imprint(answer, signature)
        except VerificationError:
            continue
        return signature
    check_imprint(answer, signatures[-1])
    return signatures[-1]


def _signer(
    answer: TimeStampResponse, anchors: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The certificate that signed, and the others that the answer brought.

    Two certificates of one issuer and number are refused: the one that is looked at might be another than
    the one whose key made the signature.
    """
    brought = [x509.load_der_x509_certificate(one) for one in answer.signed_data.certificates]
    infos = list(answer.signed_data.signer_infos)
    if len(infos) != 1:
        raise _refused("malformed", f"the timestamp has {len(infos)} signers, wanted one")
    (info,) = infos
    number = (info.issuer, info.serial_number)
    meant = {one for one in (*brought, *anchors) if (one.issuer, one.serial_number) == number}
    if len(meant) != 1:
        raise _refused("malformed", f"{len(meant)} certificates could be that of the timestamp's signer, wanted one")
    (leaf,) = meant
    return leaf, [one for one in brought if one != leaf]


def _package() -> ModuleType:
    try:
        import rfc3161_client
    except ImportError as err:
        raise MissingExtraError("a timestamp", "timestamp") from err
    return rfc3161_client


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what the parsers raise for odd bytes into our refusal; parts are parsed when asked for."""
    rfc3161 = _package()
    try:
        yield
    except rfc3161.VerificationError as err:
        raise _refused("bad", f"the timestamp does not hold: {err}") from err
    except (OverflowError, *DAMAGED) as err:
        raise _refused("malformed", "the timestamp is damaged, or is none") from err


def _refused(rule: str, detail: str) -> VerificationError:
    return VerificationError(detail, [Finding(f"timestamp.{rule}", "timestamp", Severity.CRITICAL, detail)])


def _renamed(one: Finding) -> Finding:
    rule = f"timestamp.{one.rule.replace('.', '-')}"
    return Finding(rule, one.subject, one.severity, f"the timestamp: {one.detail}")
