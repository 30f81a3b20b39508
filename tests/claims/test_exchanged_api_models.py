"""A model behind an API that is exchanged, quantised, fine-tuned or set to another temperature is found."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.served_model import Letters, Served, description, serve
from tests.unit.cli.prompt import FAULT, Answer, at, typed

from assay.errors import AnswerError
from assay.frameworks.asking import Endpoint

SECRET = "Bearer sk-live-0123456789"
WAYS = ("probabilities", "logarithms", "sampled", "greedy")
FEW = ("--count", "5", "--pairs", "300")


@contextmanager
def project(folder: Path, served: Served, *, more: str = "") -> Iterator[Path]:
    """A signed description of the API, and 30 requests to choose probes from."""
    (folder / "api").mkdir(parents=True)
    (folder / "api" / "endpoint.toml").write_text(description(served, more=more))
    (folder / "requests.json").write_text(json.dumps([{"number": number / 3} for number in range(30)]))
    (folder / "assay.toml").write_text(
        f'[project]\nname = "api"\n[log]\ncheckpoints = ["{folder}/outside"]\n'
        '[models.letters]\npath = "api"\nframework = "http"\n'
        f'[alerts]\nsecurity = ["file://{folder}/security.jsonl"]\n'
    )
    with at(folder):
        assert typed("keys", "new", "release.pem", "--plain").code == 0
        assert typed("keys", "trust", "release@acme.example", "release.pub").code == 0
        assert typed("sign", "letters", "--key", "release.pem").code == 0
        yield folder


def record(*options: object) -> Answer:
    answer = typed(
        "fingerprint",
        "letters",
        "--record",
        "--key",
        "release.pem",
        "--probes",
        "requests.json",
        *(options or FEW),
        "--json",
    )
    assert answer.code == 0, answer.out + answer.err
    return answer


def ask(*options: object) -> Answer:
    answer = typed("fingerprint", "letters", *options, "--json")
    assert FAULT not in answer.out + answer.err
    return answer


@pytest.mark.parametrize("way", WAYS)
def test_the_same_model_is_the_same(way: str, tmp_path: Path) -> None:
    with serve(Letters(), way) as served, project(tmp_path, served):
        kind = {"sampled": "sampled"}.get(way, "exact")
        assert record().data["kind"] == kind
        answers = [ask("--queries", "300") for _ in range(3)]
        assert [answer.code for answer in answers] == [0, 0, 0], answers
        assert [answer.data["outcome"] for answer in answers] == ["same"] * 3
        assert answers[0].data["queries"] == (300 if way == "sampled" else 5)  # one pass is enough
        assert typed("log", "verify").code in {0, 3}


CHANGES = {
    "exchanged": (Letters(seed=7), "other model"),
    "fine-tuned": (Letters().tuned(0.5), "other model"),
    "4 bits": (Letters().quantised(4), "other model"),
    "8 bits": (Letters().quantised(8), "other model"),
    "temperature": (Letters(temperature=0.7), "sharper"),
}


@pytest.mark.parametrize("way", ["probabilities", "logarithms"])
@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_a_fact_where_the_api_tells_probabilities(change: str, way: str, tmp_path: Path) -> None:
    with serve(Letters(), way) as served, project(tmp_path, served):
        record()
        served.model, named = CHANGES[change]
        found = ask()
        assert (found.code, found.data["outcome"], found.data["change"]) == (1, "changed", named), found
        if named == "sharper":
            assert found.data["temperature"] == pytest.approx(0.7, abs=0.01)
        assert isinstance(queries := found.data["queries"], int)
        assert queries <= 15


@pytest.mark.parametrize("change", ["exchanged", "temperature"])
def test_a_change_is_found_by_evidence_where_answers_vary(change: str, tmp_path: Path) -> None:
    with serve(Letters(), "sampled") as served, project(tmp_path, served):
        record()
        served.model = {"exchanged": Letters(seed=7), "temperature": Letters(temperature=0.5)}[change]
        found = ask("--queries", "1500")
        assert (found.code, found.data["outcome"]) == (1, "changed"), found
        assert found.data["change"] == {"exchanged": "other model", "temperature": "sharper"}[change]
        assert isinstance(log_e := found.data["log_e"], float)
        assert log_e >= 4.6  # ln(1 / 0.01)


def test_a_greedy_model_that_is_exchanged_or_begins_to_vary_is_found(tmp_path: Path) -> None:
    with serve(Letters(), "greedy") as served, project(tmp_path, served):
        record()
        served.model = Letters(seed=7)
        assert ask().data["outcome"] == "changed"
        served.model, served.way = Letters(), "sampled"
        found = ask()
        assert (found.code, found.data["change"]) == (1, "varies"), found


def test_an_exchanged_model_tells_security_and_is_in_the_log(tmp_path: Path) -> None:
    with serve(Letters()) as served, project(tmp_path, served):
        record()
        served.model = Letters(seed=7)
        assert ask().code == 1
        told = (tmp_path / "security.jsonl").read_text()
        assert "another model answers" in told
        incidents = typed("incident", "list", "--json").data["incidents"]
        assert isinstance(incidents, list)
        assert [(one["kind"], one["severity"]) for one in incidents] == [("integrity", "critical")]
        shown = typed("log", "show", "--json").out
        assert "fingerprint.recorded" in shown
        assert "fingerprint.changed" in shown


def test_small_evidence_of_many_runs_adds_up_and_stored_answers_are_used_once(tmp_path: Path) -> None:
    with serve(Letters(), "sampled") as served, project(tmp_path, served):
        record("--count", "5", "--pairs", "60")
        served.model = Letters(temperature=0.9)  # hardly a change: all stored answers are used up first
        codes = [ask("--queries", "100").code for _ in range(4)]
        assert codes[0] == 0
        assert codes[-1] == 3
        assert "used up" in ask().out


BAD = {
    "errors": (500, {}, b"Traceback: password=hunter2"),
    "no JSON": (200, {}, b"<html>"),
    "nested": (200, {}, b"[" * 15000),
    "not a number": (200, {}, b'{"choices": [{"text": "a", "probabilities": {"a": NaN}}]}'),
    "no probabilities": (200, {}, b'{"choices": [{"text": "a", "probabilities": {"a": 7}}]}'),
    "other shape": (200, {}, b'{"answer": "a"}'),
    "half a letter": (200, {}, b'{"choices": [{"text": "\\ud800", "probabilities": {"a": 1}}]}'),
    "huge": (200, {}, b'"' + b"a" * 3_000_000 + b'"'),
    "cut short": (200, {"Content-Length": "900"}, b'{"choices": []}'),
    "sent elsewhere": (302, {"Location": "https://example.org/"}, b""),
    "compressed": (200, {"Content-Encoding": "gzip"}, b"{}"),
    "empty": (200, {}, b""),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_answer_is_never_the_same(bad: str, tmp_path: Path) -> None:
    with serve(Letters()) as served, project(tmp_path, served):
        record()
        served.raw = lambda: BAD[bad]
        found = ask()
        assert (found.code, found.data["outcome"]) == (3, "unknown"), found
        assert "hunter2" not in found.out + typed("log", "show", "--json").out
        served.raw = None
        assert ask().code == 0


@pytest.mark.parametrize("way", ["probabilities", "sampled"])
def test_an_api_that_fails_now_and_then_is_never_the_same(way: str, tmp_path: Path) -> None:
    with serve(Letters(), way) as served, project(tmp_path, served):
        record()
        served.fail_every = 4
        found = ask()
        assert (found.code, found.data["outcome"]) == (3, "unknown")
        assert "status 500" in str(found.data["trouble"])


def test_a_failing_api_is_not_recorded(tmp_path: Path) -> None:
    with serve(Letters(), "sampled") as served, project(tmp_path, served):
        served.fail_every = 50
        found = typed("fingerprint", "letters", "--record", "--key", "release.pem", "--probes", "requests.json")
        found.refused(3, "status 500")
        typed("fingerprint", "letters").refused(3, "has no fingerprint")


def test_a_slow_answer_and_one_that_drips_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Endpoint.ask

    def hurried(self: Endpoint, body: object = None, query: Mapping[str, str] | None = None) -> object:
        return whole(replace(self, timeout_s=0.4), body, query)

    with serve(Letters()) as served, project(tmp_path, served):
        record()
        monkeypatch.setattr(Endpoint, "ask", hurried)
        served.wait_s = 1.0
        found = ask()
        assert (found.code, found.data["trouble"]) == (3, f"{served.url} gave no whole answer in 0.4 s")

    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        stream, _ = listener.accept()
        with stream:
            try:
                for letter in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1000:
                    stream.sendall(bytes([letter]))
                    threading.Event().wait(0.05)
            except OSError:
                return

    threading.Thread(target=drip, daemon=True).start()
    with listener, pytest.raises(AnswerError, match=r"no whole answer in 0\.4 s"):
        Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.4).ask({})


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as taken, serve(Letters()) as served, project(tmp_path, served):
        record()
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        gone = taken.getsockname()[1]
        text = (tmp_path / "api" / "endpoint.toml").read_text()
        (tmp_path / "api" / "endpoint.toml").write_text(text.replace(served.url, f"http://127.0.0.1:{gone}/"))
        ask().refused(1, "endpoint.toml")  # first of all: the description is not what was signed
        assert typed("sign", "letters", "--key", "release.pem").code == 0
        ask().refused(3, "record it again")


def test_secrets_are_read_from_the_environment_and_stand_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(Letters()) as served, project(tmp_path, served, more='headers = {Authorization = "LETTERS_TOKEN"}'):
        missing = typed("fingerprint", "letters", "--record", "--key", "release.pem", "--probes", "requests.json")
        missing.refused(3, "$LETTERS_TOKEN is not set")
        monkeypatch.setenv("LETTERS_TOKEN", SECRET + "\r\nX-Evil: 1")
        ill = typed("fingerprint", "letters", "--record", "--key", "release.pem", "--probes", "requests.json")
        ill.refused(3, "characters that no header has")
        assert SECRET not in ill.out + ill.err
        monkeypatch.setenv("LETTERS_TOKEN", SECRET)
        said = record().out + ask().out
        assert served.headers["Authorization"] == SECRET
        served.raw = lambda: (401, {}, SECRET.encode())
        said += ask().out + typed("log", "show", "--json").out
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert SECRET not in said
        assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_fingerprint_that_nobody_signed_does_not_count(tmp_path: Path) -> None:
    import sqlite3

    with serve(Letters()) as served, project(tmp_path, served):
        record()
        with sqlite3.connect(tmp_path / ".assay" / "state.db") as base:
            (text,) = base.execute("select envelope from statements where kind = 'fingerprint'").fetchone()
            body = json.loads(text)
            body["signatures"][0]["sig"] = body["signatures"][0]["sig"][::-1]
            base.execute("update statements set envelope = ? where kind = 'fingerprint'", (json.dumps(body),))
        base.close()
        assert ask().code in {1, 3}
        assert ask().code != 0
        assert typed("keys", "new", "stranger.pem", "--plain").code == 0
        stranger = typed("fingerprint", "letters", "--record", "--key", "stranger.pem", "--probes", "requests.json")
        assert stranger.code == 1, stranger


def test_what_is_due_asks_by_itself(tmp_path: Path) -> None:
    with serve(Letters()) as served, project(tmp_path, served):
        record()
        served.model = Letters(seed=7)
        done = typed("tick", "--json").data["done"]
        assert isinstance(done, list)
        assert {one["what"]: one["outcome"] for one in done}["fingerprint letters"] == "fail"
        assert "another model answers" in (tmp_path / "security.jsonl").read_text()
