"""What every channel of incidents/channels promises."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import pytest

from assay.errors import AlertError
from assay.incidents.audiences import Channels
from assay.incidents.channels.base import Channel, Message
from assay.incidents.channels.shelf import EVERYTHING_ELSE, TABLE, digest_of, label_of, open_channel, scheme

SECRET = "T0KEN-hunter2"
MESSAGE = Message(
    id="example.org/log/7",
    source="example.org/log",
    incident=7,
    kind="integrity",
    model="späm <b>",
    severity="critical",
    title="späm: the model is not what was signed",
    text="model.skops changed at byte 17\nand \x1b[31mmore",
    time=datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
)


class Service:
    """A chat service on this machine that takes what it is sent, or refuses it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, object]]] = []
        self.status = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.taken.append((self.path, json.loads(body)))
                self.send_response(service.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/hooks/{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(params=["console", "file", "apprise"])
def working(request: pytest.FixtureRequest, tmp_path: Path, service: Service) -> str:
    return {"console": "console://", "file": f"file://{tmp_path}/a%20b.jsonl", "apprise": service.url}[request.param]


@pytest.fixture(params=["file", "apprise-down", "apprise-refused"])
def broken(request: pytest.FixtureRequest, tmp_path: Path, service: Service) -> str:
    (tmp_path / SECRET).write_text("a file where a folder is wanted")
    service.status = 500
    return {
        "file": f"file://{tmp_path}/{SECRET}/a.jsonl",
        "apprise-down": f"json://127.0.0.1:9/{SECRET}",
        "apprise-refused": service.url,
    }[request.param]


@pytest.mark.parametrize("where", [*TABLE.values(), EVERYTHING_ELSE])
def test_every_line_of_the_table_names_a_channel(where: str) -> None:
    module, _, name = where.partition(":")
    assert callable(getattr(import_module(module), name).send)


def test_a_channel_takes_the_same_message_twice(
    working: str, tmp_path: Path, service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    channel: Channel = open_channel(working)
    channel.send(MESSAGE)
    channel.send(MESSAGE)  # at least once is the promise
    file, said = tmp_path / "a b.jsonl", capfd.readouterr()
    kept = file.read_text(encoding="utf-8") if file.exists() else ""
    posted = json.dumps([body for _, body in service.taken], ensure_ascii=False)
    assert f"{said.out}{said.err}{kept}{posted}".count("the model is not what was signed") == 2


def test_a_channel_that_takes_nothing_says_so_without_its_address(
    broken: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(AlertError) as caught:
        open_channel(broken).send(MESSAGE)
    said = capfd.readouterr()
    assert SECRET not in f"{caught.value}{caplog.text}{said.out}{said.err}"


@pytest.mark.parametrize(
    "url",
    [
        f"nosuchservice://{SECRET}/",
        f"slack://{SECRET}",
        f"file://host/{SECRET}",
        f"file:{SECRET}",
        f"console://{SECRET}",
        "file:///",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_naming_it(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(AlertError) as caught:
        open_channel(url)
    said = capfd.readouterr()
    assert SECRET not in f"{caught.value}{caplog.text}{said.out}{said.err}"


@pytest.mark.parametrize("url", ["", "slack", SECRET, "a b://x", "://x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(AlertError) as caught:
        scheme(url)
    assert SECRET not in str(caught.value)


def test_a_service_gets_title_text_and_severity(service: Service) -> None:
    open_channel(service.url).send(MESSAGE)
    ((path, body),) = service.taken
    assert path == f"/hooks/{SECRET}"
    assert body["title"] == MESSAGE.title
    assert "byte 17" in str(body["message"])
    assert body["type"] == "failure"


def test_a_file_gets_cloudevents(tmp_path: Path) -> None:
    channel = open_channel(f"file://{tmp_path}/new/alerts.jsonl")
    channel.send(MESSAGE)
    channel.send(MESSAGE)
    path = tmp_path / "new" / "alerts.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    found = json.loads(lines[0])
    assert (found["specversion"], found["id"], found["source"]) == ("1.0", MESSAGE.id, "/assay/example.org/log")
    assert (found["type"], found["subject"]) == ("dev.assay.incident.integrity", MESSAGE.model)
    assert found["time"] == "2026-03-01T09:00:00.000000Z"
    assert found["data"]["text"] == MESSAGE.text
    assert path.stat().st_mode & 0o077 == 0


def test_the_console_shows_control_characters_and_obeys_none(capsys: pytest.CaptureFixture[str]) -> None:
    open_channel("console://").send(MESSAGE)
    said = capsys.readouterr()
    assert said.out == ""
    assert "CRITICAL" in said.err
    assert "byte 17" in said.err
    assert "\x1b" not in said.err


def test_a_name_for_people_holds_no_secret() -> None:
    url = f"slack://{SECRET}@workspace"
    assert label_of(url) == f"slack#{digest_of(url)[:8]}"
    channels = Channels(security=[url])
    assert SECRET not in repr(channels)
    assert SECRET not in channels.label(digest_of(url))
    assert channels.of("owners") == channels.of("security") == (digest_of(url),)


def test_a_plug_that_raises_anything_fails_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(url: str) -> Channel:
        raise RuntimeError(f"cannot reach {url}")

    monkeypatch.setattr("assay.incidents.audiences.open_channel", explode)
    url = f"odd://{SECRET}"
    with pytest.raises(AlertError, match="RuntimeError") as caught:
        Channels(security=[url]).send(digest_of(url), MESSAGE)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_channel_that_left_the_configuration_is_said_to_be_gone() -> None:
    with pytest.raises(AlertError, match="no longer"):
        Channels().send("ab" * 32, MESSAGE)
