"""Whose review of a baseline counts, and for which baseline: the log is read as an attacker would like it read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.small_project import ANNA, CONFIG, RELEASE, TODAY, Small, build

from assay.errors import BaselineError
from assay.keys.base import Signer
from assay.keys.pem import generate
from assay.monitoring.baseline import Baseline
from assay.monitoring.store import save_baseline
from assay.project.baselines import learned_baseline
from assay.project.people import trust_key
from assay.project.rebaselining import LEARNED, REVIEW, REVIEWED, check_baseline
from assay.signing.statement import APPROVAL, Statement, Subject, seal
from assay.storage.clock import utc_text
from assay.storage.database import writing
from assay.storage.tables import baselines

HOUR = timedelta(hours=1)
NOBODY = "nobody whom the policy names has reviewed"
NOT_NEWEST = "not the newest that the log tells of"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    made = build(tmp_path_factory.mktemp("known"))
    made.sign()
    return learned_baseline(made.project, "spam", now=TODAY)


@dataclass(frozen=True)
class Told:
    """A project whose database and log say what a test wants them to say."""

    small: Small
    known: Baseline

    def keep(self, hours: int, *, drop: int = 0, name: str = "spam") -> Baseline:
        """Put a baseline of that time into the database; without so many of its windows it says something else."""
        made = replace(self.known, created=utc_text(TODAY + hours * HOUR), windows=self.known.windows[drop:])
        save_baseline(self.small.project.state, name, made)
        return made

    def log(self, kind: str, hours: int, data: Mapping[str, object] | None = None, name: str = "spam") -> None:
        self.small.project.log.append(kind, name, data or {}, actor="mlops", now=TODAY + hours * HOUR)

    def learn(self, hours: int, *, drop: int = 0, old: bool = False) -> str:
        """Keep a baseline and log it, if wanted as logs before they told the content did."""
        made = self.keep(hours, drop=drop)
        self.log(LEARNED, hours, {"digest": made.digest} | ({} if old else {"content": made.content}))
        return made.digest

    def sealed(self, digest: str, signer: Signer, *, about: str = "spam", kind: str = REVIEW) -> dict[str, object]:
        """What the entry of a review holds."""
        statement = Statement((Subject(about, {"sha256": digest}),), kind, {"digest": digest, "model": about})
        return {"digest": digest, "statement": seal(statement, signer).to_json()}

    def review(self, hours: int, digest: str, who: str = ANNA) -> None:
        self.log(REVIEWED, hours, self.sealed(digest, self.small.keys[who]))

    def check(self) -> None:
        check_baseline(self.small.reopened(), "spam")

    def refused(self, why: str) -> None:
        with pytest.raises(BaselineError, match=why):
            self.check()


@pytest.fixture
def told(small: Small, known: Baseline) -> Told:
    return Told(small, known)


def test_the_first_counts_by_itself_and_each_other_one_by_its_review(told: Told) -> None:
    told.learn(0)
    told.check()
    digest = told.learn(1, drop=1)
    told.refused(NOBODY)
    told.review(2, digest)
    told.check()


def test_a_review_covers_its_baseline_only_until_the_next(told: Told) -> None:
    """Whoever brings back an old baseline, in the database and the log, cannot have its old review count again."""
    told.learn(0)
    old = told.learn(1, drop=1)
    told.review(1, old)
    told.review(2, told.learn(2, drop=2))
    told.check()
    content = replace(told.known, windows=told.known.windows[1:]).content
    told.log(LEARNED, 3, {"digest": old, "content": content})
    told.refused(NOT_NEWEST)
    with writing(told.small.project.state) as connection:
        newest = utc_text(TODAY + 3 * HOUR)
        connection.execute(update(baselines).where(baselines.c.digest == old).values(created=newest))
    told.refused(NOBODY)


def test_two_processes_that_learn_another_one_at_once_need_one_review(told: Told) -> None:
    told.learn(0)
    digest = told.learn(1, drop=1)
    told.review(1, digest)
    assert told.learn(2, drop=1) != digest
    told.check()


def test_a_trusted_key_of_nobody_in_the_policy_reviews_nothing(told: Told) -> None:
    folder = told.small.folder / "keys"
    eve = generate(folder / "eve.pem", passphrase=None)
    trust_key(told.small.project, "eve@acme.example", folder / "eve.pub", until=None, now=TODAY)
    told.learn(0)
    digest = told.learn(1, drop=1)
    told.log(REVIEWED, 2, told.sealed(digest, eve))
    told.refused(NOBODY)


def test_the_signers_of_the_policy_review_as_its_approvers_do(tmp_path: Path, known: Baseline) -> None:
    (folder := tmp_path / "apart").mkdir()
    config = CONFIG.replace(', "release@acme.example"]', "]")
    assert config != CONFIG
    told = Told(build(folder, config=config), known)
    told.learn(0)
    for at, who in enumerate((RELEASE, ANNA), 1):
        digest = told.learn(at, drop=at)
        told.refused(NOBODY)
        told.review(at, digest, who)
        told.check()


@pytest.mark.parametrize("kind", ["model.deployed", "model.rolled-back"])
def test_the_first_after_the_model_went_live_counts_by_itself(told: Told, kind: str) -> None:
    told.learn(0)
    for hours in (1, 3):
        told.log(kind, hours)
        told.check()  # the one in force before judges until the next is learned
        told.learn(hours + 1, drop=hours)
        told.check()
    told.learn(5, drop=5)
    told.refused(NOBODY)


def test_that_another_model_went_live_changes_nothing(told: Told) -> None:
    told.learn(0)
    told.log("model.deployed", 1, name="ham")
    digest = told.learn(2, drop=1)
    told.refused(NOBODY)
    told.review(2, digest)
    told.keep(3, drop=2, name="ham")
    told.check()


def test_what_is_told_of_another_model_is_no_review(told: Told) -> None:
    told.learn(0)
    digest = told.learn(1, drop=1)
    of_ham = told.sealed(digest, told.small.keys[ANNA], about="ham")
    told.log(REVIEWED, 2, of_ham, name="ham")
    told.refused(NOBODY)
    told.log(REVIEWED, 2, of_ham)
    told.refused(NOBODY)
    told.log(REVIEWED, 2, told.sealed(digest, told.small.keys[ANNA]), name="ham")
    told.refused(NOBODY)


def test_a_statement_of_another_kind_is_no_review(told: Told) -> None:
    told.learn(0)
    digest = told.learn(1, drop=1)
    told.log(REVIEWED, 2, told.sealed(digest, told.small.keys[ANNA], kind=APPROVAL))
    told.refused(NOBODY)


@pytest.mark.parametrize("statement", [None, 7, "", "{}", '{"payload": 1}', ["a"]])
def test_an_entry_without_a_statement_that_opens_is_no_review(told: Told, statement: object) -> None:
    told.learn(0)
    digest = told.learn(1, drop=1)
    told.log(REVIEWED, 2, {"digest": digest, "statement": statement})
    told.refused(NOBODY)


def test_the_key_of_a_review_must_count_when_it_was_logged_and_not_for_ever(told: Told) -> None:
    folder = told.small.folder / "keys"
    late = generate(folder / "late.pem", passphrase=None)
    trust_key(told.small.project, ANNA, folder / "late.pub", until=TODAY + 3 * HOUR, now=TODAY)
    told.learn(0)
    first = told.learn(1, drop=1)
    told.log(REVIEWED, 2, told.sealed(first, late))
    told.check()
    second = told.learn(4, drop=2)
    told.log(REVIEWED, 5, told.sealed(second, late))
    told.refused(NOBODY)


def test_entries_that_do_not_tell_the_content_are_alike_by_their_digests(told: Told) -> None:
    told.learn(0, old=True)
    told.check()
    told.learn(1, drop=1, old=True)
    told.refused(NOBODY)
