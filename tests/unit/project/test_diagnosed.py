"""A verdict of the project: what it was computed from is in the log, and a copy that misbehaves stops nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from tests.small_project import TODAY, Small, build

from assay.project.baselines import baseline_of
from assay.project.project import Project
from assay.project.watching import diagnose_model
from assay.release.store import live_at

DAY = timedelta(days=1)
QUIET, END = TODAY + 5 * DAY, TODAY + 12 * DAY
SLEEPER = "import time\n\ndef answer(files, table):\n    time.sleep(10_000)\n"
KILLER = "import os\n\ndef answer(files, table):\n    os.kill(os.getpid(), 9)\n"


def served(folder: Path) -> Small:
    """Five days of the signed model, then seven of edited weights."""
    small = build(folder)
    small.go_live()
    small.serve(5, start=TODAY)
    small.serve(7, start=QUIET, seed=6, wrong=True)
    return small


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    done = served(tmp_path_factory.mktemp("diagnosed"))
    done.project.monitor("spam", END)
    return done


def basis(project: Project) -> Mapping[str, object]:
    """What the newest verdict's entry says it was computed from."""
    *_, newest = project.log.entries(kinds=["diagnosis.made"])
    return cast("Mapping[str, object]", newest.entry.data["computed_from"])


def test_the_entry_of_a_verdict_holds_the_digests_of_what_it_was_computed_from(small: Small) -> None:
    diagnose_model(small.project, "spam", now=END)
    said = basis(small.project)
    live = live_at(small.project.state, "spam", END)
    assert live is not None
    assert said["known_good"] == live.root
    assert said["baseline"] == baseline_of(small.project, "spam", now=END).digest
    assert cast("Mapping[str, object]", said["bytes"])["recorded"] == live.root
    for rows in ("recent", "reference"):
        told = cast("Mapping[str, object]", said[rows])
        assert len(cast("str", told["sha256"])) == 64
        assert cast("int", told["rows"]) > 0
    assert len(cast("str", said["weights"])) == 64


def test_the_same_inputs_give_the_same_verdict_and_the_same_digests(small: Small) -> None:
    first = diagnose_model(small.project, "spam", now=END)
    said = basis(small.project)
    again = diagnose_model(small.reopened(now=END), "spam", now=END)
    assert again.to_json() == first.to_json()
    assert basis(small.project) == said


def test_other_rows_give_other_digests(tmp_path: Path) -> None:
    small = served(tmp_path)
    small.project.monitor("spam", END)
    diagnose_model(small.project, "spam", now=END)
    before = basis(small.project)
    small.serve(3, start=END, seed=9, wrong=True)
    small.project.monitor("spam", END + 3 * DAY)
    diagnose_model(small.project, "spam", now=END + 3 * DAY)
    after = basis(small.project)
    assert after["recent"] != before["recent"]
    assert (after["reference"], after["weights"]) == (before["reference"], before["weights"])


@pytest.mark.parametrize(("code", "why"), [(SLEEPER, "and was stopped"), (KILLER, "was killed by SIGKILL")])
def test_a_copy_that_misbehaves_is_said_and_everything_else_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    small = served(tmp_path)
    baseline_of(small.project, "spam", now=TODAY)  # learned while the model still answered
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "bad_copy.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    limit_s = 4 if code is SLEEPER else 240
    path = small.folder / "assay.toml"
    text = path.read_text().replace('framework = "sklearn"', 'framework = "bad_copy:answer"')
    path.write_text(text + f'\n[models.spam.monitor]\nreplay_limit = "{limit_s}s"\n')
    found = small.reopened(now=END).monitor("spam", END)
    told = [one.detail for one in found.findings if one.rule in ("replay.no-answer", "replay.no-copy")]
    assert told
    assert why in told[0]
    assert found.evaluation.windows == 12
    assert found.diagnosis is not None  # the alarms were raised all the same, and asked about
    missing = {item.name: item.missing or "" for item in found.diagnosis.evidence}
    assert why in missing["replay"] or "known-good copy" in missing["replay"]
    assert found.diagnosis.verdict != "intact"


def test_an_open_process_asks_the_same_process_again_and_verifies_the_copy_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = served(tmp_path)
    small.project.monitor("spam", END)
    with monkeypatch.context() as patch:
        patch.setattr("assay.signing.verified.VerifiedModel.load_apart", _never)
        small.serve(2, start=END, seed=9, wrong=True)
        again = small.project.monitor("spam", END + 2 * DAY)
        assert "replay.differs" in {one.rule for one in again.findings}
    (vault,) = (small.folder / ".assay" / "vault" / "spam").iterdir()
    (vault / "files" / "labels.txt").write_text("spam\nham\n")
    small.serve(2, start=END + 2 * DAY, seed=10, wrong=True)
    last = small.project.monitor("spam", END + 4 * DAY)
    rules = {one.rule for one in last.findings}
    assert "replay.no-copy" in rules
    assert "replay.differs" not in rules


def _never(*_: object, **__: object) -> None:
    raise AssertionError("a second process was started")


def test_nothing_is_opened_when_no_window_is_due(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a process was started for nothing")

    monkeypatch.setattr("assay.signing.verified.VerifiedModel.load_apart", opened)
    assert small.reopened(now=END).monitor("spam", END).diagnosis is None
