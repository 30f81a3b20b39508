from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tests.authority import DAY, NOW, Authority, pem

from assay.errors import KeyFileError, VerificationError
from assay.keys.revocation import read_revocations
from assay.keys.x509 import check_chain, der

ROOT = Authority.root()
MIDDLE = ROOT.below("middle")
LEAF = MIDDLE.leaf(start=NOW - DAY * 20)
CHAIN = (LEAF, MIDDLE.certificate)
Lists = Sequence[x509.CertificateRevocationList]


def rules(lists: Lists, *, signed: datetime | None = None, chain: Sequence[x509.Certificate] = CHAIN) -> list[str]:
    try:
        check_chain([der(one) for one in chain], [ROOT.certificate], now=NOW, signed=signed, revocations=lists)
    except VerificationError as err:
        return [one.rule for one in err.findings]
    return []


def test_a_certificate_that_its_authority_did_not_take_back_signs() -> None:
    assert rules([MIDDLE.revoke()]) == []


def test_a_revoked_certificate_is_refused_without_a_trusted_time() -> None:
    assert rules([MIDDLE.revoke(LEAF)]) == ["certificate.revoked"]
    assert rules([MIDDLE.revoke(LEAF, at=NOW + DAY)]) == ["certificate.revoked"]


def test_what_was_signed_before_the_revocation_still_counts_and_later_does_not() -> None:
    revoked = [MIDDLE.revoke(LEAF, at=NOW - DAY * 3)]
    assert rules(revoked, signed=NOW - DAY * 3 - timedelta(seconds=1)) == []
    assert rules(revoked, signed=NOW - DAY * 3) == ["certificate.revoked"]


def test_a_key_known_to_have_leaked_earlier_counts_only_before_that() -> None:
    leaked = [MIDDLE.revoke(LEAF, at=NOW - DAY * 3, leaked=NOW - DAY * 10)]
    assert rules(leaked, signed=NOW - DAY * 5) == ["certificate.revoked"]
    assert rules(leaked, signed=NOW - DAY * 11) == []


def test_a_revoked_authority_certifies_nobody() -> None:
    both = [MIDDLE.revoke(), ROOT.revoke(MIDDLE.certificate)]
    assert rules(both) == ["certificate.revoked"]


@pytest.mark.parametrize(
    ("lists", "rule"),
    [
        ([MIDDLE.revoke(until=NOW - timedelta(minutes=1))], "certificate.stale-crl"),
        ([MIDDLE.revoke(updated=NOW + timedelta(minutes=1))], "certificate.bad-crl"),
        ([Authority.root("middle").revoke()], "certificate.bad-crl"),  # of the same name, signed by another key
        ([ROOT.revoke()], "certificate.no-crl"),
        ([MIDDLE.revoke(extension=x509.DeltaCRLIndicator(1))], "certificate.bad-crl"),
        (
            [
                MIDDLE.revoke(
                    extension=x509.IssuingDistributionPoint(
                        full_name=[x509.UniformResourceIdentifier("http://x.example")],
                        relative_name=None,
                        only_contains_user_certs=False,
                        only_contains_ca_certs=False,
                        only_some_reasons=frozenset({x509.ReasonFlags.superseded}),
                        indirect_crl=False,
                        only_contains_attribute_certs=False,
                    )
                )
            ],
            "certificate.bad-crl",
        ),
    ],
    ids=["stale", "to-come", "forged", "of-another", "delta", "partial"],
)
def test_a_list_that_cannot_tell_refuses(lists: Lists, rule: str) -> None:
    assert rules(lists) == [rule]


def test_a_list_by_who_may_not_sign_lists_does_not_count() -> None:
    root = Authority.root(lists=False)
    leaf = root.leaf()
    with pytest.raises(VerificationError, match="may not sign such lists"):
        check_chain([der(leaf)], [root.certificate], now=NOW, revocations=[root.revoke()])


def test_one_current_list_is_enough_and_an_old_copy_beside_it_hides_nothing() -> None:
    old = MIDDLE.revoke(until=NOW - timedelta(minutes=1))
    assert rules([old, MIDDLE.revoke()]) == []
    assert rules([old, MIDDLE.revoke(LEAF)]) == ["certificate.revoked"]


def test_a_list_whose_parts_cannot_be_read_does_not_count() -> None:
    junk = x509.UnrecognizedExtension(x509.IssuingDistributionPoint.oid, b"junk")
    assert rules([MIDDLE.revoke(extension=junk)]) == ["certificate.bad-crl"]


def test_lists_are_read_from_pem_and_der(tmp_path: Path) -> None:
    one, two = MIDDLE.revoke(LEAF), ROOT.revoke()
    assert read_revocations(pem(tmp_path / "both.pem", one, two)) == (one, two)
    (tmp_path / "one.crl").write_bytes(one.public_bytes(Encoding.DER))
    assert read_revocations(tmp_path / "one.crl") == (one,)


def test_a_file_that_is_no_list_is_named(tmp_path: Path) -> None:
    pem(tmp_path / "certificate.pem", LEAF)
    (tmp_path / "cut.pem").write_bytes(MIDDLE.revoke().public_bytes(Encoding.PEM)[:200])
    with (tmp_path / "huge.crl").open("wb") as file:
        file.truncate(20_000_000)
    for name in ("certificate.pem", "cut.pem", "huge.crl", "missing.crl"):
        with pytest.raises(KeyFileError, match=name):
            read_revocations(tmp_path / name)


@given(st.binary(min_size=1, max_size=40), st.integers(0, 10_000))
def test_any_damage_to_a_list_is_our_error_or_refuses(junk: bytes, place: int) -> None:
    good = MIDDLE_LIST
    at = place % len(good)
    for data in (good[:at] + junk + good[at + len(junk) :], good[:at]):
        with contextlib.suppress(ValueError, x509.InvalidVersion):
            found = x509.load_der_x509_crl(data)
            if found.tbs_certlist_bytes != x509.load_der_x509_crl(good).tbs_certlist_bytes:
                assert rules([found]) in (["certificate.bad-crl"], ["certificate.no-crl"])


MIDDLE_LIST = MIDDLE.revoke(LEAF, leaked=NOW - DAY * 10).public_bytes(Encoding.DER)
