"""`diagnose --html`: one file that says what the dashboard says, and asks nothing of anybody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.cli.prompt import at, typed
from tests.unit.dashboard.served import HOSTILE, NOON, Served

from assay.dashboard.explained import page, write
from assay.dashboard.rendering import commands, environment
from assay.errors import DiagnosisError, StorageError

CHROMIUM = Path("/usr/bin/chromium")


def test_the_file_says_what_the_dashboard_says(seen: Served) -> None:
    told = page(seen.small.project, "spam", now=NOON)
    shown = seen.person().get("/models/spam").text
    body = re.findall(r"<td><strong>([a-z]+)</strong></td>", told)
    assert body == re.findall(r"<td><strong>([a-z]+)</strong></td>", shown)
    assert body
    for words in ("Probabilities", "Evidence", "Distributions then and now", "How sure one can be of each alarm"):
        assert words in told
        assert words in shown
    assert told.count("<svg ") == shown.count("<svg ")
    for words in ("Time line", "Deployed", "Alarm", "Diagnosed", "entry "):
        assert words in told


def test_the_file_begins_with_what_happened_and_says_it_once(seen: Served) -> None:
    told = page(seen.small.project, "spam", now=NOON)
    banner = re.search(r'<div class="banner \w+"><strong>(.+?)</strong>(.*?)</div>', told, re.DOTALL)
    assert banner
    assert banner[1].endswith(".")
    assert banner[1] not in banner[2]
    assert told.count(banner[1]) == 1


def test_the_file_stands_alone(seen: Served) -> None:
    told = page(seen.small.project, "spam", now=NOON)
    assert "<script" not in told
    assert re.findall(r'(?:src|href|action)="(?!#)', told) == []
    assert "default-src 'none'" in told
    assert HOSTILE not in told
    assert "<img" not in told


def test_commands_are_set_as_commands_and_nothing_else_is_markup() -> None:
    assert commands("put <b> back: `assay rollback 'a&b' --reason WHY`.") == (
        "put &lt;b&gt; back: <code>assay rollback &#39;a&amp;b&#39; --reason WHY</code>."
    )
    parts = environment(lambda: NOON).get_template("parts.html").make_module()
    shown = str(parts.why_parts({"actions": ["<i>Then</i> `assay deploy spam`."]}, [], [], []))  # type: ignore[attr-defined]
    assert "<li>&lt;i&gt;Then&lt;/i&gt; <code>assay deploy spam</code>.</li>" in shown


def test_a_model_that_was_never_diagnosed_has_no_file(served: Served) -> None:
    with pytest.raises(DiagnosisError, match="never diagnosed"):
        page(served.small.project, "spam", now=NOON)


def test_a_file_that_cannot_be_written_is_said(seen: Served, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write(tmp_path / "none" / "a.html", seen.small.project, "spam", now=NOON)


def test_the_verb_writes_it_and_ends_as_it_would_without(seen: Served, tmp_path: Path) -> None:
    with at(seen.small.folder, now=NOON):
        plain = typed("diagnose", "spam")
        answer = typed("diagnose", "spam", "--html", tmp_path / "why.html")
        assert answer.code == plain.code
        assert answer.out == plain.out
        typed("diagnose", "spam", "--html", tmp_path / "none" / "why.html").refused(2, "there is no folder")
    assert "Why did spam change?" in (tmp_path / "why.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_file_in_a_browser(seen: Served, tmp_path: Path, width: int, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    write(tmp_path / "why.html", seen.small.project, "spam", now=NOON)
    said: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as drivers:
        browser = drivers.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        shown.on("console", lambda message: said.append(message.text))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto((tmp_path / "why.html").as_uri())
        wide, there = shown.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= there
        assert shown.locator("figure svg:visible").count() >= 4
        ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(16, 21, 28)") == (scheme == "dark")
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("file:")] == []
