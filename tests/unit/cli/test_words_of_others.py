"""Names, values and reasons that others chose are printed so that no terminal obeys them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.small_project import TODAY, Small, build
from tests.unit.cli.prompt import at, typed

from assay.cli.output import plain, print_findings
from assay.findings import Finding, Severity
from assay.incidents.rules import reported

HOSTILE = "\x1b[2J\x1b]0;all is well\x07\x9b1m\u202eevil\u2066\u200b\udcff"
SEEN = r"\x1b[2J\x1b]0;all is well\x07\x9b1m\u202eevil\u2066\u200b"
OBEYED = {"\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u200b"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """A project with an incident whose title, owner and reason somebody else chose."""
    made = build(tmp_path)
    words = HOSTILE[:-1]  # a database keeps no half of a character
    finding = Finding("artifact.extra", words, Severity.ERROR, words)
    number = made.project.desk.report(reported("audit", words, words, [finding]), TODAY)
    made.project.desk.acknowledge(number, words, TODAY)
    made.project.desk.resolve(number, words, f"reason {words}", TODAY)
    with at(made.folder, now=TODAY):
        yield made


@pytest.mark.parametrize(
    "words",
    [("incident", "list"), ("incident", "list", "--all"), ("incident", "show", "1"), ("log", "show"), ("status",)],
)
def test_no_terminal_obeys_what_others_wrote(small: Small, words: tuple[str, ...]) -> None:
    assert small.folder
    answer = typed(*words)
    assert not OBEYED & set(answer.out + answer.err)


def test_an_incident_shows_what_was_written(small: Small) -> None:
    assert small.folder
    said = "".join(typed("incident", "show", "1").out.split())
    assert "".join(SEEN.split()) in said


def test_json_is_safe_to_look_at_and_says_the_same(small: Small) -> None:
    answer = typed("incident", "show", "1", "--json")
    assert not OBEYED & set(answer.out)
    assert json.loads(answer.out) == json.loads(json.dumps(small.project.desk.show(1).as_json(), default=str))


def test_a_finding_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings([Finding("a.b", "", Severity.ERROR, f"column {HOSTILE}\n  verified: all as signed")])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert f"column {SEEN}\\udcff\\n  verified" in out


def test_plain_words_stay_as_they_are() -> None:
    words = "Zoë, 東京 — 5 µs ≤ “x”\n… é"
    assert plain(words) == words
