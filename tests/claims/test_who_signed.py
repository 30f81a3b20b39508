"""Who signed: an unknown key, the wrong identity, a certificate that does not vouch, a bad second signature."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.authority import MAIL, TLS, Authority
from tests.stamping import Stamper, long_lived, serving, stamper

from assay.errors import VerificationError
from assay.findings import Severity
from assay.keys.pem import PemSigner, load_public
from assay.keys.x509 import der
from assay.signing.authority import request_token
from assay.signing.certificate import SignedByCertificate
from assay.signing.cosigning import cosign
from assay.signing.sign import sign
from assay.signing.signers import AllOf, SignedBy, SignedByKey, SignerRule
from assay.signing.timestamp import TimestampAuthorities
from assay.signing.trust import TrustStore
from assay.signing.verify import verify

# The timestamp authority writes the real time; by the time a test runs, that is later than now.
NOW = datetime.now(UTC) + timedelta(hours=1)
DAY = timedelta(days=1)
ANNA, BEN = "anna@acme.example", "ben@acme.example"


def new_key() -> PemSigner:
    return PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)


KEY, SECOND, STRANGER = new_key(), new_key(), new_key()
ROOT = long_lived("root")
TRUST = TrustStore().trust(ANNA, KEY.public_pem()).trust(BEN, SECOND.public_pem())
CERTIFIED_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(range(256)))
    return folder


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stamper]:
    with serving(stamper(tmp_path_factory.mktemp("tsa"))) as found:
        yield found


def reasons(model: Path, rule: SignerRule, *, now: datetime = NOW, tsa: Stamper | None = None) -> list[tuple[str, str]]:
    authorities = TimestampAuthorities([tsa.root]) if tsa else None
    try:
        verify(model, signers=rule, now=now, authorities=authorities).close()
    except VerificationError as err:
        return [(one.rule, one.detail) for one in err.findings]
    return []


def rules(model: Path, rule: SignerRule, **how: object) -> list[str]:
    return [one for one, _ in reasons(model, rule, **how)]  # type: ignore[arg-type]  # passed on as given


class TestByKey:
    """Whoever can write a model can write a signature beside it: whose it is decides."""

    def test_self_signed_by_an_unknown_key(self, model: Path) -> None:
        sign(model, STRANGER, now=NOW)
        assert rules(model, SignedBy(TRUST, [ANNA])) == ["trust.unknown-key"]
        assert rules(model, SignedByKey(load_public(KEY.public_pem()))) == ["signature.wrong-key"]

    def test_an_unknown_key_that_borrows_a_trusted_name(self, model: Path) -> None:
        sign(model, STRANGER, now=NOW)
        place = model / "model.sig"
        place.write_bytes(place.read_bytes().replace(STRANGER.key_id.encode(), KEY.key_id.encode()))
        assert rules(model, SignedBy(TRUST, [ANNA])) == ["signature.bad"]

    def test_the_right_key_of_the_wrong_identity(self, model: Path) -> None:
        sign(model, SECOND, now=NOW)
        ((rule, detail),) = reasons(model, SignedBy(TRUST, [ANNA]))
        assert rule == "signature.wrong-identity"
        assert BEN in detail
        assert ANNA in detail

    def test_a_signature_over_another_model(self, model: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        shutil.copytree(model, other)
        (other / "weights.bin").write_bytes(b"other")
        sign(other, KEY, now=NOW)
        shutil.copyfile(other / "model.sig", model / "model.sig")
        assert rules(model, SignedBy(TRUST, [ANNA])) == ["artifact.changed"]

    def test_a_second_signature_that_is_bad(self, model: Path) -> None:
        sign(model, KEY, now=NOW)
        cosign(model, SECOND, now=NOW)
        both = AllOf(SignedBy(TRUST, [ANNA]), SignedBy(TRUST, [BEN]))
        assert rules(model, both) == []
        place = model / "model.sig"
        place.write_bytes(place.read_bytes().replace(SECOND.key_id.encode(), KEY.key_id.encode()))
        assert rules(model, both)
        assert rules(model, SignedBy(TRUST, [ANNA]))  # also where the first alone would have been enough

    def test_a_second_signature_by_a_stranger(self, model: Path) -> None:
        sign(model, KEY, now=NOW)
        cosign(model, STRANGER, now=NOW)
        assert rules(model, SignedBy(TRUST, [ANNA])) == ["trust.unknown-key"]


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a certificate, and how it is told."""

    make: Callable[[], tuple[bytes, ...]]
    rule: str
    words: str


