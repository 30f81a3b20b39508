"""The pages in a real browser: quiet, alone with their server, and no wider than the screen."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from tests.unit.dashboard.served import TOKEN, Served

CHROMIUM = Path("/usr/bin/chromium")
PATHS = ("/", "/models/spam", "/incidents", "/incidents/1", "/log", "/log/1", "/none")


@pytest.fixture(scope="module")
def address(seen: Served) -> Iterator[str]:
    """The dashboard on a free port of this machine."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(seen.app(), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pages_are_quiet_alone_and_fit_the_screen(address: str, width: int, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    said: list[str] = []
    asked: set[str | None] = set()
    with playwright.sync_playwright() as drivers:
        browser = drivers.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
        page.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
        page.goto(f"{address}/models/spam")
        assert page.url.endswith("/sign-in?next=%2Fmodels%2Fspam")
        assert fits(page.evaluate(WIDTHS))
        assert not page.locator("input[autocomplete=username]").is_visible()
        page.fill("#token", TOKEN)
        page.click("button")
        assert page.url == f"{address}/models/spam"
        for path in PATHS:
            page.goto(f"{address}{path}")
            assert fits(page.evaluate(WIDTHS)), path
            assert page.locator("main").inner_text().strip()
        page.goto(f"{address}/models/spam")
        pictures = page.locator("figure svg:visible")
        assert pictures.count() >= 2
        assert pictures.first.bounding_box()["height"] > 50
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(16, 21, 28)") == (scheme == "dark")  # the stylesheet is let in by the policy
        page.click("text=Sign out")
        assert page.url.endswith("/sign-in")
        browser.close()
    assert asked == {"127.0.0.1"}
    assert [line for line in said if "/none:" not in line] == []  # a 404 is said there, and rightly


WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def fits(widths: list[int]) -> bool:
    """Whether nothing has to be scrolled to sideways."""
    return widths[0] <= widths[1]
