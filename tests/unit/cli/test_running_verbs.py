"""A live model watched, attacked and explained at a prompt: exit codes, and the documented keys of ``--json``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.small_project import CONFIG, TODAY, Small, build
from tests.unit.cli.prompt import Answer, at, typed

pytestmark = [pytest.mark.xdist_group("cli-running"), pytest.mark.usefixtures("clock")]

MONITOR = {"model", "windows", "alarms", "budget", "silent", "findings"}
ALARM = {"signal", "slice", "window", "since", "size", "interval", "log_e"}
DIAGNOSIS = {"verdict", "scope", "silent", "probabilities", "evidence", "escalate", "actions", "explanation"}
INCIDENT = {"id", "fingerprint", "model", "kind", "severity", "title", "state", "opened", "updated", "owner", "facts"}
DAYS = 6
HAM = """
[models.ham]
path = "models/ham"
framework = "sklearn"
reference = "data/reference.parquet"

[models.ham.predictions]
path = "predictions/*.parquet"
time = "ts"
prediction = "pred"
"""

STEPS: dict[str, tuple[int, set[str]]] = {
    "baseline": (0, {"model", "digest", "windows", "window", "signals", "findings"}),
    "monitor": (0, MONITOR),
    "monitor again": (0, MONITOR),
    "diagnose": (0, DIAGNOSIS),
    "tick": (0, {"done"}),
    "status": (0, {"project", "time", "models", "log", "forgotten"}),
    "alerts test": (0, {"channels"}),
    "monitor attacked": (1, MONITOR),
    "diagnose attacked": (1, DIAGNOSIS),
    "diagnose without a copy": (1, DIAGNOSIS),
    "status attacked": (1, {"project", "time", "models", "log", "forgotten"}),
    "tick attacked": (1, {"done"}),
    "incident list": (0, {"incidents"}),
    "incident show": (0, INCIDENT),
    "incident acknowledge": (0, {"id", "state"}),
    "incident export": (0, {"id", "file"}),
    "incident resolve": (0, {"id", "state"}),
    "incident resolve again": (2, {"error", "findings"}),
    "monitor of two": (0, {"models"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made := tmp_path_factory.mktemp("running") / "small").mkdir()
    return made


@pytest.fixture(scope="module")
def story(folder: Path) -> Mapping[str, Answer]:
    """Every step once, in the order in which it happens; the attack happens to a project of its own."""
    told: dict[str, Answer] = {}
    (calm := folder.parent / "calm").mkdir()
    _live(calm, TODAY - timedelta(days=DAYS)).serve(DAYS, start=TODAY - timedelta(days=DAYS))
    with at(calm):
        for step in ("baseline", "monitor", "diagnose"):
            told[step] = typed(step, "spam", "--json")
        told["monitor again"] = typed("monitor", "--json")
        told["tick"] = typed("tick", "--json")
        told["status"] = typed("status", "--json")
        told["alerts test"] = typed("alerts", "test", "--json")
        (calm / "assay.toml").write_text(CONFIG.replace("ALERTS", str(calm / "alerts")) + HAM)
        shutil.copytree("models/spam", "models/ham", ignore=shutil.ignore_patterns("model.sig"))
        typed("sign", "ham", "--key", "keys/release.pem")
        typed("baseline", "ham")
        told["monitor of two"] = typed("monitor", "--json")
    attacked = _live(folder, TODAY - timedelta(days=2 * DAYS))
    attacked.serve(DAYS, start=TODAY - timedelta(days=2 * DAYS))
    attacked.serve(DAYS, start=TODAY - timedelta(days=DAYS), wrong=True)
    with at(folder):
        typed("baseline", "spam")
        with (attacked.model / "labels.txt").open("a") as file:
            file.write("eggs\n")
        for step in ("monitor", "diagnose", "tick", "status"):
            told[f"{step} attacked"] = typed(step, *(["spam"] if step in {"monitor", "diagnose"} else []), "--json")
        told["monitor attacked again"] = typed("monitor", "spam")
        _incident(told)
        shutil.rmtree(".assay/vault")
        told["diagnose without a copy"] = typed("diagnose", "spam", "--json")
    return told


def _live(folder: Path, since: datetime) -> Small:
    small = build(folder, today=since)
    small.go_live(now=since)
    return small


def _incident(told: dict[str, Answer]) -> None:
    told["incident list"] = typed("incident", "list", "--json")
    told["incident show"] = typed("incident", "show", "1", "--json")
    told["incident acknowledge"] = typed("incident", "acknowledge", "1", "--json")
    told["incident export"] = typed("incident", "export", "1", "evidence.zip", "--json")
    told["incident resolve"] = typed("incident", "resolve", "1", "--reason", "put back", "--json")
    told["incident resolve again"] = typed("incident", "resolve", "1", "--reason", "twice", "--json")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_ends_with_its_code_and_prints_one_object_with_the_documented_keys(
    story: Mapping[str, Answer], step: str
) -> None:
    code, keys = STEPS[step]
    assert story[step].code == code, story[step]
    assert keys <= set(story[step].data)


def test_monitoring_is_idempotent_and_says_what_moved(story: Mapping[str, Answer]) -> None:
    assert story["monitor"].data["windows"] == story["monitor again"].data["windows"] == DAYS
    budget, alarms = story["monitor"].data["budget"], story["monitor attacked"].data["alarms"]
    assert isinstance(budget, dict)
    assert set(budget) == {"false_alarm_every", "windows_per_alarm", "signals", "floors"}
    assert isinstance(alarms, list)
    assert all(set(alarm) >= ALARM for alarm in alarms)
    assert {"error", "prediction"} & {alarm["signal"] for alarm in alarms}


def test_alarms_that_are_not_new_are_said_to_stand(story: Mapping[str, Answer]) -> None:
    alarms = story["monitor attacked"].data["alarms"]
    assert isinstance(alarms, list)
    standing = sum(alarm["until"] is None for alarm in alarms)
    assert f" 0 new alarms, {standing} of before still stand" in story["monitor attacked again"].out


def test_changed_bytes_are_called_tampering(story: Mapping[str, Answer]) -> None:
    assert story["diagnose"].data["verdict"] == "intact"
    # The reference lacks predictions: what fills it in must not be the bytes that were changed.
    for step in ("diagnose attacked", "diagnose without a copy"):
        found = story[step].data
        assert (found["verdict"], found["escalate"]) == ("model-tampering", True)


def test_every_model_is_in_the_one_object_of_a_project_of_several(story: Mapping[str, Answer]) -> None:
    models = story["monitor of two"].data["models"]
    assert isinstance(models, list)
    assert [(one["model"], set(one) >= MONITOR) for one in models] == [("spam", True), ("ham", True)]


def test_the_exported_evidence_verifies_on_its_own(story: Mapping[str, Answer], folder: Path) -> None:
    assert story["incident export"].code == 0
    with at(folder):
        said = typed("incident", "export", "1", "again.zip").out
    key = said.split("public key: ")[1].strip()
    with zipfile.ZipFile(folder / "again.zip") as bundle:
        bundle.extract("verify.py", folder)
    words = [sys.executable, "verify.py", "again.zip", "--key", key]
    checked = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


SPOKEN = (
    ("status",),
    ("keys", "list"),
    ("verify", "spam"),
    ("validate", "spam"),
    ("data", "verify", "spam"),
    ("monitor",),
    ("diagnose", "spam"),
    ("gate", "spam"),
    ("log", "show"),
    ("log", "verify"),
    ("log", "prove", "0"),
    ("incident", "list", "--all"),
    ("incident", "show", "1"),
    ("alerts", "test"),
    ("tick",),
)


@pytest.mark.parametrize("words", SPOKEN, ids=" ".join)
def test_without_json_a_verb_speaks_to_a_person(
    story: Mapping[str, Answer], folder: Path, words: tuple[str, ...]
) -> None:
    assert story
    with at(folder):
        answer = typed(*words)
    assert answer.code in {0, 1}, answer
    assert (answer.out + answer.err).strip()
    assert not answer.out.startswith("{")
    assert "Traceback" not in answer.out + answer.err
