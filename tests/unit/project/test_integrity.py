"""Signing and verifying a model by its name, and the copies that are known to be good."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest
from tests.small_project import ANNA, RELEASE, TODAY, Small, rows, write_model

from assay.errors import ConfigError, KeyFileError, LogError, VerificationError
from assay.keys.pem import generate
from assay.project import integrity
from assay.project.checks import last
from assay.project.people import revoke_key, trust_key
from assay.signing.moment import Moment
from assay.signing.sign import sign as sign_path
from assay.storage.database import open_audit


def rules(caught: pytest.ExceptionInfo[VerificationError]) -> set[str]:
    return {finding.rule for finding in caught.value.findings}


def refusals(small: Small) -> int:
    return len(small.project.log.entries(kinds=["verify.refused"]))


def test_what_was_signed_verifies_by_name(small: Small) -> None:
    signed, said = integrity.sign_model(small.project, "spam", small.keys[RELEASE], now=TODAY)
    verified = integrity.verify_model(small.project, "spam", now=TODAY)
    assert (verified.root, verified.signer) == (signed.manifest.root, RELEASE)
    assert said["version"] == 1
    assert verified.about is not None
    assert verified.about.name == "spam"
    assert set(verified.about.statements) == {"lineage"}
    kinds = [one.entry.kind for one in small.project.log.entries(subject="spam")]
    assert kinds == ["data.fingerprinted", "model.signed"]


def test_a_second_signature_is_the_next_version_and_names_the_first(small: Small) -> None:
    small.sign()
    first = integrity.verify_model(small.project, "spam", now=TODAY)
    write_model(small.model, rows(10, start=TODAY, seed=9), seed=1)
    small.sign()
    second = integrity.verify_model(small.project, "spam", now=TODAY)
    assert second.about is not None
    assert (second.about.version, second.about.previous_root) == (2, first.root)


def test_a_refusal_names_every_reason_is_logged_once_and_opens_one_incident(small: Small) -> None:
    small.sign()
    (small.model / "labels.txt").write_text("spam\nham\n")
    (small.model / "extra.py").touch()
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY)
    assert {finding.subject for finding in caught.value.findings} >= {"labels.txt", "extra.py"}
    (entry,) = small.project.log.entries(kinds=["verify.refused"])
    assert entry.entry.data["reasons"] == len(caught.value.findings)
    assert len(small.project.tell(TODAY)) == 1
    with pytest.raises(VerificationError):
        integrity.verify_model(small.project, "spam", now=TODAY)
    small.project.tell(TODAY)
    assert refusals(small) == 2
    (incident,) = small.project.desk.list()
    assert (incident.kind, incident.model, incident.severity.value) == ("integrity", "spam", "critical")
    assert len(small.alerts("security")) == 1


def test_a_refusal_stays_a_refusal_when_the_log_cannot_be_written(small: Small) -> None:
    small.sign()
    (small.model / "labels.txt").write_text("spam\nham\n")
    engine = open_audit(small.project.log_database)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "create trigger full before insert on entries begin select raise(abort, 'no room'); end"
        )
    engine.dispose()
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY)
    assert {"artifact.changed", "audit.not-logged"} <= rules(caught)
    dated = last(small.project.state, "spam", {"bytes": timedelta(days=2)})["bytes"]
    assert (dated.outcome, dated.position) == ("fail", None)


def unreadable(small: Small) -> None:
    """Damage the entries by which the log vouches for the keys: nobody knows any more whose signature counts."""
    engine = open_audit(small.project.log_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("update entries set body = cast('{' as blob) where kind = 'key.trusted'")
    engine.dispose()


def test_changed_bytes_are_told_also_where_nobody_knows_whose_signature_counts(small: Small) -> None:
    small.sign()
    unreadable(small)
    for change, error, outcome in ((False, LogError, "unknown"), (True, VerificationError, "fail")):
        if change:
            (small.model / "labels.txt").write_text("spam\nham\n")
        with pytest.raises(error) as caught:
            integrity.verify_model(small.reopened(), "spam", now=TODAY)
        assert last(small.project.state, "spam", {"bytes": timedelta(days=2)})["bytes"].outcome == outcome
    assert {"artifact.changed", "trust.untold"} <= {finding.rule for finding in caught.value.findings}


def test_another_model_of_the_same_signer_is_refused(small: Small) -> None:
    small.sign()
    other = small.folder / "models" / "other"
    write_model(other, rows(10, start=TODAY, seed=3), seed=2)
    sign_path(other, small.keys[RELEASE], now=TODAY)
    shutil.rmtree(small.model)
    other.rename(small.model)
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY)
    assert "signature.other-model" in rules(caught)


def test_a_trusted_key_that_the_policy_does_not_name_does_not_count(small: Small) -> None:
    sign_path(small.model, small.keys[ANNA], now=TODAY)
    with pytest.raises(VerificationError, match=RELEASE):
        integrity.verify_model(small.project, "spam", now=TODAY)


def test_a_key_slipped_beside_the_trust_store_does_not_count(small: Small) -> None:
    small.sign()
    revoke_key(small.project, small.keys[RELEASE].key_id[:12], at=None, now=TODAY)
    with pytest.raises(VerificationError, match="revoked"):
        integrity.verify_model(small.project, "spam", now=TODAY + timedelta(seconds=1))


def test_an_older_signed_version_put_back_is_refused(small: Small) -> None:
    small.sign()
    aside = small.folder / "aside"
    shutil.copytree(small.model, aside)
    write_model(small.model, rows(10, start=TODAY, seed=9), seed=1)
    small.sign()
    shutil.rmtree(small.model)
    aside.rename(small.model)
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY)
    assert rules(caught) == {"signature.rollback"}


def test_an_expired_signature_is_refused(small: Small) -> None:
    integrity.sign_model(small.project, "spam", small.keys[RELEASE], now=TODAY, expires=TODAY + timedelta(days=1))
    integrity.verify_model(small.project, "spam", now=TODAY)
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY + timedelta(days=1))
    assert rules(caught) == {"signature.expired"}


def test_the_known_good_copy_is_verified_and_a_tampered_one_is_never_opened(small: Small) -> None:
    signed, _ = integrity.sign_model(small.project, "spam", small.keys[RELEASE], now=TODAY)
    folder = integrity.copy_folder(small.project, "spam", 1, signed.manifest.root)
    with integrity.open_copy(small.project, "spam", folder, root=signed.manifest.root, now=TODAY) as copy:
        assert copy.root == signed.manifest.root
    (folder / "files" / "labels.txt").write_text("spam\nham\n")
    with pytest.raises(VerificationError, match=r"labels\.txt"):
        integrity.open_copy(small.project, "spam", folder, root=signed.manifest.root, now=TODAY)


def test_a_single_file_is_a_model_too(small: Small) -> None:
    text = (small.folder / "assay.toml").read_text().replace('path = "models/spam"', 'path = "models/spam.skops"')
    (small.folder / "assay.toml").write_text(text)
    shutil.copyfile(small.model / "model.skops", small.folder / "models" / "spam.skops")
    project = small.reopened()
    signed, _ = integrity.sign_model(project, "spam", small.keys[RELEASE], now=TODAY)
    assert signed.bundle_path.name == "spam.skops.sig"
    assert integrity.verify_model(project, "spam", now=TODAY).root == signed.manifest.root
    folder = integrity.copy_folder(project, "spam", 1, signed.manifest.root)
    integrity.open_copy(project, "spam", folder, root=signed.manifest.root, now=TODAY).close()


def test_without_a_policy_anybody_in_the_trust_store_may_sign_and_nobody_else(small: Small) -> None:
    text = (small.folder / "assay.toml").read_text()
    begin, end = text.index("[models.spam.policy]"), text.index("[alerts]")
    (small.folder / "assay.toml").write_text(text[:begin] + text[end:])
    project = small.reopened()
    integrity.sign_model(project, "spam", small.keys[ANNA], now=TODAY)
    assert integrity.verify_model(project, "spam", now=TODAY).signer == ANNA
    (project.places.trust).unlink()
    with pytest.raises(ConfigError, match="nobody is trusted to sign"):
        integrity.verify_model(project, "spam", now=TODAY)


def test_byte_facts_tell_refused_from_signed_and_from_gone(small: Small) -> None:
    small.go_live()
    facts = integrity.byte_facts(small.project, "spam", served_roots=(), now=TODAY)
    assert facts.live_signed
    assert facts.live_root == facts.recorded_root
    (small.model / "labels.txt").write_text("spam\nham\n")
    facts = integrity.byte_facts(small.project, "spam", served_roots=("x",), now=TODAY)
    assert (facts.refused, facts.live_signed, facts.served_roots) == (True, False, ("x",))
    assert facts.live_root != facts.recorded_root
    shutil.rmtree(small.model)
    facts = integrity.byte_facts(small.project, "spam", served_roots=(), now=TODAY)
    assert (facts.live_root, facts.live_signed) == (None, None)


def test_trust_and_its_end_are_logged(small: Small) -> None:
    kinds = [one.entry.kind for one in small.project.log.entries(kinds=["key.trusted", "key.revoked"])]
    assert kinds == ["key.trusted"] * 3
    key = revoke_key(small.project, small.keys[ANNA].key_id, at=None, now=TODAY)
    assert key.identity == ANNA
    (entry,) = small.project.log.entries(kinds=["key.revoked"])
    assert entry.entry.data["trust_digest"] == small.project.trust.digest


def test_a_key_that_nobody_has_or_a_prefix_of_two_cannot_be_revoked(small: Small) -> None:
    for prefix, count in (("zz", 0), ("", 3)):
        with pytest.raises(KeyFileError, match=f"{count} trusted keys begin with"):
            revoke_key(small.project, prefix, at=None, now=TODAY)


def test_a_key_is_trusted_until_the_moment_said(small: Small) -> None:
    path = small.folder / "keys" / "visitor.pem"
    signer = generate(path, passphrase=None)
    end = TODAY + timedelta(days=2)
    trust_key(small.project, "visitor@acme.example", path.with_suffix(".pub"), until=end, now=TODAY)
    assert (
        small.project.trust.identify(signer.key_id, Moment(TODAY + timedelta(days=1))).identity
        == "visitor@acme.example"
    )
    with pytest.raises(VerificationError, match="until"):
        small.project.trust.identify(signer.key_id, Moment(end + timedelta(days=1)))
