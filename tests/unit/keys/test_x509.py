from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tests.authority import DAY, NOW, TLS, Authority, blank, usage

from assay.errors import KeyFileError, VerificationError
from assay.findings import Severity
from assay.keys.base import key_id_of
from assay.keys.x509 import certified_pem, check_chain, check_usable, der, read_certificates

ROOT = Authority.root()
MIDDLE = ROOT.below("middle")


def rules(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate] = (ROOT.certificate,)) -> list[str]:
    with pytest.raises(VerificationError) as caught:
        check_chain([der(one) for one in chain], anchors, now=NOW)
    return [finding.rule for finding in caught.value.findings]


def test_a_certificate_that_leads_to_the_root_names_its_holder() -> None:
    leaf = MIDDLE.leaf()
    holder = check_chain([der(leaf), der(MIDDLE.certificate)], [ROOT.certificate], now=NOW)
    assert holder.names == ("ci@acme.example",)
    assert holder.verifier.key_id == key_id_of(certified_pem(der(leaf)))


def test_a_signer_who_is_an_authority_or_has_no_alternative_name_is_told_of() -> None:
    # The certificates that model_signing's own tests make are both.
    holder = check_chain([der(ROOT.leaf(ca=True, names=()))], [ROOT.certificate], now=NOW)
    assert [one.rule for one in holder.findings] == ["certificate.is-authority", "certificate.no-alternative-name"]
    assert {one.severity for one in holder.findings} == {Severity.WARNING}
    assert check_chain([der(ROOT.leaf())], [ROOT.certificate], now=NOW).findings == ()


def test_certificates_are_judged_when_a_trusted_authority_saw_the_signature() -> None:
    old = [der(ROOT.leaf(start=NOW - DAY * 9, end=NOW - DAY * 5))]
    assert check_chain(old, [ROOT.certificate], now=NOW, signed=NOW - DAY * 6).names
    for signed, rule in ((NOW - DAY * 4, "certificate.expired"), (NOW - DAY * 10, "certificate.not-yet")):
        with pytest.raises(VerificationError) as caught:
            check_chain(old, [ROOT.certificate], now=NOW, signed=signed)
        assert [one.rule for one in caught.value.findings] == [rule]


def test_the_common_name_counts_only_without_alternative_names() -> None:
    assert check_chain([der(ROOT.leaf(names=()))], [ROOT.certificate], now=NOW).names == ("ci",)
    names = (x509.UniformResourceIdentifier("https://ci.example"), x509.DNSName("ci.example"))
    found = check_chain([der(ROOT.leaf(names=names))], [ROOT.certificate], now=NOW).names
    assert found == ("https://ci.example", "ci.example")


