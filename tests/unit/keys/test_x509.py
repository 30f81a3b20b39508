from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import KeyFileError, VerificationError
from assay.keys.base import key_id_of
from assay.keys.x509 import certified_pem, check_chain, der, read_certificates

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CODE, TLS = ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Authority:
    """A key and its certificate, to issue others with."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def root(cls, name: str = "root") -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, build(name, key, name, key, ca=True))

    def below(self, name: str, *, ca: bool = True) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return Authority(key, build(name, key, common_name(self.certificate), self.key, ca=ca))

    def leaf(
        self,
        *,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
        start: datetime = NOW - DAY,
        end: datetime = NOW + DAY,
        extended: Sequence[x509.ObjectIdentifier] = (CODE,),
        signs: bool | None = True,
        names: Sequence[x509.GeneralName] = (x509.RFC822Name("ci@acme.example"),),
    ) -> x509.Certificate:
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = blank("ci", key, common_name(self.certificate), start, end)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(extended)), critical=False)
        if signs is not None:
            builder = builder.add_extension(usage(digital=signs, certify=False), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def usage(*, digital: bool, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital,
        content_commitment=not digital and not certify,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def blank(
    name: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    issuer: str,
    start: datetime = NOW - DAY * 100,
    end: datetime = NOW + DAY * 100,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def build(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    builder = blank(name, key, issuer)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(usage(digital=not ca, certify=ca), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


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


def test_a_certificate_that_only_says_digital_signature_may_sign() -> None:
    assert check_chain([der(ROOT.leaf(extended=()))], [ROOT.certificate], now=NOW).names
    assert check_chain([der(ROOT.leaf(signs=None))], [ROOT.certificate], now=NOW).names


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
