"""A certificate authority for tests: issues, takes back, and is of this time or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CODE, TLS = ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH
MAIL = "ci@acme.example"


@dataclass(frozen=True)
class Authority:
    """A key and its certificate, to issue others with."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def root(cls, name: str = "root", *, lists: bool = True, at: datetime = NOW, days: int = 100) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, build(name, key, name, key, ca=True, lists=lists, span=(at - DAY * days, at + DAY * days)))

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
        critical: bool = False,
        signs: bool | None = True,
        names: Sequence[x509.GeneralName] = (x509.RFC822Name(MAIL),),
        ca: bool = False,
        serial: int | None = None,
    ) -> x509.Certificate:
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = blank("ci", key, common_name(self.certificate), start, end, serial=serial)
        if ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(extended)), critical=critical)
        if signs is not None:
            builder = builder.add_extension(usage(digital=signs, certify=False), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def revoke(
        self,
        *certificates: x509.Certificate,
        at: datetime = NOW - DAY,
        leaked: datetime | None = None,
        updated: datetime = NOW - timedelta(hours=1),
        until: datetime | None = NOW + DAY,
        extension: x509.ExtensionType | None = None,
    ) -> x509.CertificateRevocationList:
        """A list of certificates taken back at a time, their keys known to have leaked at another."""
        name = self.certificate.subject
        builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(updated)
        builder = builder.next_update(until or NOW + DAY)
        for one in certificates:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(at)
            if leaked is not None:
                entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
                entry = entry.add_extension(x509.InvalidityDate(leaked), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        if extension is not None:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.key, hashes.SHA256())


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def usage(*, digital: bool, certify: bool, lists: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital,
        content_commitment=not digital and not certify,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=lists,
        encipher_only=False,
        decipher_only=False,
    )


def blank(
    name: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    issuer: str,
    start: datetime = NOW - DAY * 100,
    end: datetime = NOW + DAY * 100,
    *,
    serial: int | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def build(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    lists: bool = True,
    span: tuple[datetime, datetime] = (NOW - DAY * 100, NOW + DAY * 100),
) -> x509.Certificate:
    builder = blank(name, key, issuer, *span)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(usage(digital=not ca, certify=ca, lists=ca and lists), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(path: Path, *items: x509.Certificate | x509.CertificateRevocationList) -> Path:
    """Write certificates or revocation lists to a PEM file."""
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in items))
    return path
