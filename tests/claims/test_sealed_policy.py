"""With a root key set, an assay.toml edited or a key slipped into the trust store is refused: the root did not sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.authority import Authority, pem
from tests.small_project import ANNA, RELEASE, TODAY, Small, build
from tests.unit.cli.prompt import at, typed

from assay.errors import LogError, PolicyError, PolicyTamperedError
from assay.keys.pem import PemSigner, PemVerifier, generate, load_public
from assay.project import integrity, releasing
from assay.project.people import revoke_key, rotate_key, trust_key
from assay.project.sealing import root_key, seal_project, set_root
from assay.signing.store import read, write

LATER = TODAY + timedelta(hours=1)


def make_key(folder: Path, name: str) -> PemSigner:
    return generate(folder / f"{name}.pem", passphrase=None)


def public(key: PemSigner) -> PemVerifier:
    return load_public(key.public_pem())


@pytest.fixture
def small(tmp_path: Path) -> Small:
    small = build(tmp_path)
    small.sign()
    return small


@pytest.fixture
def root(small: Small) -> PemSigner:
    """The project's root key, by which all is sealed."""
    key = make_key(small.folder, "root")
    set_root(small.project, public(key), former=None, now=TODAY)
    seal_project(small.project, key, now=TODAY)
    return key


def edit(small: Small, old: str, new: str) -> None:
    path = small.folder / "assay.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def verbs(small: Small) -> list[Callable[[], object]]:
    project = small.reopened()
    return [
        lambda: integrity.verify_model(project, "spam", now=LATER),
        lambda: releasing.decide(project, "spam", requester=None, now=LATER),
        lambda: releasing.deploy(project, "spam", now=LATER),
        lambda: releasing.rollback(project, "spam", reason="try", now=LATER),
    ]


def refused(small: Small, words: str) -> None:
    for verb in verbs(small)[:3]:
        with pytest.raises(PolicyTamperedError, match=words) as caught:
            verb()
        assert caught.value.exit_code == 1


def test_what_the_root_signed_counts(small: Small, root: PemSigner) -> None:
    assert root_key(small.reopened()) is not None
    with integrity.verify_model(small.reopened(), "spam", now=LATER) as verified:
        assert verified.signer == RELEASE
    assert root.key_id not in {key.key_id for key in small.project.trust.keys}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("approvals = 1", "approvals = 0"),
        ('signed_by = ["release@acme.example"]', 'signed_by = ["release@acme.example", "eve@acme.example"]'),
        ('require = ["validation", "lineage"]', "require = []"),
        ('path = "models/spam"', 'path = "models/other"'),
        ('checkpoints = ["outside"]', 'checkpoints = ["outside", "elsewhere"]'),
        ('name = "small"', 'name = "small"\ncrls = ["x.crl"]'),
    ],
    ids=["approvals", "signers", "evidence", "path", "checkpoints", "crls"],
)
def test_an_edited_policy_is_refused(small: Small, root: PemSigner, old: str, new: str) -> None:
    assert root.key_id
    edit(small, old, new)
    refused(small, "did not sign the policy")


def test_another_store_is_refused(small: Small, root: PemSigner) -> None:
    assert root.key_id
    edit(small, 'name = "small"', 'name = "small"\nstore = "elsewhere"')
    with pytest.raises(LogError, match="holds checkpoints of a log of this project"):
        integrity.verify_model(small.reopened(), "spam", now=LATER)


def test_an_edit_that_changes_nothing_of_the_policy_is_none(small: Small, root: PemSigner) -> None:
    assert root.key_id
    edit(small, "[log]", "# a remark\n[log]")
    edit(small, 'suite = "checks/spam.py:suite"', 'suite = "checks/spam.py:strict"')
    integrity.verify_model(small.reopened(), "spam", now=LATER).close()


def test_a_refused_policy_alerts_security(small: Small, root: PemSigner) -> None:
    assert root.key_id
    edit(small, "approvals = 1", "approvals = 0")
    project = small.reopened()
    with pytest.raises(PolicyTamperedError):
        integrity.verify_model(project, "spam", now=LATER)
    project.tell(LATER)
    assert "did not sign the policy" in "".join(small.alerts("security"))


def test_a_key_trusted_by_the_command_counts_only_once_the_root_signed(small: Small, root: PemSigner) -> None:
    make_key(small.folder, "eve")
    trust_key(small.project, "eve@acme.example", small.folder / "eve.pub", until=None, now=LATER)
    refused(small, "did not sign the trust store")
    seal_project(small.reopened(), root, now=LATER)
    integrity.verify_model(small.reopened(), "spam", now=LATER).close()


def test_a_key_slipped_in_by_hand_is_refused_even_when_sealed_again(small: Small, root: PemSigner) -> None:
    stranger = make_key(small.folder, "stranger")
    place = small.project.places.trust
    write(place, read(place).trust(RELEASE, stranger.public_pem()))
    refused(small, "changed it by hand")
    with pytest.raises(PolicyTamperedError, match="changed it by hand"):
        seal_project(small.reopened(), root, now=LATER)


