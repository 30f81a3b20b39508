"""What the pages say: old is called old, text stays text, and a damaged log is no reason to be silent."""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from html import escape
from pathlib import Path
from urllib.parse import quote

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from tests.small_project import TODAY, build
from tests.unit.cli.prompt import at, typed
from tests.unit.dashboard.served import DAYS, HOSTILE, HOSTILE_MODEL, NOON, TOKEN, FakeClock, Served, csrf

from assay.dashboard.pages import model_page
from assay.errors import LogError
from assay.findings import Finding, Severity
from assay.incidents.rules import reported
from assay.project.auditing import verify_log
from assay.project.health import HEADLINES, last_diagnosis, model_health
from assay.project.integrity import verify_model

PAGES = ("/", "/models/spam", f"/models/{quote(HOSTILE_MODEL)}", "/incidents", "/incidents/1", "/log", "/log/1")
ESCAPED = escape(HOSTILE)
SQL = "'); DROP TABLE incidents;--"


def pill(text: str, kind: str) -> str:
    """The light of one kind of check in the table of checks."""
    found = re.search(rf'<td>{kind}</td><td><span class="pill (\w+)"', text)
    assert found is not None
    return str(found[1])


def spam_card(client: TestClient) -> str:
    return str(client.get("/").text).split('aria-labelledby="m-2"')[0]


@pytest.mark.parametrize("path", PAGES)
def test_hostile_names_stay_text(seen: Served, path: str) -> None:
    text = seen.person().get(path).text
    assert ESCAPED in text  # the project's name is on every page, and is hostile
    assert HOSTILE not in text
    assert "<img" not in text


def test_a_hostile_file_name_stays_text_where_the_refusal_is_told(seen: Served) -> None:
    client = seen.person()
    assert f"{ESCAPED}.txt is there and was not signed" in client.get("/models/spam").text
    refused = seen.small.project.log.entries(kinds=["verify.refused"])[-1].position
    assert f"{ESCAPED}.txt" in client.get(f"/log/{refused}").text


def test_a_hostile_model_name_leads_to_its_own_page(seen: Served) -> None:
    client = seen.person()
    link = re.search(r'href="(/models/%3Cimg[^"]+)"', client.get("/").text)
    assert link is not None
    page = client.get(link[1])
    assert page.status_code == 200
    assert f"<h1>{escape(HOSTILE_MODEL)}</h1>".replace("&#x27;", "&#39;") in page.text
    assert "never deployed" in page.text.lower()


def test_an_incident_says_what_the_diagnosis_said_and_leads_to_it(seen: Served, served: Served) -> None:
    found = last_diagnosis(seen.small.project, "spam")
    assert found is not None
    shown = seen.person().get("/incidents/1").text
    assert f"<strong>{found.verdict}</strong>" in shown
    assert escape(found.told).replace("&#x27;", "&#39;") in shown
    assert 'href="/models/spam"' in shown
    with at(seen.small.folder):
        assert f"UTC: {found.verdict}. " in typed("incident", "show", "1").out
    assert "was not diagnosed yet" in served.person().get("/incidents/1").text


def test_the_page_of_a_model_says_what_happened_once(seen: Served) -> None:
    """The headline of a verdict and its first sentence are the same news."""
    small, found = seen.small, last_diagnosis(seen.small.project, "spam")
    assert found is not None
    health = model_health(small.project, "spam", (), now=NOON)
    _, headline = HEADLINES[found.verdict]
    for said, repeated in ((headline, True), ("the deployed bytes are not the signed ones", False)):
        values = model_page(small.project, replace(health, headline=said), NOON)
        assert values["repeated"] is repeated


def test_what_people_write_stays_text_and_stays_whole(served: Served) -> None:
    client = served.person()
    who, reason = f"{HOSTILE}{SQL}", f'"><script>alert(1)</script>{SQL} {{{{ 7 * 7 }}}}'
    taken = client.post("/incidents/1/acknowledge", data={"csrf": csrf(client), "who": f"  {who} "})
    assert (taken.status_code, taken.headers["location"]) == (303, "/incidents/1")
    assert served.small.project.desk.show(1).incident.owner == who
    assert "I have it" not in client.get("/incidents/1").text
    client.post("/incidents/1/resolve", data={"csrf": csrf(client), "who": who, "reason": reason})
    shown = served.small.project.desk.show(1)
    assert shown.incident.state == "resolved"
    assert any(reason in step.detail for step in shown.steps)
    for path in ("/", "/incidents", "/incidents/1", f"/log/{served.small.project.log.size() - 1}"):
        text = client.get(path).text
        assert "<img" not in text
        assert "<script" not in text
    page = client.get("/incidents/1").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "Act</h2>" not in page


