"""A small project with its dashboard, and a browser without a window."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.small_project import CONFIG, TODAY, Small, build

from assay.dashboard.app import create_app
from assay.errors import VerificationError
from assay.project.integrity import verify_model
from assay.project.project import Project

TOKEN = "correct horse battery staple"
HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_MODEL = f"{HOSTILE}' OR 1=1--"
HOSTILE_CONFIG = (
    CONFIG.replace('name = "small"', f"name = '''{HOSTILE}\"'''")
    + f'\n[models."{HOSTILE_MODEL}"]\npath = "models/none"\n'
)
DAYS = 4
NOON = TODAY + timedelta(days=DAYS, hours=12)


@dataclass
class FakeClock:
    """A clock that goes when it is told to."""

    time: datetime = NOON

    def __call__(self) -> datetime:
        return self.time

    def go(self, step: timedelta) -> None:
        self.time += step


@dataclass(frozen=True)
class Served:
    """The dashboard of a project."""

    small: Small
    clock: FakeClock = field(default_factory=FakeClock)

    def app(self, *, project: Project | None = None, secure: bool = False) -> FastAPI:
        return create_app(project or self.small.project, token=TOKEN, clock=self.clock, secure=secure)

    def stranger(self, app: FastAPI | None = None, *, address: str = "192.0.2.1") -> TestClient:
        """A browser that has not signed in; an error of the server is an answer, as it is over the wire."""
        return TestClient(
            app or self.app(), raise_server_exceptions=False, follow_redirects=False, client=(address, 50_000)
        )

    def person(self, app: FastAPI | None = None) -> TestClient:
        """A browser that has signed in."""
        client = self.stranger(app)
        assert client.post("/sign-in", data={"token": TOKEN}).status_code == 303
        return client


def csrf(client: TestClient) -> str:
    """What the forms of this session carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/incidents").text)
    assert found is not None
    return found[1]


def tampered(folder: Path) -> Served:
    """A live model that got a file with a hostile name, and the incident its refusal opened."""
    small = build(folder, config=HOSTILE_CONFIG)
    small.go_live()
    return _refused(small, TODAY)


def watched(folder: Path) -> Served:
    """The same after some days of predictions, the last ones from moved inputs, and what monitoring said."""
    small = build(folder, config=HOSTILE_CONFIG)
    small.go_live()
    small.serve(2, start=TODAY)
    small.serve(DAYS - 2, start=TODAY + timedelta(days=2), seed=6, shift=3.0)
    now = TODAY + timedelta(days=DAYS)
    small.project.monitor("spam", now)
    return _refused(small, now)


def _refused(small: Small, now: datetime) -> Served:
    (small.model / f"{HOSTILE}.txt").write_text("x")
    with pytest.raises(VerificationError):
        verify_model(small.project, "spam", now=now)
    small.project.tell(now)
    return Served(small)
