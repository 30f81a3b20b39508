"""Signatures made through Sigstore, by the fixtures of the reference implementation; verified without a network."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.prompt import at, typed

from assay.errors import KeyFileError, MissingExtraError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing import sigstore
from assay.signing.cosigning import cosign
from assay.signing.moment import Moment
from assay.signing.reading import parse
from assay.signing.signers import AtLeast, SignedByKey
from assay.signing.sigstore import PublicInstance, SignedBySigstore, TrustConfig
from assay.signing.statement import PAYLOAD_TYPE
from assay.signing.verify import verify

REFERENCE = Path(__file__).parent / "reference"
CASES = ["v0.3.1-sigstore", "v1.0.0-sigstore", "v1.0.1-sigstore", "v1.1.0-sigstore"]
WHO, ISSUER = "stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # nothing is read from, or left in, a user's cache


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(REFERENCE / "v1.0.0-sigstore", tmp_path / "model")


def rule() -> SignedBySigstore:
    return SignedBySigstore(WHO, ISSUER, PublicInstance())


def refused(model: Path, signers: SignedBySigstore) -> list[str]:
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=signers, now=NOW)
    return [finding.rule for finding in caught.value.findings]


@pytest.mark.parametrize("case", CASES)
def test_it_verifies_offline_years_after_its_certificate_ended(case: str, tmp_path: Path) -> None:
    verified = verify(REFERENCE / case, signers=rule(), ignore=["ignore-me"], now=datetime(2036, 1, 1, tzinfo=UTC))
    assert verified.signer == WHO
    assert not (tmp_path / "home").exists()


def test_another_person_or_another_provider_is_refused(model: Path) -> None:
    for who, issuer in ((WHO, "https://accounts.google.com"), ("anna@example.org", ISSUER), (WHO, ISSUER + "/")):
        with pytest.raises(VerificationError, match=f"signed by {WHO}") as caught:
            verify(model, signers=SignedBySigstore(who, issuer, PublicInstance()), now=NOW)
        assert [finding.rule for finding in caught.value.findings] == ["signature.wrong-identity"]


def test_identity_and_provider_must_be_said() -> None:
    for who, issuer in (("", ISSUER), (WHO, "")):
        with pytest.raises(ValueError, match="needs an identity and the provider"):
            SignedBySigstore(who, issuer, PublicInstance())


def test_a_changed_file_is_refused(model: Path) -> None:
    (model / "signme-1").write_bytes(b"x")
    assert refused(model, rule()) == ["artifact.changed"]


def entry(body: Any) -> Any:  # noqa: ANN401 - it is any JSON
    return body["verificationMaterial"]["tlogEntries"][0]


def first_byte(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


SPOILED: dict[str, Callable[[Any], object]] = {
    "no entry": lambda body: body["verificationMaterial"].update(tlogEntries=[]),
    "entry gone": lambda body: body["verificationMaterial"].pop("tlogEntries"),
    "two entries": lambda body: body["verificationMaterial"]["tlogEntries"].append(entry(body)),
    "other time": lambda body: entry(body).update(integratedTime="1500000000"),
    "no promise": lambda body: entry(body).pop("inclusionPromise"),
    "no proof": lambda body: entry(body).pop("inclusionProof"),
    "other proof": lambda body: entry(body)["inclusionProof"].update(rootHash="AAAA"),
    "other body": lambda body: entry(body).update(canonicalizedBody=first_byte(entry(body)["canonicalizedBody"])),
    "other signature": lambda body: body["dsseEnvelope"]["signatures"][0].update(
        sig=first_byte(body["dsseEnvelope"]["signatures"][0]["sig"])
    ),
    "other certificate": lambda body: body["verificationMaterial"]["certificate"].update(
        rawBytes=first_byte(body["verificationMaterial"]["certificate"]["rawBytes"])
    ),
    "no certificate": lambda body: body["verificationMaterial"]["certificate"].update(rawBytes="AAAA"),
}


@pytest.mark.parametrize("flaw", SPOILED)
def test_what_the_log_does_not_vouch_for_is_refused(model: Path, flaw: str) -> None:
    body = json.loads((model / "model.sig").read_text())
    SPOILED[flaw](body)
    (model / "model.sig").write_text(json.dumps(body))
    assert refused(model, rule())[0] in {"signature.sigstore", "signature.malformed"}


def test_another_statement_under_the_same_signature_is_refused(model: Path) -> None:
    body = json.loads((model / "model.sig").read_text())
    other = json.loads((REFERENCE / "v1.1.0-sigstore" / "model.sig").read_text())
    body["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    (model / "model.sig").write_text(json.dumps(body))
    assert "signature.sigstore" in refused(model, rule())


def test_a_key_signature_is_none_of_sigstore(model: Path) -> None:
    assert refused(REFERENCE / "v0.3.1-certificate", rule()) == ["signature.wrong-method"]
    key = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
    with pytest.raises(VerificationError, match="wanted a signature by key"):
        verify(model, signers=SignedByKey(load_public(key.public_pem())), now=NOW)


def test_a_second_person_signs_by_key(model: Path) -> None:
    key = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
    cosign(model, key, now=NOW)
    signers = AtLeast(2, rule(), SignedByKey(load_public(key.public_pem())))
    assert verify(model, signers=signers, now=NOW).signer == WHO
    assert refused(model, rule()) == ["signature.unknown-cosigner"]


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


BODY = json.loads((REFERENCE / "v1.1.0-sigstore" / "model.sig").read_text())
PLACES = [place for place in places(BODY) if place and place[0] != "mediaType"]
RULE = rule()


@given(place=st.sampled_from(PLACES), junk=st.none() | st.integers() | st.text(max_size=8) | st.just([]) | st.just({}))
def test_junk_anywhere_is_our_error_or_changes_nothing(place: tuple[str | int, ...], junk: object) -> None:
    body = json.loads(json.dumps(BODY))
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = junk
    try:
        bundle = parse(json.dumps(body).encode())
        RULE.check(bundle, Moment(NOW))
    except VerificationError as err:
        assert err.findings  # noqa: PT017 - both ends are right
    else:
        assert bundle.envelope.payload == base64.b64decode(BODY["dsseEnvelope"]["payload"])


def embedded() -> bytes:
    folder = quote("https://tuf-repo-cdn.sigstore.dev", safe="")
    return (resources.files("sigstore._store") / folder / "trusted_root.json").read_bytes()


def test_another_instance_is_trusted_by_its_file(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(embedded())
    assert verify(model, signers=SignedBySigstore(WHO, ISSUER, TrustConfig(root)), now=NOW).signer == WHO
    config = json.loads(embedded())
    config["certificateAuthorities"] = config["certificateAuthorities"][:1]
    config["certificateAuthorities"][0]["validFor"] = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    root.write_text(json.dumps(config))
    assert refused(model, SignedBySigstore(WHO, ISSUER, TrustConfig(root))) == ["signature.sigstore"]


def test_a_whole_configuration_of_an_instance_names_its_roots(model: Path, tmp_path: Path) -> None:
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(embedded()),
        "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    by = SignedBySigstore(WHO, ISSUER, TrustConfig(tmp_path / "config.json"))
    assert verify(model, signers=by, now=NOW).signer == WHO


def test_a_file_too_large_for_a_trust_configuration_is_not_read(tmp_path: Path) -> None:
    place = tmp_path / "root.json"
    for more, said in ((0, "found no trust configuration"), (1, "found more than 4194304 bytes")):
        place.write_bytes(b" " * ((4 << 20) + more))
        with pytest.raises(KeyFileError, match=said):
            TrustConfig(place).root()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"mediaType": "x"}',
        b'{"mediaType": "clienttrustconfig"}',
    ],
)
def test_a_file_that_is_no_trust_configuration_is_told(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "root.json").write_bytes(text)
    with pytest.raises(KeyFileError, match="trust configuration"):
        TrustConfig(tmp_path / "root.json").root()
    with pytest.raises(KeyFileError, match="cannot read"):
        TrustConfig(tmp_path / "nowhere.json").root()


def test_without_the_extra_it_says_which_one_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore.verify", None)
    with pytest.raises(MissingExtraError, match=r"assay\[sigstore\]"):
        PublicInstance().root()


def certificate(*, named: bool, extensions: dict[str, bytes]) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
    )
    if named:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(WHO)]), critical=True)
    for oid, value in extensions.items():
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(unknown, critical=False)
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("named", "extensions", "said"),
    [
        (True, {"1.3.6.1.4.1.57264.1.1": b"https://a.example"}, f"{WHO} (https://a.example)"),
        (True, {"1.3.6.1.4.1.57264.1.8": b"\x0c\x11https://a.example"}, f"{WHO} (https://a.example)"),
        (True, {"1.3.6.1.4.1.57264.1.8": b"\x04\x01x"}, f"{WHO} (no provider)"),
        (True, {}, f"{WHO} (no provider)"),
        (False, {}, "somebody who cannot be read"),
    ],
)
def test_a_refusal_says_whom_a_certificate_names(*, named: bool, extensions: dict[str, bytes], said: str) -> None:
    whom = sigstore._Whom("anna@example.org", ISSUER)
    with pytest.raises(Exception, match=r".") as caught:
        whom.verify(certificate(named=named, extensions=extensions))
    assert not isinstance(caught.value, VerificationError)  # Sigstore's own: the rule makes ours of it
    assert whom.found == said


def test_a_library_that_reads_another_statement_is_not_believed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigstore.verify.Verifier.verify_dsse", lambda *_: (PAYLOAD_TYPE, b"{}"))
    assert refused(model, rule()) == ["signature.sigstore"]


def test_a_library_without_roots_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigstore, "_PUBLIC", "https://elsewhere.example")
    with pytest.raises(KeyFileError, match="--trust-config"):
        PublicInstance().root()


def test_at_the_prompt(model: Path, tmp_path: Path) -> None:
    with at(tmp_path):
        done = typed("verify", "model", "--identity", WHO, "--identity-issuer", ISSUER, "--json")
        assert (done.code, done.data["signer"]) == (0, WHO)
        typed("verify", "model", "--identity", "x@example.org", "--identity-issuer", ISSUER).refused(
            1, "signed by", WHO
        )
        typed("verify", "model", "--identity-issuer", ISSUER).refused(2, "--identity")
        typed("verify", "model", "--any-identity", "--identity-issuer", ISSUER).refused(2, "--identity")
        typed("verify", "model", "--identity", WHO).refused(2, "--identity-issuer")
        typed("verify", "model", "--public-key", "x.pub", "--trust-config", "x.json").refused(2, "--trust-config goes")
        nowhere = ("--trust-config", "nowhere.json")
        typed("verify", "model", "--identity", WHO, "--identity-issuer", ISSUER, *nowhere).refused(2, "nowhere.json")
    assert model.exists()
