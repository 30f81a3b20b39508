from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from rfc3161_client import TimestampRequestBuilder
from rfc3161_client.base import HashAlgorithm
from tests.authority import blank
from tests.stamping import Stamper, send, serving, stamper

from assay.artifacts.manifest import FileDigest, Manifest
from assay.errors import ConfigError, MissingExtraError, TimestampError, VerificationError
from assay.findings import Severity
from assay.keys.pem import PemSigner
from assay.signing import bundle, reading, timestamp
from assay.signing.authority import MAX_BYTES, check_url, request_token
from assay.signing.bundle import Bundle
from assay.signing.moment import CLOCK_SKEW
from assay.signing.timestamp import MAX_TOKENS, TimestampAuthorities, judge, parse

SIGNATURE = b"a signature's bytes"
MANIFEST = Manifest("m", (FileDigest("a", 1, "11" * 32, "22" * 32),))
BEGIN = datetime.now(UTC)
LATER = BEGIN + timedelta(days=3000)  # the authority's certificate has long expired


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stamper]:
    with serving(stamper(tmp_path_factory.mktemp("tsa"))) as found:
        yield found


@pytest.fixture(scope="module")
def token(tsa: Stamper) -> bytes:
    return stamped(tsa, SIGNATURE)


@pytest.fixture(scope="module")
def trusted(tsa: Stamper) -> TimestampAuthorities:
    return TimestampAuthorities([tsa.root])


def stamped(tsa: Stamper, data: bytes, digest: HashAlgorithm = HashAlgorithm.SHA256) -> bytes:
    return tsa.stamp(TimestampRequestBuilder().data(data).hash_algorithm(digest).build().as_bytes())


def signed(signer: PemSigner, *tsas: Stamper) -> Bundle:
    return reading.parse(
        bundle.write(MANIFEST, signer, stamp=lambda data: [stamped(one, data) for one in tsas] if tsas else [])
    )


def without_signers(token: bytes) -> bytes:
    """The same response with an empty set of signers, which ends the innermost sequence."""
    ((_, response),) = split(token)
    status, (_, info) = split(response)
    kind, (_, wrapped) = split(info)
    ((_, data),) = split(wrapped)
    signed = join(0xA0, join(0x30, *(join(*one) for one in split(data)[:-1]), join(0x31)))
    return join(0x30, join(*status), join(0x30, join(*kind), signed))


