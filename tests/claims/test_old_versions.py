"""An older, validly signed version is put back; the state is wiped or frozen; a signature is past its end: refused."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.small_project import ANNA, CONFIG, RELEASE, TODAY, Small, build, rows, write_model
from tests.unit.cli.prompt import at, typed

from assay.errors import ConfigError, VerificationError
from assay.keys.pem import PemSigner, generate
from assay.project import integrity, releasing
from assay.project.people import trust_key
from assay.project.project import Project
from assay.project.versions import statement_place
from assay.release.deployment import Deployment
from assay.release.store import deployments, statements
from assay.signing.about import About
from assay.signing.rollback import make, sign_rollback
from assay.signing.sign import sign
from assay.signing.statement import Envelope
from assay.storage.clock import utc_text

HOUR = timedelta(hours=1)
LATER = TODAY + HOUR


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """Two versions, both live one after the other."""
    small = build(tmp_path / "maker")
    small.go_live()
    shutil.copytree(small.model, small.folder / "first")
    write_model(small.model, rows(10, start=TODAY, seed=9), seed=3)
    small.go_live(now=LATER)
    shutil.copytree(small.model, small.folder / "second")
    return small


def put(small: Small | Host, source: Path) -> None:
    shutil.rmtree(small.model, ignore_errors=True)
    shutil.copytree(source, small.model)


def refusals(project: Project, *, now: datetime = LATER + HOUR) -> list[str]:
    try:
        integrity.verify_model(project, "spam", now=now).close()
    except VerificationError as err:
        return [finding.rule for finding in err.findings]
    return []


@dataclass(frozen=True)
class Host:
    """Another machine: its own state and log, the same people's public keys, the model shipped to it."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "models" / "spam"

    @property
    def statement(self) -> Path:
        return statement_place(self.model)

    def project(self) -> Project:
        return Project.open(self.folder / "assay.toml", now=TODAY, actor="ops")

    def versions(self) -> list[int]:
        kinds = ["model.seen", "model.rollback-accepted"]
        found = [one.entry.data["version"] for one in self.project().log.entries(kinds=kinds)]
        return [one for one in found if isinstance(one, int)]


@pytest.fixture
def host(small: Small, tmp_path: Path) -> Host:
    host = Host(tmp_path / "host")
    (host.folder / "alerts").mkdir(parents=True)
    (host.folder / "assay.toml").write_text(CONFIG.replace("ALERTS", str(host.folder / "alerts")))
    for name in ("release", "anna", "ben"):
        public = small.folder / "keys" / f"{name}.pub"
        trust_key(host.project(), f"{name}@acme.example", public, until=None, now=TODAY)
    put(host, small.folder / "second")
    assert refusals(host.project()) == []
    return host


def step(small: Small, signer: PemSigner, *, left: int = 2, now: datetime = LATER, name: str = "spam") -> Envelope:
    """A rollback statement from a version to the first."""
    roots = {one.version: one.root for one in history(small)}
    return sign_rollback(make(name, (left, roots.get(left, "ab" * 32)), (1, roots[1]), reason="bad", now=now), signer)


def history(small: Small) -> list[Deployment]:
    return deployments(small.project.state, "spam")


class TestHere:
    """On the host that knows the newer version."""

    def test_an_older_version_put_back_is_refused(self, small: Small) -> None:
        put(small, small.folder / "first")
        assert refusals(small.project) == ["signature.rollback"]

    @pytest.mark.parametrize("how", ["emptied", "deleted", "frozen"])
    def test_a_wiped_or_frozen_state_forgets_nothing_the_log_knows(self, small: Small, how: str) -> None:
        small.project.state.dispose()
        place = small.project.places.folder / "state.db"
        if how == "emptied":
            with sqlite3.connect(place) as database:
                database.execute("DELETE FROM versions")
        elif how == "frozen":
            with sqlite3.connect(place) as database:
                database.execute("UPDATE versions SET version = 1")
        else:
            for file in place.parent.glob("state.db*"):
                file.unlink()
        put(small, small.folder / "first")
        assert refusals(small.reopened()) == ["signature.rollback"]

    def test_the_same_version_with_other_bytes_is_refused(self, small: Small, tmp_path: Path) -> None:
        write_model(small.model, rows(10, start=TODAY, seed=11), seed=5)
        about = About(name="spam", version=2, created=utc_text(LATER))
        sign(small.model, small.keys[RELEASE], about=about, now=LATER)
        assert refusals(small.project) == ["signature.version-reused"]
        assert tmp_path.exists()

    def test_a_signature_past_its_end_is_refused(self, small: Small) -> None:
        integrity.sign_model(small.project, "spam", small.keys[RELEASE], expires=LATER + HOUR, now=LATER)
        assert refusals(small.project, now=LATER + HOUR - timedelta(seconds=1)) == []
        assert refusals(small.project, now=LATER + HOUR) == ["signature.expired"]

    def test_a_recorded_rollback_counts_in_its_own_project(self, small: Small) -> None:
        releasing.rollback(small.project, "spam", reason="bad", now=LATER + HOUR)
        assert refusals(small.project) == []
        assert not statement_place(small.model).exists()