def _leaf(authority: Authority = ROOT, **how: object) -> tuple[bytes, ...]:
    given = {"start": NOW - DAY, "end": NOW + DAY, **how}
    leaf = authority.leaf(key=CERTIFIED_KEY, **given)  # type: ignore[arg-type]  # passed on as given
    return (der(leaf), der(authority.certificate))


FLAWS = {
    "expired": Flaw(lambda: _leaf(start=NOW - DAY * 9, end=NOW - DAY), "certificate.expired", "expired on"),
    "not-yet": Flaw(lambda: _leaf(start=NOW + DAY, end=NOW + DAY * 9), "certificate.not-yet", "valid only from"),
    "web": Flaw(lambda: _leaf(extended=(TLS,)), "certificate.wrong-purpose", "a web server (TLS)"),
    "no-purpose": Flaw(lambda: _leaf(extended=()), "certificate.wrong-purpose", "wanted one whose extended key usage"),
    "no-signatures": Flaw(lambda: _leaf(signs=False), "certificate.wrong-purpose", "not for digital signatures"),
    "self-made": Flaw(lambda: _leaf(long_lived("root")), "certificate.untrusted", "does not lead to a trusted"),
}


class TestByCertificate:
    """A certificate vouches only when everything about it does."""

    def rule(self, **how: object) -> SignedByCertificate:
        return SignedByCertificate([ROOT.certificate], [MAIL], **how)  # type: ignore[arg-type]  # passed on as given

    def put(self, model: Path, chain: tuple[bytes, ...], tsa: Stamper | None = None) -> None:
        signer = PemSigner(CERTIFIED_KEY, encrypted=False, loose_mode=False)
        stamp = (lambda data: [request_token(tsa.url, data, now=NOW)]) if tsa else None
        sign(model, signer, certificates=chain, stamp=stamp, now=NOW)

    def test_a_sound_one_vouches(self, model: Path) -> None:
        self.put(model, _leaf())
        assert reasons(model, self.rule()) == []

    @pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
    def test_a_flawed_one_is_refused_with_its_own_reason(self, model: Path, flaw: Flaw) -> None:
        self.put(model, flaw.make())
        ((rule, detail),) = reasons(model, self.rule())
        assert rule == flaw.rule
        assert flaw.words in detail

    def test_another_persons_is_refused(self, model: Path) -> None:
        self.put(model, _leaf())
        assert rules(model, SignedByCertificate([ROOT.certificate], [ANNA])) == ["signature.wrong-identity"]

    def test_a_revoked_one_is_refused(self, model: Path) -> None:
        chain = _leaf()
        self.put(model, chain)
        from cryptography import x509

        leaf = x509.load_der_x509_certificate(chain[0])
        lists = [ROOT.revoke(leaf, at=NOW - DAY, updated=NOW - DAY, until=NOW + DAY)]
        assert rules(model, self.rule(revocations=lists)) == ["certificate.revoked"]

    def test_an_old_tools_certificate_is_told_of_and_taken(self, model: Path) -> None:
        self.put(model, _leaf(ca=True, names=()))
        found = verify(model, signers=SignedByCertificate([ROOT.certificate], ["ci"]), now=NOW)
        assert [one.rule for one in found.findings] == ["certificate.is-authority", "certificate.no-alternative-name"]
        assert {one.severity for one in found.findings} == {Severity.WARNING}

    def test_an_expired_one_counts_for_what_a_trusted_authority_saw_before(self, model: Path, tsa: Stamper) -> None:
        self.put(model, _leaf(), tsa)
        later = NOW + DAY * 30
        assert rules(model, self.rule(), now=later) == ["certificate.expired"]  # nobody's word is asked for
        assert rules(model, self.rule(), now=later, tsa=tsa) == []

    def test_a_timestamp_after_the_end_does_not_help(self, model: Path, tsa: Stamper) -> None:
        self.put(model, _leaf(start=NOW - DAY * 9, end=NOW - DAY), tsa)
        assert rules(model, self.rule(), tsa=tsa) == ["certificate.expired"]

    def test_a_timestamp_by_a_stranger_is_refused(self, model: Path, tsa: Stamper, tmp_path: Path) -> None:
        self.put(model, _leaf(), tsa)
        other = replace(tsa, authority=stamper(tmp_path / "other").authority)
        assert rules(model, self.rule(), now=NOW + DAY * 30, tsa=other) == [
            "timestamp.certificate-untrusted",
            "certificate.expired",
        ]
