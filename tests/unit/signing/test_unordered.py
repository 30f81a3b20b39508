"""Authorities built on OpenSSL bring their certificates unsorted: their word counts like any other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st
from rfc3161_client import TimestampRequestBuilder, decode_timestamp_response
from tests.authority import Authority
from tests.stamping import Stamper, stamper

from assay.errors import VerificationError
from assay.signing.timestamp import TimestampAuthorities
from assay.signing.unordered import in_order

SIGNATURE = b"a signature's bytes"
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=3000)


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Stamper:
    """An authority that brings a long certificate and then a short one, whatever its own is."""
    found = stamper(tmp_path_factory.mktemp("tsa"))
    beside = [Authority.root(name, at=NOW, days=3650).certificate for name in ("x" * 60, "y")]
    _bring(found, beside)
    return found


@pytest.fixture(scope="module")
def token(tsa: Stamper) -> bytes:
    return tsa.stamp(TimestampRequestBuilder().data(SIGNATURE).build().as_bytes())


def _bring(tsa: Stamper, certificates: list[x509.Certificate]) -> None:
    chain: Path = tsa.folder / "chain.pem"
    chain.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    config = tsa.folder / "tsa.conf"
    config.write_text(config.read_text() + f"certs = {chain}\n")


def test_certificates_out_of_order_are_no_damage(tsa: Stamper, token: bytes) -> None:
    with pytest.raises(ValueError, match="InvalidSetOrdering"):  # else this test would show nothing
        decode_timestamp_response(token)
    told = TimestampAuthorities([tsa.root]).check(token, SIGNATURE, LATER)
    assert abs(told - NOW) < timedelta(hours=1)


def test_what_is_signed_is_left_as_it_is(tsa: Stamper, token: bytes) -> None:
    sorted_one = in_order(token)
    assert sorted_one != token
    assert in_order(sorted_one) == sorted_one
    before, after = token.index(b"\x30\x82"), len(token) - 200  # the signature ends the response
    assert (sorted_one[:before], sorted_one[after:]) == (token[:before], token[after:])
    assert sorted(sorted_one) == sorted(token)
    spoiled = token[:-1] + bytes([token[-1] ^ 1])
    with pytest.raises(VerificationError, match="does not hold"):
        TimestampAuthorities([tsa.root]).check(spoiled, SIGNATURE, LATER)


@given(st.binary(max_size=80), st.integers(0, 10_000))
@example(b"", 0)
@example(b"\x30", 0)
@example(b"\x30\x84\xff\xff\xff\xff", 0)
@example(b"\x30\x80", 0)
def test_of_any_bytes_none_is_lost(junk: bytes, place: int) -> None:
    good = _kept[0]
    at = place % len(good)
    for spoiled in (junk, good[:at], good[:at] + junk + good[at + len(junk) :]):
        assert sorted(in_order(spoiled)) == sorted(spoiled)


_kept: list[bytes] = []


@pytest.fixture(scope="module", autouse=True)
def _keep(token: bytes) -> None:
    _kept[:] = [token]