def test_a_hostile_incident_title_stays_text(served: Served) -> None:
    finding = Finding("artifact.extra", HOSTILE, Severity.ERROR, f"{HOSTILE} was found")
    spec = reported("audit", HOSTILE, HOSTILE, [finding])
    number = served.small.project.desk.report(spec, TODAY)
    client = served.person()
    for path in ("/", "/incidents", f"/incidents/{number}"):
        text = client.get(path).text
        assert "<img" not in text
        assert ESCAPED in text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("acknowledge", {"who": ""}),
        ("acknowledge", {"who": "  \t"}),
        ("acknowledge", {"who": "a" * 101}),
        ("acknowledge", {"who": "anna\x1b[2J"}),
        ("acknowledge", {"who": "anna\nresolved by ben"}),
        ("resolve", {"who": "anna", "reason": " "}),
        ("resolve", {"who": "anna"}),
        ("resolve", {"who": "anna", "reason": "a" * 2001}),
    ],
)
def test_nobody_takes_or_closes_an_incident_without_a_word(seen: Served, path: str, fields: dict[str, str]) -> None:
    client = seen.person()
    answer = client.post(f"/incidents/1/{path}", data={"csrf": csrf(client), **fields})
    assert answer.status_code == 422
    assert seen.small.project.desk.show(1).incident.state == "open"


def test_an_incident_that_is_closed_or_unknown_cannot_be_acted_on(served: Served) -> None:
    client = served.person()
    fields = {"csrf": csrf(client), "who": "anna", "reason": "a test"}
    assert client.post("/incidents/99/resolve", data=fields).status_code == 409
    assert client.post("/incidents/1/resolve", data=fields).status_code == 303
    assert client.post("/incidents/1/resolve", data=fields).status_code == 409
    assert client.post("/incidents/1/acknowledge", data=fields).status_code == 409
    assert client.get("/incidents/99").status_code == 404


@pytest.mark.parametrize("name", ["none", "../spam", "spam%00", "spam'--", "SPAM", "spam%2F..%2Fspam", quote(SQL)])
def test_an_unknown_model_is_said_to_be_unknown(seen: Served, name: str) -> None:
    answer = seen.person().get(f"/models/{name}")
    assert answer.status_code == 404
    assert "Does it perform?" not in answer.text


def test_what_was_not_checked_lately_is_stale_and_never_good(seen: Served) -> None:
    other = Served(seen.small, FakeClock(NOON))
    client = other.person()
    assert pill(spam_card(client), "data") == "good"
    other.clock.go(timedelta(days=300))
    client = other.person()
    for text in (spam_card(client), client.get("/models/spam").text):
        lights = {kind: pill(text, kind) for kind in ("bytes", "data", "validation", "monitoring", "diagnosis")}
        assert "good" not in lights.values()
        assert lights["bytes"] == "bad"  # an old failure does not heal by waiting
        assert {lights["data"], lights["validation"]} == {"stale"}
        assert 'class="pill good"' not in text
        assert 'class="banner good"' not in text
    checks = client.get("/api/health").json()["models"][0]["checks"]
    assert checks["data"]["light"] == "stale"
    assert checks["data"]["outcome"] == "pass"


def test_a_model_nobody_ever_checked_is_not_good(seen: Served) -> None:
    text = seen.person().get(f"/models/{quote(HOSTILE_MODEL)}").text
    assert 'class="pill good"' not in text
    assert pill(text, "bytes") == "never"


def test_a_model_that_is_well_is_green_only_for_a_while(served: Served) -> None:
    (served.small.model / f"{HOSTILE}.txt").unlink()
    served.small.project.desk.resolve(1, "anna", "a stray file", TODAY)
    served.small.serve(1, start=TODAY)
    served.small.project.monitor("spam", TODAY + timedelta(days=1))
    verify_model(served.small.project, "spam", now=TODAY + timedelta(days=1))
    served.clock.time = TODAY + timedelta(days=1)
    assert "as deployed, and behaving as approved" in spam_card(served.person())
    served.clock.go(timedelta(days=4))
    card = spam_card(served.person())
    assert "as deployed, and behaving as approved" not in card
    assert "not checked lately" in card


def test_the_page_of_a_model_shows_its_curves_and_its_alarms(seen: Served) -> None:
    text = seen.person().get("/models/spam").text
    assert text.count("<svg ") == text.count("</svg>") >= 4  # each in two widths
    assert '<h2 id="alarms">Alarms</h2>' in text
    assert "None. The budget" not in text
    assert "var(--bad)" in text  # the alarm in the picture
    assert "version 1, since" in text or "1, since 2026-03-02" in text


