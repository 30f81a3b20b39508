"""Which baseline counts: that of the log, and in place of another one only with a reason and a reviewer's signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import update
from tests.small_project import ANNA, CONFIG, RELEASE, TODAY, Small, build

from assay.errors import BaselineError, ConfigError, PolicyError, VerificationError
from assay.keys.base import Signer
from assay.keys.pem import generate
from assay.monitoring.store import load_baseline, save_baseline
from assay.project.baselines import learn_baseline, learned_baseline
from assay.project.people import trust_key
from assay.project.rebaselining import LEARNED, REVIEWED, check_baseline, renew_baseline
from assay.storage.database import writing
from assay.storage.tables import baselines

HOUR = timedelta(hours=1)
WHY = "the new form has one field less"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    made = build(tmp_path)
    made.sign()
    return made


def otherwise(small: Small) -> None:
    """Let the reference say something else than before."""
    place = small.folder / "data" / "reference.parquet"
    table = pq.read_table(place)
    pq.write_table(table.slice(table.num_rows // 10), place)


def renew(small: Small, hours: int, reason: str = "", signer: Signer | None = None) -> str:
    return renew_baseline(small.project, "spam", reason=reason, signer=signer, now=TODAY + hours * HOUR).digest


def reviews(small: Small) -> list[Mapping[str, object]]:
    return [one.entry.data for one in small.project.log.entries(kinds=[REVIEWED])]


def test_another_baseline_needs_a_reason_and_somebody_of_the_policy(small: Small, tmp_path: Path) -> None:
    first = renew(small, 0)
    assert reviews(small) == []
    stranger = generate(tmp_path / "keys" / "eve.pem", passphrase=None)
    otherwise(small)
    for none in ("", " \n"):
        with pytest.raises(ConfigError, match="--reason"):
            renew(small, 1, none, small.keys[ANNA])
    with pytest.raises(ConfigError, match="--key"):
        renew(small, 1, WHY)
    with pytest.raises(VerificationError):
        renew(small, 1, WHY, stranger)
    trust_key(small.project, "eve@acme.example", tmp_path / "keys" / "eve.pub", until=None, now=TODAY)
    with pytest.raises(PolicyError, match=r"eve@acme\.example reviews nothing of spam"):
        renew(small.__class__(small.folder, small.reopened(), small.keys), 1, WHY, stranger)
    there = load_baseline(small.project.state, "spam")
    assert there is not None
    assert there.digest == first
    second = renew(small, 1, WHY, small.keys[ANNA])
    (review,) = reviews(small)
    assert (review["digest"], review["replaces"], review["reason"]) == (second, first, WHY)
    check_baseline(small.project, "spam")
    renew(small, 2, WHY, small.keys[RELEASE])
    assert [one["replaces"] for one in reviews(small)] == [first, second]


def test_without_a_policy_the_reason_is_logged(tmp_path: Path) -> None:
    (folder := tmp_path / "bare").mkdir()
    policy = CONFIG[CONFIG.index("[models.spam.policy]") : CONFIG.index("[alerts]")]
    bare = build(folder, config=CONFIG.replace(policy, ""))
    bare.sign()
    first = renew(bare, 0)
    otherwise(bare)
    second = renew(bare, 1, WHY)
    assert reviews(bare) == [{"digest": second, "replaces": first, "reason": WHY}]
    check_baseline(bare.project, "spam")
    renew(bare, 2, WHY, bare.keys[ANNA])  # nobody asks for a key, and nobody is refused for one
    assert "statement" in reviews(bare)[-1]


def test_the_first_after_a_deployment_was_reviewed_with_it(small: Small) -> None:
    renew(small, 0)
    small.go_live(now=TODAY + HOUR)
    renew(small, 2)
    assert reviews(small) == []
    check_baseline(small.project, "spam")


def test_a_baseline_that_somebody_put_into_the_database_judges_nothing(small: Small) -> None:
    learned = learn_baseline(small.project, "spam", now=TODAY)
    check_baseline(small.project, "spam")
    save_baseline(small.project.state, "spam", replace(learned, created="2026-03-02T05:00:00.000000Z"))
    with pytest.raises(BaselineError, match="not the newest that the log tells of"):
        small.project.monitor("spam", TODAY + HOUR)


def test_an_older_baseline_that_somebody_brought_back_judges_nothing(small: Small) -> None:
    first = renew(small, 0)
    otherwise(small)
    renew(small, 1, WHY, small.keys[RELEASE])
    with writing(small.project.state) as connection:
        later = "2026-04-01T00:00:00.000000Z"
        connection.execute(update(baselines).where(baselines.c.digest == first).values(created=later))
    with pytest.raises(BaselineError, match="not the newest that the log tells of"):
        check_baseline(small.project, "spam")


def test_a_baseline_in_place_of_another_judges_nothing_until_it_is_reviewed(small: Small) -> None:
    learn_baseline(small.project, "spam", now=TODAY)
    otherwise(small)
    learn_baseline(small.project, "spam", now=TODAY + HOUR)
    with pytest.raises(BaselineError, match="nobody whom the policy names has reviewed"):
        check_baseline(small.project, "spam")
    renew(small, 2, WHY, small.keys[ANNA])
    check_baseline(small.project, "spam")
    (old,) = reviews(small)
    otherwise(small)
    learned = learn_baseline(small.project, "spam", now=TODAY + 3 * HOUR)
    data = {**old, "digest": learned.digest}  # the review of another one
    small.project.log.append(REVIEWED, "spam", data, actor="eve", now=TODAY + 3 * HOUR)
    with pytest.raises(BaselineError, match="nobody whom the policy names has reviewed"):
        check_baseline(small.project, "spam")


def test_what_is_in_force_may_be_learned_again(small: Small) -> None:
    first = renew(small, 0)
    assert renew(small, 1) == first
    assert len(small.project.log.entries(kinds=[LEARNED])) == 1


def test_what_somebody_put_into_the_database_is_not_kept_by_learning_again(small: Small) -> None:
    learned = learn_baseline(small.project, "spam", now=TODAY)
    save_baseline(small.project.state, "spam", replace(learned, created="2026-03-02T05:00:00.000000Z"))
    with pytest.raises(BaselineError, match="not the newest that the log tells of"):
        renew(small, 1)


def test_two_processes_that_learn_the_same_at_once_need_no_review(small: Small) -> None:
    for minute in (1, 0):  # the one that the log tells of last is not the newest of the database
        learn_baseline(small.project, "spam", now=TODAY + minute * HOUR)
    assert len(small.project.log.entries(kinds=[LEARNED])) == 2
    check_baseline(small.project, "spam")


def test_another_baseline_that_is_logged_as_the_same_judges_nothing(small: Small) -> None:
    first = learn_baseline(small.project, "spam", now=TODAY)
    otherwise(small)
    other = learned_baseline(small.project, "spam", now=TODAY + HOUR)
    save_baseline(small.project.state, "spam", other)
    data = {"digest": other.digest, "content": first.content, "windows": 0, "signals": 0}
    small.project.log.append(LEARNED, "spam", data, actor="eve", now=TODAY + HOUR)
    with pytest.raises(BaselineError, match="not the newest that the log tells of"):
        check_baseline(small.project, "spam")