class TestElsewhere:
    """On another host, which verified the newer version and hears of the rollback by a signed statement."""

    def test_without_a_statement_the_older_version_is_refused(self, small: Small, host: Host) -> None:
        put(host, small.folder / "first")
        assert refusals(host.project()) == ["signature.rollback"]

    def test_what_was_seen_is_in_the_log_so_wiping_the_state_forgets_nothing(self, small: Small, host: Host) -> None:
        assert host.versions() == [2]
        for file in host.project().places.folder.glob("state.db*"):
            file.unlink()
        put(host, small.folder / "first")
        assert refusals(host.project()) == ["signature.rollback"]

    @pytest.mark.parametrize("who", [RELEASE, ANNA], ids=["signer", "approver"])
    def test_a_signed_rollback_is_accepted_for_exactly_that_version(self, small: Small, host: Host, who: str) -> None:
        releasing.rollback(small.project, "spam", reason="bad", signer=small.keys[who], now=LATER + HOUR)
        put(host, small.model)
        shutil.copyfile(statement_place(small.model), host.statement)
        with integrity.verify_model(host.project(), "spam", now=LATER + HOUR) as verified:
            assert [one.rule for one in verified.findings] == ["signature.rolled-back"]
        host.statement.unlink()  # it was taken once and is on record
        assert refusals(host.project()) == []
        (entry,) = host.project().log.entries(kinds=["model.rollback-accepted"])
        assert (entry.entry.data["identity"], entry.entry.data["reason"]) == (who, "bad")
        (kept,) = statements(small.project.state, "spam", kind="rollback")
        assert kept.digest

    def test_it_counts_once_and_not_again_after_the_newer_version_came_back(self, small: Small, host: Host) -> None:
        releasing.rollback(small.project, "spam", reason="bad", signer=small.keys[ANNA], now=LATER + HOUR)
        shutil.copyfile(statement_place(small.model), host.statement)
        put(host, small.folder / "first")
        assert refusals(host.project()) == []
        put(host, small.folder / "second")
        assert refusals(host.project()) == []
        assert host.versions() == [2, 1, 2]
        put(host, small.folder / "first")
        assert refusals(host.project()) == ["signature.rollback", "rollback.refused"]

    @pytest.mark.parametrize(
        "flaw", ["stranger", "newer-seen", "other-root", "other-model", "to-come", "junk", "huge", "edited"]
    )
    def test_a_statement_that_does_not_fit_is_refused(self, small: Small, host: Host, flaw: str) -> None:
        key, anna = generate(small.folder / "eve.pem", passphrase=None), small.keys[ANNA]
        trust_key(host.project(), "eve@acme.example", small.folder / "eve.pub", until=None, now=TODAY)
        made: dict[str, Callable[[], str]] = {
            "stranger": lambda: step(small, key).to_json(),
            "newer-seen": lambda: step(small, anna).to_json(),
            "other-root": lambda: sign_rollback(
                make("spam", (2, "cd" * 32), (1, history(small)[0].root), reason="bad", now=LATER), anna
            ).to_json(),
            "other-model": lambda: step(small, anna, name="ham").to_json(),
            "to-come": lambda: step(small, anna, now=LATER + HOUR * 3).to_json(),
            "junk": lambda: "junk",
            "huge": lambda: "[" * 100_000,
            "edited": lambda: _edited(step(small, anna, left=3)),
        }
        if flaw == "newer-seen":
            write_model(small.model, rows(10, start=TODAY, seed=13), seed=7)
            small.sign(now=LATER)
            put(host, small.model)
            assert refusals(host.project()) == []
        host.statement.write_text(made[flaw]())
        put(host, small.folder / "first")
        found = refusals(host.project())
        assert found[0] == "signature.rollback"
        assert found[1:] == [{"edited": "signature.bad"}.get(flaw, "rollback.refused")]

    def test_a_statement_does_not_make_a_bad_signature_good(self, small: Small, host: Host) -> None:
        host.statement.write_text(step(small, small.keys[ANNA]).to_json())
        put(host, small.folder / "first")
        (host.model / "labels.txt").write_text("ham\neggs\n")
        assert "artifact.changed" in refusals(host.project())
        assert host.versions() == [2]  # and what is refused is not taken for seen


def _edited(envelope: Envelope) -> str:
    body = json.loads(envelope.to_json())
    other = Envelope.parse(envelope.to_json()).payload.replace(b'"version":3', b'"version":2')
    body["payload"] = base64.b64encode(other).decode()
    return json.dumps(body)


def test_who_may_not_roll_back_is_refused_before_anything_is_exchanged(small: Small) -> None:
    eve = generate(small.folder / "eve.pem", passphrase=None)
    trust_key(small.project, "eve@acme.example", small.folder / "eve.pub", until=None, now=TODAY)
    before = (small.model / "model.sig").read_bytes()
    with pytest.raises(VerificationError, match="does not roll back spam"):
        releasing.rollback(small.project, "spam", reason="bad", signer=eve, now=LATER + HOUR)
    assert (small.model / "model.sig").read_bytes() == before


def test_a_step_that_is_signed_has_a_reason_and_leads_down(small: Small) -> None:
    project, anna = small.project, small.keys[ANNA]
    with pytest.raises(ConfigError, match="say why"):
        releasing.rollback(project, "spam", reason=" ", signer=anna, now=LATER + HOUR)
    put(small, small.folder / "first")  # the live version's own copy comes back: nothing newer is known
    releasing.rollback(project, "spam", reason="edited", signer=anna, now=LATER + HOUR)
    assert not statement_place(small.model).exists()
    with at(small.folder, now=LATER + HOUR * 2):
        put(small, small.folder / "first")
        again = typed("rollback", "spam", "--reason", "edited", "--key", "keys/anna.pem")
        assert "nothing to sign for" in again.out


def test_the_command_says_where_the_statement_is_and_what_its_absence_means(small: Small) -> None:
    with at(small.folder, now=LATER + HOUR):
        signed = typed("rollback", "spam", "--reason", "bad", "--key", "keys/anna.pem")
        assert signed.code == 0, signed.err
        assert str(statement_place(small.model)) in signed.out
        assert typed("verify", "spam").code == 0
    put(small, small.folder / "second")
    with at(small.folder, now=LATER + HOUR * 2):
        assert "not signed" in typed("rollback", "spam", "--reason", "again").out