def split(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each element of DER."""
    found, at = [], 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(der[at : at + count]), at + count
        found.append((tag, der[at : at + size]))
        at += size
    return found


def join(tag: int, *contents: bytes) -> bytes:
    """One element of DER."""
    content = b"".join(contents)
    length = len(content).to_bytes(2)
    size = bytes([len(content)]) if len(content) < 0x80 else bytes([0x82]) + length
    return bytes([tag]) + size + content


@contextmanager
def answering(tsa: Stamper, answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> Iterator[None]:
    tsa.answer = answer
    try:
        yield
    finally:
        tsa.answer = tsa.reply


def refused(authorities: TimestampAuthorities, token: bytes, now: datetime = LATER) -> list[str]:
    with pytest.raises(VerificationError) as caught:
        authorities.check(token, SIGNATURE, now)
    return [one.rule for one in caught.value.findings]


@pytest.mark.parametrize("digest", [HashAlgorithm.SHA256, HashAlgorithm.SHA512])
def test_a_timestamp_says_when_though_its_certificate_has_expired_since(
    tsa: Stamper, trusted: TimestampAuthorities, digest: HashAlgorithm
) -> None:
    time = trusted.check(stamped(tsa, SIGNATURE, digest), SIGNATURE, LATER)
    assert timedelta(0) <= time - BEGIN < timedelta(days=1)  # with the second that the authority allows itself


def test_a_timestamp_over_another_signature_is_refused(trusted: TimestampAuthorities, token: bytes) -> None:
    with pytest.raises(VerificationError, match="over another signature"):
        trusted.check(token, b"another", LATER)


def test_a_timestamp_of_a_stranger_is_refused(tmp_path: Path, trusted: TimestampAuthorities) -> None:
    stranger = stamper(tmp_path)
    assert refused(trusted, stamped(stranger, SIGNATURE)) == ["timestamp.certificate-untrusted"]


@pytest.mark.parametrize(
    ("purposes", "critical"),
    [
        ((ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING), True),
        ((ExtendedKeyUsageOID.TIME_STAMPING,), False),
        ((ExtendedKeyUsageOID.CODE_SIGNING,), True),
    ],
    ids=["two-purposes", "not-critical", "of-code"],
)
def test_who_may_not_stamp_is_refused(
    tmp_path: Path, purposes: tuple[x509.ObjectIdentifier, ...], critical: bool
) -> None:
    # OpenSSL itself refuses to stamp so: the certificate is exchanged for one of the same key and number.
    proper = stamper(tmp_path)
    query = TimestampRequestBuilder(cert_req=False).data(SIGNATURE).hash_algorithm(HashAlgorithm.SHA256).build()
    token = proper.stamp(query.as_bytes())
    assert TimestampAuthorities([proper.root, proper.certificate]).check(token, SIGNATURE, LATER)
    wrong = proper.authority.leaf(
        key=proper.key,
        extended=purposes,
        critical=critical,
        start=BEGIN - timedelta(days=1),
        end=LATER,
        names=(),
        serial=proper.certificate.serial_number,
    )
    assert refused(TimestampAuthorities([proper.root, wrong]), token) == ["timestamp.certificate-wrong-purpose"]
    both = TimestampAuthorities([proper.root, proper.certificate, wrong])
    assert refused(both, token) == ["timestamp.malformed"]  # which of the two signed cannot be told


def test_a_certificate_whose_purposes_cannot_be_read_may_not_stamp(tmp_path: Path) -> None:
    tsa = stamper(tmp_path)
    query = TimestampRequestBuilder(cert_req=False).data(SIGNATURE).hash_algorithm(HashAlgorithm.SHA256).build()
    junk = x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"junk")
    builder = blank("ci", tsa.key, "tsa root", BEGIN, LATER, serial=tsa.certificate.serial_number)
    damaged = builder.add_extension(junk, critical=True).sign(tsa.authority.key, hashes.SHA256())
    authorities = TimestampAuthorities([tsa.root, damaged])
    assert refused(authorities, tsa.stamp(query.as_bytes())) == ["timestamp.certificate-malformed"]


def test_the_authoritys_own_certificate_alone_is_not_enough(tsa: Stamper, token: bytes) -> None:
    assert refused(TimestampAuthorities([tsa.certificate]), token) == ["timestamp.bad"]


def test_a_timestamp_over_a_broken_digest_is_refused(tsa: Stamper, trusted: TimestampAuthorities) -> None:
    command = ["openssl", "ts", "-query", "-sha1", "-cert", "-digest", hashlib.sha1(SIGNATURE).hexdigest()]  # noqa: S324
    query = subprocess.run(command, check=True, capture_output=True).stdout
    assert refused(trusted, tsa.stamp(query)) == ["timestamp.bad"]


def test_a_timestamp_that_nobody_signed_is_refused(trusted: TimestampAuthorities, token: bytes) -> None:
    assert refused(trusted, without_signers(token)) == ["timestamp.malformed"]


def test_a_timestamp_made_before_or_after_its_certificate_is_refused(tmp_path: Path) -> None:
    expired = stamper(tmp_path / "expired", end=BEGIN - timedelta(hours=1))
    assert refused(TimestampAuthorities([expired.root]), stamped(expired, SIGNATURE)) == [
        "timestamp.certificate-expired"
    ]


def test_a_revoked_authority_is_refused(tsa: Stamper, token: bytes) -> None:
    lists = [tsa.authority.revoke(tsa.certificate, updated=BEGIN, until=LATER + timedelta(days=1))]
    trusted = TimestampAuthorities([tsa.root], revocations=lists)
    assert refused(trusted, token) == ["timestamp.certificate-revoked"]
    others = [tsa.authority.revoke(updated=BEGIN, until=LATER + timedelta(days=1))]
    assert TimestampAuthorities([tsa.root], revocations=others).check(token, SIGNATURE, LATER)


def test_a_timestamp_from_the_future_is_refused(trusted: TimestampAuthorities, token: bytes) -> None:
    assert refused(trusted, token, BEGIN - timedelta(hours=1)) == ["timestamp.to-come"]


def test_a_changed_timestamp_is_refused(trusted: TimestampAuthorities, token: bytes) -> None:
    time = parse(token).tst_info.gen_time
    now, earlier = (f"{one:%Y%m%d%H%M%S}Z".encode() for one in (time, time - timedelta(hours=2)))
    assert now in token
    assert refused(trusted, token.replace(now, earlier)) == ["timestamp.bad"]
    assert refused(trusted, token[:-1] + bytes([token[-1] ^ 1])) == ["timestamp.bad"]


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 10_000))
def test_any_bytes_are_our_error_or_the_same_word(junk: bytes, place: int) -> None:
    good = _kept["token"]
    at = place % len(good)
    for spoiled in (junk, good[:at], good[:at] + junk + good[at + len(junk) :]):
        try:
            time = _kept["trusted"].check(spoiled, SIGNATURE, LATER)
        except VerificationError as err:
            assert err.findings  # noqa: PT017 - both ends are right
        else:
            assert time == _kept["trusted"].check(good, SIGNATURE, LATER)


_kept: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def _keep(token: bytes, trusted: TimestampAuthorities) -> None:
    _kept.update(token=token, trusted=trusted)


class TestBundles:
    """What a bundle's timestamps do to the moment it is judged at."""

    def test_without_a_timestamp_the_present_counts(self, signer: PemSigner, trusted: TimestampAuthorities) -> None:
        found = judge(signed(signer), trusted, LATER)
        assert (found.moment.at, found.against, found.remarks) == (LATER, (), ())
        assert judge(signed(signer), None, LATER).remarks == ()

    def test_a_trusted_timestamp_gives_the_time(
        self, signer: PemSigner, tsa: Stamper, trusted: TimestampAuthorities
    ) -> None:
        found = judge(signed(signer, tsa), trusted, LATER)
        assert abs(found.moment.at - BEGIN) < timedelta(days=1)
        assert found.against == ()
        assert [(one.rule, one.severity) for one in found.remarks] == [("timestamp.trusted", Severity.INFO)]

    def test_nobodys_word_counts_when_no_authority_is_given(self, signer: PemSigner, tsa: Stamper) -> None:
        found = judge(signed(signer, tsa), None, LATER)
        assert found.moment.signed is None
        assert [(one.rule, one.severity) for one in found.remarks] == [("timestamp.unchecked", Severity.WARNING)]

    def test_a_bad_timestamp_is_a_reason_against(
        self, signer: PemSigner, trusted: TimestampAuthorities, token: bytes, tsa: Stamper
    ) -> None:
        other = replace(signed(signer), timestamps=(token,))
        assert [one.rule for one in judge(other, trusted, LATER).against] == ["timestamp.other-signature"]
        both = signed(signer, tsa)
        both = replace(both, timestamps=(*both.timestamps, b"junk"))
        assert [one.rule for one in judge(both, trusted, LATER).against] == ["timestamp.malformed"]

    def test_a_strangers_timestamp_beside_a_trusted_one_is_only_told(
        self, signer: PemSigner, trusted: TimestampAuthorities, tsa: Stamper, tmp_path: Path
    ) -> None:
        stranger = stamper(tmp_path)
        found = judge(signed(signer, stranger, tsa), trusted, LATER)
        assert found.moment.signed is not None
        assert [one.severity for one in found.remarks] == [Severity.INFO, Severity.WARNING]
        alone = judge(signed(signer, stranger), trusted, LATER)
        assert alone.moment.signed is None
        assert [one.rule for one in alone.against] == ["timestamp.certificate-untrusted"]

    def test_a_heap_of_timestamps_is_refused_unread(self, signer: PemSigner, trusted: TimestampAuthorities) -> None:
        heap = replace(signed(signer), timestamps=(b"junk",) * (MAX_TOKENS + 1))
        assert [one.rule for one in judge(heap, trusted, LATER).against] == ["timestamp.malformed"]

    def test_as_many_as_are_read_are_judged(
        self, signer: PemSigner, tsa: Stamper, trusted: TimestampAuthorities
    ) -> None:
        found = signed(signer, tsa)
        many = replace(found, timestamps=found.timestamps * MAX_TOKENS)
        assert (judge(many, trusted, LATER).against, judge(many, trusted, LATER).moment.signed is None) == ((), False)

    def test_a_timestamp_of_one_signature_says_nothing_of_another(
        self, signer: PemSigner, tsa: Stamper, trusted: TimestampAuthorities
    ) -> None:
        one = signed(signer, tsa)
        second = b"a co-signer's"
        both = replace(one, envelope=replace(one.envelope, signatures=(*one.envelope.signatures, ("ab" * 32, second))))
        moment = judge(both, trusted, LATER).moment
        assert moment.signed is not None
        assert moment.of(one.signatures[0][1]).at == moment.signed
        assert moment.of(second).at == LATER
        of_second = replace(both, timestamps=(stamped(tsa, second),))
        found = judge(of_second, trusted, LATER)
        assert (found.moment.signed, found.against) == (None, ())
        assert found.moment.of(second).at < LATER
        assert found.moment.of(one.signatures[0][1]).at == LATER


class TestAsking:
    """What comes over the network is a timestamp of what was asked, or our error, in bounded time."""

    def test_the_authority_stamps_over_http(self, tsa: Stamper, trusted: TimestampAuthorities) -> None:
        token = request_token(tsa.url, SIGNATURE, now=LATER, authorities=trusted)
        assert trusted.check(token, SIGNATURE, LATER) < LATER

    def test_an_authority_that_does_not_count_is_refused_at_once(self, tsa: Stamper, tmp_path: Path) -> None:
        other = TimestampAuthorities([stamper(tmp_path).root])
        with pytest.raises(VerificationError, match="does not lead to a trusted authority"):
            request_token(tsa.url, SIGNATURE, now=LATER, authorities=other)

    @pytest.mark.parametrize(
        "url",
        [
            *("file:///etc/passwd", "ftp://x.example/", "tsa.example", "http://", "http://x:port/", "http://a b/", ""),
            *("http://x.example/\x07", "http://\u0455.example/"),
        ],
    )
    def test_only_the_web_is_asked(self, url: str) -> None:
        for ask in (check_url, lambda wrong: request_token(wrong, SIGNATURE, now=LATER)):
            with pytest.raises(ConfigError, match=r"begins with http"):
                ask(url)

    def test_an_answer_to_an_earlier_request_is_refused(self, tsa: Stamper, token: bytes) -> None:
        with answering(tsa, lambda handler, _: send(handler, token)), pytest.raises(TimestampError, match="another re"):
            request_token(tsa.url, SIGNATURE, now=LATER)

    def test_an_answer_over_another_signature_is_refused(self, tsa: Stamper) -> None:
        other = stamped(tsa, b"other")
        with answering(tsa, lambda handler, _: send(handler, other)), pytest.raises(TimestampError, match="over anoth"):
            request_token(tsa.url, SIGNATURE, now=LATER)

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            (b"junk", 200, "damaged"),
            (b"", 200, "damaged"),
            (b"", 503, "answered 503"),
            (b"", 302, "answered 302"),
            (b"x" * (MAX_BYTES + 1), 200, "more than"),
            (b"x" * MAX_BYTES, 200, "damaged"),
            (bytes.fromhex("30053003020102"), 200, "granted no timestamp"),
        ],
        ids=["junk", "empty", "503", "redirect", "huge", "largest", "rejected"],
    )
    def test_any_other_answer_is_our_error(self, tsa: Stamper, body: bytes, status: int, words: str) -> None:
        with (
            answering(tsa, lambda handler, _: send(handler, body, status=status)),
            pytest.raises(TimestampError, match=words),
        ):
            request_token(tsa.url, SIGNATURE, now=LATER)

    def test_nobody_there_is_our_error(self, tsa: Stamper) -> None:
        with pytest.raises(TimestampError, match="cannot be asked"):
            request_token("http://127.0.0.1:9/", SIGNATURE, now=LATER)
        assert tsa.url

    def test_an_answer_that_never_ends_is_given_up(self, tsa: Stamper) -> None:
        stop = threading.Event()

        def drip(handler: BaseHTTPRequestHandler, _: bytes) -> None:
            handler.send_response(200)
            handler.end_headers()
            while not stop.wait(0.05):
                try:
                    handler.wfile.write(b"x")
                    handler.wfile.flush()
                except OSError:
                    return

        with answering(tsa, drip), pytest.raises(TimestampError, match=re.escape("no whole answer in 0.3 s")):
            request_token(tsa.url, SIGNATURE, now=LATER, timeout_s=0.3)
        stop.set()


