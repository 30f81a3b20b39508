"""What a service answers is recorded, and nothing that the middleware does is seen by anyone who asks it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.integrations.asgi import Exchange, Message, Receive, RecordingMiddleware, Scope, Send, current_request_id
from assay.monitoring.recorder import Recorder

ROOT = "ab" * 32


def read(exchange: Exchange) -> Mapping[str, object] | None:
    """The row of an exchange of JSON."""
    if exchange.status != 200:
        return json.loads(exchange.request or b"{}")  # type: ignore[no-any-return]  # a test's own
    asked, said = json.loads(exchange.request or b""), json.loads(exchange.answer or b"")
    return {**asked, "prediction": said["label"], "confidence": said["p"]}


def rows(folder: Path) -> list[dict[str, object]]:
    table = DuckDb().rows(Source((str(folder / "**" / "*.parquet"),)), time="time")
    found: list[dict[str, object]] = table.to_pylist()
    return found


def scope(path: str = "/predict", *headers: tuple[bytes, bytes], kind: str = "http") -> Scope:
    return {"type": kind, "asgi": {"version": "3.0"}, "method": "POST", "path": path, "headers": list(headers)}


def drive(app: Callable[[Scope, Receive, Send], Awaitable[None]], asked: Scope, *body: bytes) -> list[Message]:
    """Hand the body over in these parts; gives what was sent."""
    sent: list[Message] = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    parts.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return parts.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(_run(app, asked, receive, send))
    return sent


async def _run(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], asked: Scope, receive: Receive, send: Send
) -> None:
    await app(asked, receive, send)


async def answering(asked: Scope, receive: Receive, send: Send) -> None:
    """A service: spam or ham by the length of the text."""
    del asked
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    text = json.loads(body)["text"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-mine", b"1")]})
    said = json.dumps({"label": "spam" if len(text) > 3 else "ham", "p": 0.75, "id": current_request_id()}).encode()
    for letter in said:
        await send({"type": "http.response.body", "body": bytes([letter]), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_request_and_its_answer_are_recorded_and_pass_untouched(tmp_path: Path) -> None:
    told: list[Message] = []

    async def app(asked: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            told.append(message)
            await send(message)

        await answering(asked, receive, noted)

    with Recorder(tmp_path, model=ROOT) as recorder:
        parts = (b'{"te', b'xt": "long one"}')
        sent = drive(RecordingMiddleware(app, recorder, read, paths=["/predict"]), scope(), *parts)
    assert len(sent) > 10
    assert [id(message) for message in sent] == [id(message) for message in told]
    said = json.loads(b"".join(m.get("body", b"") for m in sent))
    (row,) = rows(tmp_path)
    assert (row["text"], row["prediction"], row["confidence"], row["error"]) == ("long one", "spam", 0.75, None)
    assert row["request_id"] == said["id"]
    assert isinstance(row["latency_s"], float)
    assert 0 < row["latency_s"] < 60
    assert sent[0] == {"type": "http.response.start", "status": 200, "headers": [(b"x-mine", b"1")]}
    assert current_request_id() is None


@pytest.mark.parametrize(
    ("header", "kept"), [(b"abc-123", True), (b"", False), (b"a b", False), (b"x" * 129, False), (b"\xff", False)]
)
def test_the_id_of_a_header_counts_only_where_it_was_named_and_is_one(
    tmp_path: Path, header: bytes, *, kept: bool
) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        for name in ("X-Request-ID", None):
            app = RecordingMiddleware(answering, recorder, read, paths=["/predict"], id_header=name)
            drive(app, scope("/predict", (b"x-request-id", header)), b'{"text": "a"}')
    ids = [str(row["request_id"]) for row in rows(tmp_path)]
    assert [one == header.decode("latin-1") for one in ids].count(True) == int(kept)
    assert len(set(ids)) == 2


def test_what_is_no_request_to_a_named_path_passes_by(tmp_path: Path) -> None:
    got: list[tuple[Scope, Receive, Send]] = []

    async def app(asked: Scope, receive: Receive, send: Send) -> None:
        got.append((asked, receive, send))

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        del message

    with Recorder(tmp_path, model=ROOT) as recorder:
        wrapped = RecordingMiddleware(app, recorder, read, paths=["/predict"])
        given = [scope("/health"), scope(kind="websocket"), {"type": "lifespan"}, {"type": "http"}]
        for one in given:
            asyncio.run(_run(wrapped, one, receive, send))
    assert [(one[0], one[1], one[2]) for one in got] == [(one, receive, send) for one in given]  # the very same
    assert list(tmp_path.rglob("*.parquet")) == []


class BoomError(Exception):
    """A service's own."""


def test_an_exception_reaches_the_server_and_is_recorded(tmp_path: Path) -> None:
    async def app(asked: Scope, receive: Receive, send: Send) -> None:
        del asked, send
        await receive()
        raise BoomError

    async def gone(asked: Scope, receive: Receive, send: Send) -> None:
        del asked, receive, send
        raise asyncio.CancelledError

    with Recorder(tmp_path, model=ROOT) as recorder:
        for broken, error in ((app, BoomError), (gone, asyncio.CancelledError)):
            with pytest.raises(error):
                drive(RecordingMiddleware(broken, recorder, read, paths=["/predict"]), scope(), b'{"text": "a"}')
        assert recorder.missed == 0
    assert [(row["prediction"], row["error"]) for row in rows(tmp_path)] == [
        (None, "BoomError"),
        (None, "CancelledError"),
    ]


