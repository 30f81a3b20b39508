"""The reference says what the program does: each verb and option, each key of assay.toml, each key of --json."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from assay.cli.main import VERBS
from assay.monitoring.floors import Floors
from assay.project import config

DOCS = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
RULE = re.compile(
    r'"((?:baseline|column|confidence|label|latency|monitor|ranking|rows|slices|time|volume|window)\.[a-z]+(?:-[a-z]+)*)"'
)
ENTRIES = {"baseline.learned", "baseline.reviewed", "monitor.alarm"}
"""Kinds of entries of the audit log, which stand in formats.md."""
TESTED = re.compile(r"\b(test_\w+\.py)\b")


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "reference" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_page_is_what_the_commands_say() -> None:
    written = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert written == _maker().page(), "run python docs/reference/make.py"


TABLES = {
    "[models.NAME]": config.ModelConfig,
    "[models.NAME.training]": config.Training,
    "[models.NAME.predictions]": config.Predictions,
    "[models.NAME.monitor]": config.Monitoring,
    "[models.NAME.monitor.floors]": Floors,
    "[models.NAME.clients]": config.Clients,
    "[models.NAME.policy]": config.PolicyTable,
    "[alerts]": config.Alerts,
}
# Tables of their own, or the name of the table.
SECTIONS = ("name", "training", "predictions", "monitor", "clients", "policy")


def _documented(table: str) -> set[str]:
    text = (DOCS / "reference" / "assay-toml.md").read_text(encoding="utf-8")
    (section,) = (part for part in text.split("\n## ") if part.startswith(f"`{table}`"))
    return set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_a_table_is_documented_and_no_other(table: str) -> None:
    keys = {field.name for field in fields(TABLES[table])}
    if table == "[models.NAME]":
        keys -= set(SECTIONS)
    assert _documented(table) == keys


def test_every_key_of_the_project_and_the_log_is_documented() -> None:
    parts = {"models", "alerts", "root"}
    keys = {field.name for field in fields(config.ProjectConfig)} - parts
    assert _documented("[project]") | _documented("[log]") == keys


def test_every_finding_of_monitoring_is_documented() -> None:
    source = Path(config.__file__).parents[1]
    files = [*(source / "monitoring").rglob("*.py"), *(source / "project").rglob("*.py")]
    rules = {rule for file in files for rule in RULE.findall(file.read_text(encoding="utf-8"))} - ENTRIES
    text = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    assert "column.missing" in rules
    assert {rule for rule in rules if f"`{rule}`" not in text} == set()


def test_every_verb_with_json_has_its_keys_documented() -> None:
    page = _maker().page()
    verbs = {part.split("\n")[0] for part in re.split(r"^###? ", page, flags=re.MULTILINE)[1:] if "`--json`" in part}
    text = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    assert verbs
    assert {verb for verb in verbs if f"`{verb}`" not in text} == set()
    assert {verb.split()[1] for verb in verbs} <= set(VERBS)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    written_last = {DOCS / "tutorial" / "demo.md"}
    places = [page.parent / link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [str(place) for place in places if not place.exists() and place.resolve() not in written_last] == []


def test_every_test_the_threat_model_names_is_there() -> None:
    named = set(TESTED.findall((DOCS / "explanation" / "threat-model.md").read_text(encoding="utf-8")))
    there = {path.name for path in DOCS.parent.joinpath("tests").rglob("test_*.py")}
    assert named
    assert named - there == set()


FIGURES = ("right", "unknown", "attacks_found", "attacks_false", "attacks_escalated")


def test_the_figures_about_verdicts_are_those_of_the_shipped_weights() -> None:
    weights = json.loads(files("assay.diagnosis").joinpath("weights.json").read_text(encoding="utf-8"))
    page = (DOCS / "explanation" / "diagnosis.md").read_text(encoding="utf-8")
    for evidence, measured in weights["made"]["left_out"].items():
        row = " | ".join([evidence, *(f"{measured[figure]:.1%}" for figure in FIGURES)])
        assert f"| {row} |" in page
