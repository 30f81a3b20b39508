"""The printed record in a real browser: one A4 page, no wider than a phone, and alone."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from assay.signing.page import to_html
from assay.signing.record import MARK, Record, words_of

CHROMIUM = Path("/usr/bin/chromium")
ROOT = hashlib.sha256(b"a model").hexdigest()
IGNORED = tuple(f"cache/of/some/depth-{at}" for at in range(30))
# The longest a page gets: a long name that cannot be broken, a full key, more left out than is shown.
RECORD = Record(ROOT, "loan-scoring-" * 9, 123456, "2026-03-01T12:00:00.000000Z", "9f" * 32, IGNORED)
WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"


@pytest.mark.slow
def test_the_page_is_one_sheet_and_fits_every_screen(tmp_path: Path) -> None:
    place = tmp_path / "record.html"
    place.write_text(to_html(RECORD), encoding="utf-8")
    asked: list[str] = []
    said: list[str] = []

    def watch(page: Page) -> None:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(place.as_uri())

    with sync_playwright() as drivers:
        browser = drivers.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width in (390, 794, 1440):
            page = browser.new_page(viewport={"width": width, "height": 844})
            watch(page)
            needed, there = page.evaluate(WIDTHS)
            assert needed <= there, width
        printed = page.pdf(prefer_css_page_size=True)
        text = page.inner_text("body")
        browser.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    assert set(asked) == {place.as_uri()}
    assert said == []
    for word in words_of(ROOT):
        assert word in text
    assert MARK not in text  # it is in the code and for machines; a person compares digits or words
