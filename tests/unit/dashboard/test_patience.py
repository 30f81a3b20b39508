"""Who connects and says nothing, or a byte now and then, holds up nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from tests.small_project import TODAY, build
from tests.unit.cli.prompt import at, typed

from assay.dashboard import patience
from assay.dashboard.patience import Patient

ASK = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """The application behind the server of ``assay serve``, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, http=Patient, ws="none", log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def plain() -> FastAPI:
    app = FastAPI()

    @app.get("/healthz")
    def alive() -> str:
        return "ok"

    @app.post("/form")
    async def form(asked: dict[str, str]) -> str:
        return str(len(asked))

    return app


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=120)


def ended(connection: socket.socket) -> bool:
    """Wait until the server has ended a connection; what it still said is read."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_silent_connections_make_room_for_those_that_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_CONNECTIONS", 8)
    monkeypatch.setattr(patience, "REQUEST_S", 3600.0)
    with serving(plain()) as port, ExitStack() as opened:
        silent = [opened.enter_context(connected(port)) for _ in range(30)]
        assert all(ended(one) for one in silent[:20])
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=120).json() == "ok"


@pytest.mark.parametrize(
    "begun", [b"", ASK, b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{", ASK + b"\r\n" + ASK]
)
def test_a_request_that_drips_is_ended(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "REQUEST_S", 0.5)
    with serving(plain()) as port, connected(port) as dripping:
        dripping.sendall(begun)
        dripping.settimeout(0.05)
        while True:  # without an end, the test has none either
            try:
                dripping.sendall(b"X")
                if not dripping.recv(4096):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break


def test_a_request_that_takes_long_is_answered_and_the_connection_is_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, there, real = plain(), list[Patient](), Patient.connection_made

    def made(self: Patient, transport: asyncio.BaseTransport) -> None:
        there.append(self)
        real(self, transport)

    @app.get("/slow")
    def slow() -> bool:
        looked = threading.Event()
        there[0].loop.call_soon_threadsafe(there[0]._late)  # its time is over
        there[0].loop.call_soon_threadsafe(looked.set)
        return looked.wait(120)

    monkeypatch.setattr(Patient, "connection_made", made)
    with (
        serving(app) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client,
    ):
        assert [client.get("/slow").json(), client.get("/slow").json()] == [True, True]
    assert len(there) == 1


def test_headers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "REQUEST_S", 3600.0)
    with serving(plain()) as port, connected(port) as flooding:
        with suppress(ConnectionError):
            flooding.sendall(ASK + b"X: " + b"x" * 5_000_000)
        assert ended(flooding)


def test_the_command_serves_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(uvicorn, "run", lambda _app, **more: given.update(more))
    build(tmp_path)
    with at(tmp_path, now=TODAY):
        assert typed("serve", "--no-tick").code == 0
    assert (given["http"], given["ws"], given["proxy_headers"]) == (Patient, "none", False)