def test_another_keys_seal_is_none(small: Small, root: PemSigner) -> None:
    other = small.keys[ANNA]
    with pytest.raises(PolicyError, match="is not the root key"):
        seal_project(small.reopened(), other, now=LATER)
    edit(small, "approvals = 1", "approvals = 0")
    from assay.project.sealing import SEAL, policy_digest
    from assay.signing.statement import Statement, Subject, seal

    project = small.reopened()
    digests = (("trust-store", project.stored_trust.digest), ("policy", policy_digest(project.config)))
    statement = Statement(tuple(Subject(name, {"sha256": one}) for name, one in digests), SEAL, {})
    project.places.seal.write_text(seal(statement, other).to_json())
    refused(small, "not by the root key")
    project.places.seal.write_text(seal(Statement(statement.subjects, "x:y", {}), root).to_json())
    refused(small, "not by the root key")
    two = seal(statement, root)
    two = replace(two, signatures=two.signatures * 2)
    project.places.seal.write_text(two.to_json())
    refused(small, "not one signature")
    # Even the root's own statement counts only when the log tells of it.
    project.places.seal.write_text(seal(statement, root).to_json())
    refused(small, "not the newest")


@pytest.mark.parametrize("junk", [None, b"", b"junk", b'{"payload": "", "payloadType": "x", "signatures": []}'])
def test_a_seal_that_is_gone_or_junk_is_refused(small: Small, root: PemSigner, junk: bytes | None) -> None:
    assert root.key_id
    place = small.project.places.seal
    place.unlink()
    if junk is not None:
        place.write_bytes(junk)
    refused(small, "the seal")


def test_an_older_policy_put_back_with_its_own_seal_is_refused(small: Small, root: PemSigner) -> None:
    place, toml = small.project.places.seal, small.folder / "assay.toml"
    old_seal, old_toml = place.read_bytes(), toml.read_bytes()
    edit(small, "approvals = 1", "approvals = 2")
    seal_project(small.reopened(), root, now=LATER)
    integrity.verify_model(small.reopened(), "spam", now=LATER).close()
    place.write_bytes(old_seal)
    toml.write_bytes(old_toml)
    refused(small, "not the newest")


def test_a_timestamp_authority_exchanged_or_gone_is_refused(small: Small, root: PemSigner) -> None:
    authority = pem(small.folder / "tsa.pem", Authority.root().certificate)
    edit(small, 'name = "small"', 'name = "small"\ntimestamp_authorities = ["tsa.pem"]')
    seal_project(small.reopened(), root, now=LATER)
    integrity.verify_model(small.reopened(), "spam", now=LATER).close()
    pem(authority, Authority.root().certificate)
    refused(small, "did not sign the policy")
    authority.unlink()
    refused(small, "cannot be read")


def test_only_the_root_hands_over_to_another(small: Small, root: PemSigner) -> None:
    project, next_root = small.project, make_key(small.folder, "next")
    for former in (None, next_root, small.keys[ANNA]):
        with pytest.raises(PolicyError, match="must sign for its successor"):
            set_root(project, public(next_root), former=former, now=LATER)
    set_root(project, public(next_root), former=root, now=LATER)
    refused(small, "not by the root key")
    seal_project(project, next_root, now=LATER)
    integrity.verify_model(small.reopened(), "spam", now=LATER).close()
    set_root(project, None, former=next_root, now=LATER)
    project.places.seal.unlink()
    integrity.verify_model(small.reopened(), "spam", now=LATER).close()


def test_a_root_written_into_the_log_without_the_former_ones_signature_is_refused(
    small: Small, root: PemSigner
) -> None:
    project, eve = small.project, make_key(small.folder, "eve")
    set_root(project, public(eve), former=root, now=LATER)
    set_root(project, public(root), former=eve, now=LATER)
    (_, handed, _) = project.log.entries(kinds=["trust.root-set"])
    # A hand-over that the root did sign once, said again by somebody who can write the log.
    project.log.append("trust.root-set", "root", handed.entry.data, actor="eve", now=LATER)
    refused(small, "did not sign for")


def test_revoking_and_rotating_work_while_the_root_is_away(small: Small, root: PemSigner) -> None:
    make_key(small.folder, "next")
    rotate_key(small.project, RELEASE, small.folder / "next.pub", overlap=timedelta(days=3), now=LATER)
    revoke_key(small.reopened(), small.keys[ANNA].key_id, at=None, now=LATER)
    refused(small, "did not sign the trust store")
    seal_project(small.reopened(), root, now=LATER)
    integrity.verify_model(small.reopened(), "spam", now=LATER).close()


def test_the_commands_say_what_to_do(small: Small) -> None:
    with at(small.folder, now=TODAY):
        assert "no root key" in typed("keys", "root").out
        typed("keys", "seal", "--key", "keys/anna.pem").refused(2, "no root key is set")
        typed("keys", "root", "--remove").refused(2, "no root key is set")
        assert typed("keys", "new", "root.pem", "--plain").code == 0
        assert "assay keys seal" in typed("keys", "root", "root.pub").out
        typed("verify", "spam").refused(1, "assay keys seal --key ROOT.pem")
        typed("gate", "spam").refused(1, "assay keys seal --key ROOT.pem")
        typed("deploy", "spam").refused(1, "assay keys seal --key ROOT.pem")
        typed("keys", "seal", "--key", "keys/anna.pem").refused(2, "is not the root key")
        sealed = typed("keys", "seal", "--key", "root.pem", "--json")
        assert set(sealed.data) == {"trust_digest", "policy_digest", "key_id"}
        typed("keys", "root", "keys/anna.pub").refused(2, "must sign for its successor")
        typed("keys", "root", "root.pub", "--remove").refused(2, "not both")
        assert typed("keys", "root", "--json").data == {"root": sealed.data["key_id"]}
        assert typed("keys", "root", "--remove", "--key", "root.pem").code == 0
