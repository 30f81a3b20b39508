"""The README's commands exist and its snippet runs."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from tests.small_project import rows, write_model

from assay.cli.main import VERBS, assay, run
from assay.keys.pem import generate
from assay.signing.sign import sign

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
CONSOLE = [line.split("#")[0].strip() for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
COMMANDS = [line for line in CONSOLE if line.startswith("assay ")]
NAMED = sorted(set(re.findall(r"(?:^|`)assay ([a-z]+)", "\n".join([*CONSOLE, README]), re.MULTILINE)))
SNIPPETS = [text for kind, text in BLOCKS if kind == "python"]


@pytest.mark.parametrize("verb", NAMED)
def test_every_verb_it_names_exists(verb: str) -> None:
    assert verb in {*VERBS, "answers"}  # "assay answers three questions"


def test_its_commands_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("ASSAY_PASSPHRASE", "correct horse")
    monkeypatch.setenv("ASSAY_ACTOR", "anna@acme.example")
    write_model(tmp_path / "models" / "spam", rows(10, start=datetime(2026, 1, 1, tzinfo=UTC), seed=1))
    assert len(COMMANDS) >= 3
    codes = {line: run(shlex.split(line)[1:]) for line in COMMANDS}
    assert set(codes.values()) == {0}, (codes, capsys.readouterr())
    assert "verified spam" in capsys.readouterr().out
    (tmp_path / "models" / "spam" / "labels.txt").write_text("spam\nham\n")
    assert run(["verify", "spam"]) == 1


def test_its_snippet_loads_a_signed_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = SNIPPETS
    monkeypatch.chdir(tmp_path)
    table = rows(10, start=datetime(2026, 1, 1, tzinfo=UTC), seed=1)
    write_model(tmp_path / "models" / "spam", table)
    sign(tmp_path / "models" / "spam", generate(tmp_path / "release.pem", passphrase=None), now=datetime.now(UTC))
    names: dict[str, object] = {}
    exec(snippet + "    answers = predictor.predict(table)\n", names | {"table": table}, names)  # noqa: S102 - our README
    labels = getattr(names["answers"], "labels", ())
    assert set(labels) == {"ham", "spam"}


def test_its_make_targets_exist() -> None:
    targets = [line.split()[1] for line in CONSOLE if line.startswith("make ")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_its_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_it_shows_exist(command: str) -> None:
    words = shlex.split(command)[1:]
    verb = assay.get_command(click.Context(assay), words[0])
    assert verb is not None
    known = {opt for param in verb.params for opt in param.opts}
    assert {word for word in words if word.startswith("--")} <= known