def test_the_page_of_a_model_says_which_rows_have_labels(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.sign()
    small.serve(10)
    (path,) = (small.folder / "predictions").iterdir()
    table = pq.read_table(path)
    refused = pc.equal(table["pred"], "spam")
    pq.write_table(table.set_column(3, "y", pc.if_else(refused, table["y"], None)), path)
    now = TODAY + timedelta(days=10)
    found = {finding.rule for finding in small.project.monitor("spam", now).findings}
    served = Served(small)
    text = " ".join(re.sub(r"<[^>]+>", " ", served.person().get("/models/spam").text).split())
    assert "label.selected" in found
    rows, known = len(table), int(pc.sum(refused).as_py())
    assert re.search(
        r"Labels that have come .* 0 to 1h 1 \d+ % 1h to 1d 39 \d+ % 1d to 7d 240 \d+ % 7d to 30d 120 ", text
    )
    said = f"chosen labels have come for 0% of the {rows - known} rows predicted ham and for 100% of the {known}"
    assert said in text


def test_numbers_lead_to_the_entries_they_come_from(seen: Served) -> None:
    client = seen.person()
    positions = {int(found) for found in re.findall(r'href="/log/(\d+)"', client.get("/models/spam").text)}
    assert len(positions) > 3
    for position in positions:
        page = client.get(f"/log/{position}")
        assert page.status_code == 200
        assert "Proof that it is in the log" in page.text


def test_the_log_is_turned_over_page_by_page(seen: Served) -> None:
    client, size = seen.person(), seen.small.project.log.size()
    shown = re.findall(r'<tr><td><a href="/log/(\d+)"', client.get("/log?before=3").text)
    assert shown == ["2", "1", "0"]
    beyond = re.findall(r'<tr><td><a href="/log/(\d+)"', client.get(f"/log?before={size + 100}").text)
    assert beyond[0] == str(size - 1)
    assert client.get("/log?before=0").status_code == 200


def test_the_api_says_what_the_pages_say(seen: Served) -> None:
    said = seen.person().get("/api/health").json()
    model = said["models"][0]
    assert (model["name"], model["light"]) == ("spam", "bad")
    assert model["headline"] in spam_card(seen.person())
    assert said["log"]["size"] == seen.small.project.log.size()
    assert said["project"] == f'{HOSTILE}"'
    assert TOKEN not in str(said)


def damage(served: Served, statement: str) -> None:
    with sqlite3.connect(served.small.project.log_database) as database:
        assert database.execute(statement).rowcount > 0
    database.close()


REWORD = (
    "update entries set body = cast(replace(body, 'report read', 'report lost') as blob) where kind = 'approval.given'"
)
UNREADABLE = "update entries set body = cast('{' as blob) where kind = 'approval.given'"
DELETED = "delete from entries where kind = 'approval.given'"
WRONG_TYPE = "update entries set body = 'text' where kind = 'approval.given'"
NO_NODES = "delete from nodes"


@pytest.mark.parametrize("statement", [REWORD, UNREADABLE, DELETED, WRONG_TYPE, NO_NODES])
def test_with_a_damaged_log_pages_still_answer_and_say_so(served: Served, statement: str) -> None:
    client = served.person()
    damage(served, statement)
    with suppress(LogError):  # a log too damaged to note it in; the check is remembered all the same
        verify_log(served.small.project, now=NOON)
    for path in ("/", "/models/spam", "/incidents", "/log", "/api/health"):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
    overview = client.get("/").text
    assert re.search(r'pill bad"><span aria-hidden="true">✗</span>last verified', overview)
    assert re.search(r'pill bad"><span aria-hidden="true">✗</span>verified', client.get("/log").text)
    assert client.get("/api/health").json()["log"]["light"] == "bad"


def test_an_entry_in_the_place_of_a_deleted_one_is_not_shown_as_proved(served: Served) -> None:
    (given,) = served.small.project.log.entries(kinds=["approval.given"])
    client = served.person()
    assert "Proof that it is in the log" in client.get(f"/log/{given.position}").text
    damage(served, DELETED)
    page = client.get(f"/log/{given.position}").text
    assert "This is not what was logged." in page or "That did not work" in page
    assert "Proof that it is in the log" not in page
    assert "Proof that it is in the log" in client.get(f"/log/{given.position - 1}").text


@pytest.mark.parametrize("statement", [REWORD, UNREADABLE, WRONG_TYPE])
def test_an_edited_entry_is_an_error_page_and_the_others_are_shown(served: Served, statement: str) -> None:
    (given,) = served.small.project.log.entries(kinds=["approval.given"])
    client = served.person()
    damage(served, statement)
    answer = client.get(f"/log/{given.position}")
    assert answer.status_code == 503
    assert "That did not work" in answer.text
    assert "assay log verify" in answer.text
    assert client.get("/log/0").status_code == 200
    assert 'role="alert"' in client.get("/log").text
    assert "The log is damaged" in client.get("/models/spam").text


def test_a_database_that_is_no_database_is_an_error_page(served: Served) -> None:
    client = served.person()
    served.small.project.log.close()
    path = served.small.project.log_database
    with open(path, "wb") as file:  # noqa: PTH123 - a path or an address of a server
        file.write(b"this is no database at all" * 1000)
    for suffix in ("-wal", "-shm"):
        (served.small.folder / ".assay" / f"audit.db{suffix}").unlink(missing_ok=True)
    answer = client.get("/")
    assert answer.status_code == 503
    assert "That did not work" in answer.text
    assert client.get("/healthz").status_code == 200


def test_days_of_the_fixture_are_the_days_shown(seen: Served) -> None:
    text = seen.person().get("/models/spam").text
    assert f"Numbers of the last {DAYS} points" in text
