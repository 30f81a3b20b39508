"""Who gets in, who is kept out, and what a session is worth."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi import FastAPI
from tests.unit.dashboard.served import NOON, TOKEN, FakeClock, Served, csrf

from assay.dashboard.sessions import (
    COOKIE,
    LIFE,
    MOST_ADDRESSES,
    MOST_NAMED,
    MOST_SESSIONS,
    TRIES,
    TRIES_WITHIN,
    Sessions,
)

OPEN = {"/sign-in", "/healthz", "/favicon.svg"}
PAGES = [
    *("/", "/models/{name}", "/incidents", "/incidents/{number}", "/log", "/log/{position}"),
    *("/api/health", "/metrics"),
]
FORMS = ["/incidents/{number}/acknowledge", "/incidents/{number}/resolve", "/sign-out"]


def addresses(app: FastAPI, method: str) -> set[str]:
    """Every address that the application answers, with its parameters."""
    return {path for path, methods in app.openapi()["paths"].items() if method in methods}


def filled(path: str) -> str:
    return path.replace("{name}", "spam").replace("{number}", "1").replace("{position}", "1")


@pytest.mark.parametrize("path", PAGES)
def test_without_a_session_no_page_is_shown(seen: Served, path: str) -> None:
    answer = seen.stranger().get(filled(path))
    if path.startswith(("/api/", "/metrics")):  # for programs
        assert answer.status_code == 401
    else:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=%2F")
    assert "spam" not in answer.text


@pytest.mark.parametrize("host", ["a/static/?", "a/sign-in?", "a/healthz#", "a/static/x"])
def test_an_address_in_the_host_header_opens_nothing(seen: Served, host: str) -> None:
    answer = seen.stranger().get("/models/spam", headers={"host": host})
    assert answer.status_code in (303, 400)
    assert "spam" not in answer.text


def test_what_is_open_to_all_says_nothing_of_the_project(seen: Served) -> None:
    for path in OPEN:
        answer = seen.stranger().get(path)
        assert answer.status_code == 200
        assert "spam" not in answer.text
    for path in ("/sign-inward", "/healthzz", "/sign-in/../models/spam", "/static"):
        assert seen.stranger().get(path).status_code == 303


def test_a_wrong_token_opens_nothing(seen: Served) -> None:
    client = seen.stranger()
    for wrong in ("wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é", "\x00"):
        sessions = Sessions.guarded_by(TOKEN, FakeClock())
        assert not sessions.right(wrong, "192.0.2.1")
    answer = client.post("/sign-in", data={"token": "wrong"})
    assert answer.status_code == 403
    assert "That is not the token." in answer.text
    assert COOKIE not in client.cookies
    assert client.get("/").status_code == 303
    assert client.post("/sign-in", data={}).status_code == 422


@pytest.mark.parametrize("cookie", ["", "x", TOKEN, "None", "' OR 1=1--"])
def test_an_invented_cookie_is_no_session(seen: Served, cookie: str) -> None:
    assert seen.stranger().get("/", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 303


def test_after_five_wrong_tokens_even_the_right_one_waits(seen: Served) -> None:
    app = seen.app()
    for _ in range(TRIES):
        assert seen.stranger(app).post("/sign-in", data={"token": "guess"}).status_code == 403
    blocked = seen.stranger(app).post("/sign-in", data={"token": TOKEN})
    assert blocked.status_code == 429
    assert "set-cookie" not in blocked.headers
    api = seen.stranger(app).get("/api/health", headers={"authorization": f"Bearer {TOKEN}"})
    assert api.status_code == 429
    elsewhere = seen.stranger(app, address="192.0.2.2").post("/sign-in", data={"token": TOKEN})
    assert elsewhere.status_code == 303


def test_guessing_is_logged_once_a_spell_and_without_the_guesses(seen: Served) -> None:
    app, log = seen.app(), seen.small.project.log
    before = len(log.entries(kinds=["sign-in.blocked"]))
    for address in ("198.51.100.7", "198.51.100.8"):
        client = seen.stranger(app, address=address)
        for _ in range(TRIES + 3):
            client.post("/sign-in", data={"token": "hunter2"})
            client.get("/api/health", headers={"authorization": "Bearer hunter2"})
    found = [one.entry for one in log.entries(kinds=["sign-in.blocked"])[before:]]
    assert [entry.data["address"] for entry in found] == ["198.51.100.7", "198.51.100.8"]
    assert b"hunter2" not in b"".join(entry.canonical() for entry in found)


def test_guesses_from_a_whole_network_do_not_fill_the_log(seen: Served) -> None:
    app, log = seen.app(), seen.small.project.log
    before = len(log.entries(kinds=["sign-in.blocked"]))
    for host in range(MOST_NAMED + 20):
        client = seen.stranger(app, address=f"2001:db8::{host:x}")
        for _ in range(TRIES):
            client.get("/api/health", headers={"authorization": "Bearer wrong"})
    told = [one.entry.data["address"] for one in log.entries(kinds=["sign-in.blocked"])[before:]]
    assert len(told) == MOST_NAMED + 1
    assert told[-1] == "many"


def test_wrong_bearer_tokens_are_counted_too(seen: Served) -> None:
    client = seen.stranger()
    answers = [
        client.get("/api/health", headers={"authorization": f"Bearer {n}"}).status_code for n in range(TRIES + 1)
    ]
    assert answers == [401] * TRIES + [429]
    assert client.post("/sign-in", data={"token": TOKEN}).status_code == 429


def test_the_brake_lets_go_after_its_time() -> None:
    clock = FakeClock()
    sessions = Sessions.guarded_by(TOKEN, clock)
    for _ in range(TRIES):
        assert not sessions.right("guess", "a")
    assert sessions.blocked("a")
    assert not sessions.right(TOKEN, "a")  # asked at once, before the answer to the fifth
    clock.go(TRIES_WITHIN)
    assert not sessions.blocked("a")
    assert sessions.right(TOKEN, "a")


def test_guesses_from_many_addresses_do_not_fill_the_memory() -> None:
    sessions = Sessions.guarded_by(TOKEN, FakeClock())
    for n in range(MOST_ADDRESSES + 10):
        sessions.right("guess", str(n))
    assert len(sessions._wrong) == MOST_ADDRESSES


def test_a_cookie_set_before_sign_in_is_not_the_session_after(seen: Served) -> None:
    app = seen.app()
    client = seen.stranger(app)
    answer = client.post("/sign-in", data={"token": TOKEN}, headers={"cookie": f"{COOKIE}=planted"})
    given = answer.cookies[COOKIE]
    assert given != "planted"
    assert seen.stranger(app).get("/", headers={"cookie": f"{COOKIE}=planted"}).status_code == 303
    again = seen.stranger(app).post("/sign-in", data={"token": TOKEN}, headers={"cookie": f"{COOKIE}={given}"})
    assert again.cookies[COOKIE] != given
    assert seen.stranger(app).get("/", headers={"cookie": f"{COOKIE}={given}"}).status_code == 303  # the former is over


def test_the_cookie_is_kept_from_scripts_and_other_sites(seen: Served) -> None:
    answer = seen.stranger().post("/sign-in", data={"token": TOKEN})
    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "secure" not in parts
    behind_tls = seen.stranger(seen.app(secure=True)).post("/sign-in", data={"token": TOKEN})
    assert "secure" in {part.strip().lower() for part in behind_tls.headers["set-cookie"].split(";")}


def test_sessions_expire(seen: Served) -> None:
    other = Served(seen.small, FakeClock())
    client = other.person()
    other.clock.go(LIFE - timedelta(seconds=1))
    assert client.get("/").status_code == 200
    other.clock.go(timedelta(seconds=1))
    assert client.get("/").status_code == 303


def test_sessions_are_bounded_and_the_oldest_goes_first() -> None:
    sessions = Sessions.guarded_by(TOKEN, FakeClock(NOON))
    first, second = sessions.begin(), sessions.begin()
    for _ in range(MOST_SESSIONS - 1):
        sessions.begin()
    assert sessions.of(first.id) is None
    assert sessions.of(second.id) == second
    assert sessions.of(None) is None


def test_signing_out_ends_the_session_on_the_server(seen: Served) -> None:
    app = seen.app()
    client = seen.person(app)
    cookie = client.cookies[COOKIE]
    answer = client.post("/sign-out", data={"csrf": csrf(client)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert COOKIE not in client.cookies
    assert seen.stranger(app).get("/", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 303


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("fields", [{}, {"csrf": ""}, {"csrf": "guess"}, {"csrf": "é" * 300}])
def test_every_form_must_be_of_its_session(seen: Served, path: str, fields: dict[str, str]) -> None:
    client = seen.person()
    whole = {"who": "anna", "reason": "read", **fields}
    assert client.post(filled(path), data=whole).status_code == 403
    assert client.post(filled(path), data=fields).status_code == 403
    assert client.get("/").status_code == 200  # still signed in
    assert seen.small.project.desk.show(1).incident.state == "open"


def test_a_form_of_another_session_is_refused(seen: Served) -> None:
    app = seen.app()
    mine, other = seen.person(app), seen.person(app)
    assert csrf(mine) != csrf(other)
    assert mine.post("/sign-out", data={"csrf": csrf(other)}).status_code == 403
    answer = seen.stranger(app).post("/incidents/1/resolve", data={"csrf": csrf(other), "who": "a", "reason": "b"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_these_tables_name_every_address_of_the_application(seen: Served) -> None:
    app = seen.app()
    assert addresses(app, "get") == {*PAGES, *OPEN}
    assert addresses(app, "post") == {*FORMS, "/sign-in"}


@pytest.mark.parametrize(
    "away",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/a\r\nset-cookie: x=y",
        "",
    ],
)
def test_sign_in_leads_nowhere_else(seen: Served, away: str) -> None:
    answer = seen.stranger().post("/sign-in", data={"token": TOKEN, "next": away})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    shown = seen.stranger().get("/sign-in", params={"next": away})
    assert '<input type="hidden" name="next" value="/">' in shown.text


def test_sign_in_leads_back_to_the_page_that_was_asked_for(seen: Served) -> None:
    client = seen.stranger()
    form = client.get(client.get("/models/spam").headers["location"])
    assert '<input type="hidden" name="next" value="/models/spam">' in form.text
    wrong = client.post("/sign-in", data={"token": "wrong", "next": "/models/spam"})
    assert '<input type="hidden" name="next" value="/models/spam">' in wrong.text
    answer = client.post("/sign-in", data={"token": f" {TOKEN}\n", "next": "/models/spam"})
    assert answer.headers["location"] == "/models/spam"


def test_the_api_takes_the_token_and_nothing_else(seen: Served) -> None:
    client = seen.stranger()
    good = client.get("/api/health", headers={"authorization": f"Bearer {TOKEN}"})
    assert good.status_code == 200
    assert good.json()["models"][0]["name"] == "spam"
    assert COOKIE not in client.cookies
    for header in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"):
        refused = client.get("/api/health", headers={"authorization": header})
        assert refused.status_code == 401, header
        assert set(refused.json()) == {"error"}
    assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 303  # pages want a session
    assert seen.person().get("/api/health").status_code == 200