def test_without_the_package_it_is_said_which_extra_brings_it(
    monkeypatch: pytest.MonkeyPatch, signer: PemSigner, trusted: TimestampAuthorities, token: bytes
) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    assert judge(signed(signer), trusted, LATER).against == ()
    for ask in (
        lambda: parse(token),
        lambda: trusted.check(token, SIGNATURE, LATER),
        lambda: request_token("http://127.0.0.1:9/", SIGNATURE, now=LATER),
    ):
        with pytest.raises(MissingExtraError, match=r"assay\[timestamp\]"):
            ask()


def test_authorities_are_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        TimestampAuthorities([])


def test_the_time_is_the_latest_that_the_authority_may_mean(trusted: TimestampAuthorities, token: bytes) -> None:
    said = parse(token).tst_info.gen_time
    assert trusted.check(token, SIGNATURE, LATER) - said == timedelta(seconds=1.5001)
    assert trusted.check(token, SIGNATURE, said - CLOCK_SKEW) > said
    with pytest.raises(VerificationError, match="which is to come"):
        trusted.check(token, SIGNATURE, said - CLOCK_SKEW - timedelta(microseconds=1))


def test_whose_key_it_was_must_be_clear(tsa: Stamper, token: bytes) -> None:
    """Neither two signers, nor two certificates of one issuer and number, nor none."""
    read = parse(token)
    (info,) = read.signed_data.signer_infos
    leaf, other = tsa.certificate, tsa.root
    twin = blank("twin", tsa.key, "tsa root", serial=leaf.serial_number).sign(tsa.key, hashes.SHA256())
    assert twin.issuer == leaf.issuer

    def answer(infos: list[object], *brought: x509.Certificate) -> Any:  # noqa: ANN401 - what their parser gives
        ders = {one.public_bytes(Encoding.DER) for one in brought}
        return SimpleNamespace(signed_data=SimpleNamespace(certificates=ders, signer_infos=infos))

    assert timestamp._signer(answer([info], leaf, other), [other]) == (leaf, [other])
    for odd, said in (
        (answer([info, info], leaf), "has 2 signers"),
        (answer([], leaf), "has 0 signers"),
        (answer([info], leaf, twin), "2 certificates could be"),
        (answer([info], other), "0 certificates could be"),
    ):
        with pytest.raises(VerificationError, match=said):
            timestamp._signer(odd, [])
