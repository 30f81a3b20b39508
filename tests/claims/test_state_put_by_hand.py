"""Whoever can write files and databases puts a key, a copy, a policy or a whole state folder where the real one was."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from tests.small_project import ANNA, RELEASE, TODAY, Small, build, rows, write_model

from assay.errors import LogError, PolicyError, ReleaseRefusedError, VerificationError
from assay.keys.pem import generate
from assay.project import integrity, releasing
from assay.project.health import project_health
from assay.release.store import live_at
from assay.signing.store import read, write

LATER = TODAY + timedelta(hours=1)


@pytest.fixture
def live(tmp_path: Path) -> Small:
    small = build(tmp_path)
    small.go_live()
    return small


def test_a_key_slipped_into_the_trust_store_is_refused(live: Small) -> None:
    place = live.project.places.trust
    stranger = generate(live.folder / "stranger.pem", passphrase=None)
    write(place, read(place).trust(RELEASE, stranger.public_pem()))
    with pytest.raises(PolicyError, match="changed it by hand"):
        integrity.verify_model(live.reopened(), "spam", now=LATER)


def test_a_revoked_key_cannot_be_restored_by_putting_the_old_file_back(live: Small) -> None:
    from assay.project.people import revoke_key

    place = live.project.places.trust
    old = place.read_bytes()
    revoke_key(live.project, live.keys[RELEASE].key_id, at=None, now=LATER)
    place.write_bytes(old)
    with pytest.raises(PolicyError, match="changed it by hand"):
        integrity.verify_model(live.reopened(), "spam", now=LATER)


def test_a_copy_of_another_version_is_never_put_in_place(live: Small) -> None:
    first = live_at(live.project.state, "spam", TODAY)
    assert first is not None
    assert first.known_good is not None
    write_model(live.model, rows(10, start=TODAY, seed=9), seed=3)
    live.sign(now=LATER)  # a second version, signed as lawfully, whose copy takes the first one's place
    other = next(one for one in Path(first.known_good).parent.iterdir() if one != Path(first.known_good))
    shutil.rmtree(first.known_good)
    shutil.copytree(other, first.known_good)
    before = sorted(path.read_bytes() for path in live.model.iterdir())
    with pytest.raises(VerificationError, match="wanted " + first.root):
        releasing.rollback(live.reopened(), "spam", reason="try", now=LATER)
    assert sorted(path.read_bytes() for path in live.model.iterdir()) == before


def test_wiping_the_database_does_not_make_a_version_forgotten(live: Small) -> None:
    old = live.folder / "old"
    shutil.copytree(live.model, old)
    write_model(live.model, rows(10, start=TODAY, seed=9), seed=3)
    live.sign(now=LATER)
    shutil.rmtree(live.model)
    shutil.copytree(old, live.model)
    live.project.state.dispose()
    with sqlite3.connect(live.project.places.folder / "state.db") as database:
        database.execute("DELETE FROM versions")
    with pytest.raises(VerificationError, match="older than version 2"):
        integrity.verify_model(live.reopened(), "spam", now=LATER)


def test_a_policy_that_was_edited_is_told_to_security(live: Small) -> None:
    path = live.folder / "assay.toml"
    path.write_text(path.read_text().replace("approvals = 1", "approvals = 0"))
    project = live.reopened()
    told = len(live.alerts("security"))
    releasing.decide(project, "spam", requester=None, now=LATER)
    project.tell(LATER)
    (entry,) = project.log.entries(kinds=["policy.changed"])
    assert entry.entry.data["policy_digest"] == releasing.policy_of(project, "spam").digest
    assert "the release policy was changed" in json.dumps(live.alerts("security")[told:])


def test_approvals_given_under_the_old_policy_do_not_count_under_an_edited_one(live: Small) -> None:
    write_model(live.model, rows(10, start=TODAY, seed=9), seed=3)
    live.sign(now=LATER)
    project = live.reopened()
    releasing.request(project, "spam", requester=None, now=LATER)
    releasing.review(
        project,
        "spam",
        live.keys[ANNA],
        decision="approve",
        reason="",
        expires_after=timedelta(days=1),
        now=LATER,
    )
    path = live.folder / "assay.toml"
    path.write_text(path.read_text().replace('require = ["validation", "lineage"]', "require = []"))
    with pytest.raises(ReleaseRefusedError, match="0 of 1 approvals"):
        releasing.deploy(live.reopened(), "spam", now=LATER)


def test_a_new_state_folder_does_not_begin_a_second_history(live: Small) -> None:
    live.project.state.dispose()
    live.project.log.close()
    shutil.rmtree(live.project.places.folder)
    with pytest.raises(LogError, match="holds checkpoints of a log of this project"):
        live.reopened().log.size()


def test_bytes_that_are_not_the_live_ones_are_not_green(live: Small) -> None:
    write_model(live.model, rows(10, start=TODAY, seed=9), seed=3)
    live.sign(now=LATER)
    integrity.verify_model(live.project, "spam", now=LATER).close()
    (model,) = project_health(live.project, now=LATER).models
    assert model.checks["bytes"].light(LATER) == "uncertain"
    assert "not those of version 1" in model.checks["bytes"].detail


def test_a_live_model_cannot_vanish_from_sight(live: Small) -> None:
    path = live.folder / "assay.toml"
    text = path.read_text()
    path.write_text(text[: text.index("[models.spam]")] + text[text.index("[alerts]") :])
    assert project_health(live.reopened(), now=LATER).forgotten == ("spam",)


def test_a_model_whose_folder_is_gone_comes_back_as_a_folder(live: Small) -> None:
    shutil.rmtree(live.model)
    with pytest.raises(VerificationError, match="nothing is at"):
        integrity.verify_model(live.project, "spam", now=LATER)
    releasing.rollback(live.project, "spam", reason="somebody deleted it", now=LATER)
    assert sorted(path.name for path in live.model.iterdir()) == ["labels.txt", "model.sig", "model.skops"]
    integrity.verify_model(live.project, "spam", now=LATER).close()


def test_a_version_put_back_over_a_newer_one_that_never_went_live_verifies(live: Small) -> None:
    before = live_at(live.project.state, "spam", TODAY)
    write_model(live.model, rows(10, start=TODAY, seed=9), seed=3)
    live.sign(now=LATER)
    integrity.verify_model(live.project, "spam", now=LATER).close()
    assert releasing.rollback(live.project, "spam", reason="not that one", now=LATER) == before
    assert before is not None
    with integrity.verify_model(live.project, "spam", now=LATER) as back:
        assert back.root == before.root
    write_model(live.model, rows(10, start=TODAY, seed=11), seed=4)
    live.sign(now=LATER)
    with integrity.verify_model(live.project, "spam", now=LATER) as third:
        assert third.about is not None
        assert third.about.version == 3  # the second number was given once already