@pytest.mark.parametrize(
    ("chain", "rule"),
    [
        ([ROOT.leaf(start=NOW - DAY * 2, end=NOW - DAY)], "certificate.expired"),
        ([ROOT.leaf(start=NOW + DAY, end=NOW + DAY * 2)], "certificate.not-yet"),
        ([ROOT.leaf(extended=(TLS,))], "certificate.wrong-purpose"),
        ([ROOT.leaf(signs=False)], "certificate.wrong-purpose"),
        ([ROOT.leaf(signs=None)], "certificate.wrong-purpose"),
        ([ROOT.leaf(extended=())], "certificate.wrong-purpose"),
        ([ROOT.leaf(signs=None, extended=())], "certificate.wrong-purpose"),
        ([Authority.root("other").leaf()], "certificate.untrusted"),
        ([Authority.root().leaf()], "certificate.untrusted"),  # a root of the same name with another key
        ([MIDDLE.leaf()], "certificate.untrusted"),  # the certificate between is missing
        ([ROOT.leaf(key=rsa.generate_private_key(65537, 2048))], "certificate.wrong-key"),
        ([ROOT.leaf(key=ec.generate_private_key(ec.SECP256K1()))], "certificate.wrong-key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_certificate_that_does_not_vouch_is_refused_with_its_reason(chain: list[x509.Certificate], rule: str) -> None:
    assert rules(chain) == [rule]


def test_who_is_no_authority_cannot_certify() -> None:
    impostor = ROOT.below("impostor", ca=False)
    assert rules([impostor.leaf(), impostor.certificate]) == ["certificate.untrusted"]


def test_an_authority_that_may_not_sign_certificates_cannot_certify() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = blank("half", key, "root").add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(usage(digital=True, certify=False), critical=True)
    half = Authority(key, builder.sign(ROOT.key, hashes.SHA256()))
    assert rules([half.leaf(), half.certificate]) == ["certificate.untrusted"]


def test_what_the_signature_brings_is_never_an_anchor() -> None:
    own = Authority.root("own")
    assert rules([own.leaf(), own.certificate]) == ["certificate.untrusted"]


def test_an_expired_certificate_of_the_wrong_purpose_gives_both_reasons() -> None:
    leaf = ROOT.leaf(extended=(TLS,), start=NOW - DAY * 2, end=NOW - DAY)
    assert rules([leaf]) == ["certificate.expired", "certificate.wrong-purpose"]


def test_a_chain_without_end_is_refused_unread() -> None:
    assert rules([ROOT.leaf()] * 17) == ["certificate.malformed"]


@given(st.binary(max_size=100), st.integers(0, 10_000))
def test_any_bytes_are_our_error_or_say_what_the_authority_signed(junk: bytes, place: int) -> None:
    good = der(LEAF)
    at = place % len(good)
    for spoiled in (junk, good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
        try:
            check_chain([spoiled], [ROOT.certificate], now=NOW)
        except VerificationError as err:
            assert err.findings  # noqa: PT017 - both ends are right
        else:
            # The count of unused bits before the authority's signature is itself not signed.
            assert x509.load_der_x509_certificate(spoiled).tbs_certificate_bytes == LEAF.tbs_certificate_bytes


LEAF = ROOT.leaf()


def test_certificates_are_read_from_pem(tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in (MIDDLE.certificate, ROOT.certificate)))
    assert read_certificates(path) == (MIDDLE.certificate, ROOT.certificate)


@pytest.mark.parametrize("text", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_certificates_is_named(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(text)
    with pytest.raises(KeyFileError, match=r"chain\.pem"):
        read_certificates(path)
    with pytest.raises(KeyFileError, match="cannot read"):
        read_certificates(tmp_path / "missing.pem")
    with (tmp_path / "huge.pem").open("wb") as file:
        file.truncate(10_000_000)
    with pytest.raises(KeyFileError, match="more than"):
        read_certificates(tmp_path / "huge.pem")


def test_bytes_that_are_no_certificate_certify_no_key() -> None:
    with pytest.raises(KeyFileError, match="damaged"):
        certified_pem(b"junk")


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        (ROOT.leaf(start=NOW - DAY * 2, end=NOW - DAY), ["expired on 2026-02-28"]),
        (ROOT.leaf(extended=(TLS,)), ["is for a web server"]),
        (ROOT.leaf(extended=()), ["is for nothing in particular"]),
        (ROOT.leaf(signs=False), ["is not for digital signatures"]),
        (ROOT.leaf(signs=None), ["is not for digital signatures"]),
        (ROOT.leaf(extended=(TLS,), start=NOW - DAY * 2, end=NOW - DAY), ["expired on", "is for a web server"]),
        (ROOT.leaf(extended=(TLS,), start=NOW + DAY, end=NOW + DAY * 2), ["is for a web server"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_no_one_would_accept_is_refused_before_it_signs(leaf: x509.Certificate, said: list[str]) -> None:
    with pytest.raises(KeyFileError, match="nothing was signed") as caught:
        check_usable(leaf, now=NOW)
    assert all(one in caught.value.message for one in said), caught.value.message
    assert "valid only from" not in caught.value.message


def test_who_signs_before_a_certificate_begins_may_have_it_stamped_later() -> None:
    for start in (NOW - DAY, NOW, NOW + DAY):
        check_usable(ROOT.leaf(start=start, end=NOW + DAY * 2), now=NOW)


def test_a_damaged_certificate_signs_nothing() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    junk = x509.UnrecognizedExtension(x509.KeyUsage.oid, b"junk")
    damaged = blank("ci", key, "root").add_extension(junk, critical=True).sign(ROOT.key, hashes.SHA256())
    with pytest.raises(KeyFileError, match="damaged"):
        check_usable(damaged, now=NOW)
    assert rules([damaged]) == ["certificate.malformed"]