def test_failures_without_an_exception_are_recorded(tmp_path: Path) -> None:
    async def five_hundred(asked: Scope, receive: Receive, send: Send) -> None:
        del asked, receive
        await send({"type": "http.response.start", "status": 503})
        await send({"type": "http.response.body"})

    async def half(asked: Scope, receive: Receive, send: Send) -> None:
        del asked, receive
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})

    async def nothing(asked: Scope, receive: Receive, send: Send) -> None:
        del asked, receive, send

    with Recorder(tmp_path, model=ROOT) as recorder:
        for app in (five_hundred, half, nothing):
            drive(RecordingMiddleware(app, recorder, read, paths=["/predict"]), scope())
    assert sorted(str(row["error"]) for row in rows(tmp_path)) == ["HTTP 503", "answer broken off", "no answer"]


def test_what_cannot_be_read_is_counted_and_told_once_and_the_service_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(exchange: Exchange) -> Mapping[str, object]:
        del exchange
        raise KeyError("label")

    with Recorder(tmp_path, model=ROOT) as recorder, caplog.at_level(logging.ERROR):
        app = RecordingMiddleware(answering, recorder, wrong, paths=["/predict"])
        for _ in range(3):
            assert len(drive(app, scope(), b'{"text": "a"}')) > 2
        assert recorder.missed == 3
    assert len([one for one in caplog.records if "could not be recorded" in one.message]) == 1


def test_a_large_body_passes_and_is_not_kept(tmp_path: Path) -> None:
    kept: list[Exchange] = []

    async def app(asked: Scope, receive: Receive, send: Send) -> None:
        del asked
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200})
        for more in (True, True, False):
            await send({"type": "http.response.body", "body": b"y" * 60, "more_body": more})

    def look(exchange: Exchange) -> None:
        kept.append(exchange)

    with Recorder(tmp_path, model=ROOT) as recorder:
        wrapped = RecordingMiddleware(app, recorder, look, paths=["/predict"], most_bytes=100)
        sent = drive(wrapped, scope(), b"x" * 70, b"x" * 70)
        assert sum(len(m.get("body", b"")) for m in sent) == 180
        drive(wrapped, scope(), b"x" * 70)
    assert [(one.request, one.answer) for one in kept] == [(None, None), (b"x" * 70, None)]
    assert list(tmp_path.rglob("*.parquet")) == []


def test_several_rows_of_one_request_have_ids_of_their_own(tmp_path: Path) -> None:
    def many(exchange: Exchange) -> list[Mapping[str, object]]:
        said = json.loads(exchange.answer or b"")
        return [{"x": number, "prediction": said["label"]} for number in range(3)]

    with Recorder(tmp_path, model=ROOT) as recorder:
        drive(RecordingMiddleware(answering, recorder, many, paths=["/predict"]), scope(), b'{"text": "a"}')
    ids = [str(row["request_id"]) for row in rows(tmp_path)]
    assert ids[1:] == [f"{ids[0]}-1", f"{ids[0]}-2"]


def test_paths_must_be_named(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, model=ROOT)
    wrong: list[Sequence[str]] = [[], "/predict"]
    for paths in wrong:
        with pytest.raises(ValueError, match="name the paths"):
            RecordingMiddleware(answering, recorder, read, paths=paths)


def _service(recorder: Recorder, *, came: threading.Event) -> RecordingMiddleware:
    """Streams in parts, each made only when the client has said that the one before came."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(asked: dict[str, str]) -> dict[str, object]:
        if asked["text"] == "boom":
            raise BoomError
        return {"label": "ham", "p": 0.5}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> object:
            for number in range(3):
                yield f"{number}\n"
                assert await asyncio.to_thread(came.wait, 60)
                came.clear()

        return StreamingResponse(parts())  # type: ignore[arg-type]  # an async generator

    def row(exchange: Exchange) -> Mapping[str, object] | None:
        if exchange.path == "/stream":
            return {"prediction": len((exchange.answer or b"").split())}
        return read(exchange)

    return RecordingMiddleware(app, recorder, row, paths=["/predict", "/stream"])


def test_a_real_server_serves_streams_and_fails_as_before(tmp_path: Path) -> None:
    came = threading.Event()
    with Recorder(tmp_path, model=ROOT) as recorder:
        server = uvicorn.Server(uvicorn.Config(_service(recorder, came=came), port=0, log_level="critical"))
        thread = threading.Thread(target=server.run)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            assert client.post("/predict", json={"text": "a"}).json() == {"label": "ham", "p": 0.5}
            # uvicorn closes the connection after an exception: another request on it could come too late
            last = {"connection": "close"}
            assert client.post("/predict", json={"text": "boom"}, headers=last).status_code == 500
            found = []
            with client.stream("GET", "/stream") as answer:
                for line in answer.iter_lines():  # a part that is held back would never be answered
                    found.append(line)
                    came.set()
            assert found == ["0", "1", "2"]
        server.should_exit = True
        thread.join()
    recorded = sorted((str(row["prediction"]), row["error"]) for row in rows(tmp_path))
    assert recorded == [("3", None), ("None", "BoomError"), ("ham", None)]
