"""What every answer tells the browser, what is served from the disk, and how large a body may be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.types import Message
from tests.unit.dashboard.served import TOKEN, Served, csrf

import assay.dashboard
from assay.dashboard.app import MOST_BODY_BYTES

EXPECTED = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/models/spam", 200),
        ("/models/none", 404),
        ("/incidents", 200),
        ("/incidents/1", 200),
        ("/incidents/99", 404),
        ("/incidents/-1", 422),
        ("/incidents/one", 422),
        ("/incidents/99999999999999999999999999", 422),
        ("/log", 200),
        ("/log/1", 200),
        ("/log/9999", 404),
        ("/log?before=no", 422),
        ("/log?before=-1", 422),
        ("/log?before=99999999999999999999999999", 422),
        ("/sign-in", 200),
        ("/sign-out", 405),
        ("/healthz", 200),
        ("/favicon.svg", 200),
        ("/static/assay.css", 200),
        ("/static/none.css", 404),
        ("/static/", 404),
        ("/none", 404),
        ("/log/", 404),
        ("/api/health", 200),
        ("/api/none", 404),
        ("/docs", 404),
        ("/openapi.json", 404),
        ("/broken", 500),
    ],
)
def test_every_answer_carries_the_policy(seen: Served, path: str, status: int) -> None:
    app = seen.app()

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret inside")

    answer = seen.person(app).get(path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert "Traceback" not in answer.text
    assert "secret inside" not in answer.text
    kind = answer.headers["content-type"]
    if status >= 400:
        assert kind == ("application/json" if path.startswith("/api/") else "text/html; charset=utf-8")


def test_who_is_turned_away_gets_the_policy_too(seen: Served) -> None:
    client = seen.stranger()
    answers = [
        client.get("/"),
        client.get("/api/health"),
        client.post("/sign-in", data={"token": "wrong"}),
        client.post("/sign-in", data={}),
        client.post("/sign-out", data={}),
        client.post("/sign-in", content=b"x" * (MOST_BODY_BYTES + 1), headers=FORM),
        client.delete("/"),
    ]
    assert [answer.status_code for answer in answers] == [303, 401, 403, 422, 303, 413, 303]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED


def test_pages_keep_to_their_own_policy(seen: Served) -> None:
    client = seen.person()
    for path in ("/", "/models/spam", "/incidents", "/incidents/1", "/log", "/log/1", "/sign-in", "/none"):
        text = client.get(path).text.lower()
        for forbidden in ("<script", "<style", ' style="', "<iframe", "<object", "<base", "javascript:"):
            assert forbidden not in text, (path, forbidden)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..\\app.py",
        "/static/../templates/base.html",
        "/static/../../errors.py",
        "/static/....//app.py",
        "/static//etc/passwd",
        "/static/../../../../../../../../../../etc/passwd",
        "/static/\x00",
        "/static/assay.css\x00.html",
        "/static/" + "a" * 5000,
        "/static/../static/../app.py",
    ],
)
def test_nothing_but_the_static_folder_is_served(seen: Served, path: str) -> None:
    status, body = raw(seen.app(), path)
    assert status == 404
    for secret in (b"create_app", b'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{%', b"root:"):
        assert secret not in body


def raw(app: FastAPI, path: str) -> tuple[int, bytes]:
    """Ask for a path exactly as given; clients tidy it up before they send it."""
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        said.append(message)

    scope: dict[str, object] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
    }
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope |= {"headers": [(b"host", b"127.0.0.1")], "client": ("192.0.2.1", 1), "server": ("127.0.0.1", 80)}
    asyncio.run(app(scope, receive, send))
    return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])


def test_the_static_folder_has_no_scripts() -> None:
    folder = Path(assay.dashboard.__file__).parent / "static"
    assert {path.suffix for path in folder.rglob("*")} == {".css"}
    for sheet in folder.rglob("*.css"):
        assert "url(" not in sheet.read_text()
        assert "@import" not in sheet.read_text()


def test_a_body_at_the_limit_is_read_and_one_beyond_is_not(seen: Served) -> None:
    client = seen.stranger()
    fill = MOST_BODY_BYTES - len(f"token={TOKEN}&next=/&x=")
    whole = f"token={TOKEN}&next=/&x=".encode() + b"x" * fill
    assert client.post("/sign-in", content=whole, headers=FORM).status_code == 303
    assert seen.stranger().post("/sign-in", content=whole + b"x", headers=FORM).status_code == 413


@pytest.mark.parametrize("length", ["", "-1", "+5", " ", "0x10", "1e3", "5, 5", "²", "9" * 30, "9" * 5000])
def test_a_length_that_is_no_number_is_refused(seen: Served, length: str) -> None:
    answer = seen.stranger().post(
        "/sign-in",
        content=f"token={TOKEN}",
        headers=[
            *((name.encode(), value.encode()) for name, value in FORM.items()),
            (b"content-length", length.encode("latin-1")),
        ],
    )
    assert answer.status_code == 413


def test_a_body_without_a_length_is_refused(seen: Served) -> None:
    def pieces() -> Iterator[bytes]:
        yield f"token={TOKEN}".encode()

    answer = seen.stranger().post("/sign-in", content=pieces(), headers=FORM)
    assert "transfer-encoding" in answer.request.headers
    assert answer.status_code == 413
    both = seen.stranger().post(
        "/sign-in", content=f"token={TOKEN}", headers={**FORM, "content-length": "5", "transfer-encoding": "chunked"}
    )
    assert both.status_code == 413  # chunked wins in HTTP, so the length says nothing
    assert seen.person().request("GET", "/", content=b"x" * (MOST_BODY_BYTES + 1)).status_code == 413


def test_a_file_in_place_of_a_field_is_refused(seen: Served) -> None:
    client = seen.person()
    answer = client.post(
        "/incidents/1/resolve", data={"who": "a", "csrf": csrf(client)}, files={"reason": ("x.txt", b"why")}
    )
    assert answer.status_code == 422
    assert seen.small.project.desk.show(1).incident.state != "resolved"
