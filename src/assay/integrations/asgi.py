"""ASGI middleware that records what a service is asked and answers; ASGI 3, whatever framework stands behind it.

Every message passes through as it is, at once and in order. Whatever goes wrong in recording is counted in the
Recorder's ``missed``, and told once in the log of Python; the service does not notice.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from assay.monitoring.recorder import Recorder

# As the specification has them: their values are of any type. https://asgi.readthedocs.io/en/latest/specs/main.html
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES: Final = 1 << 20
_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_FAILURE: Final = 500

_CURRENT: ContextVar[str | None] = ContextVar("assay_asgi_request_id", default=None)


def current_request_id() -> str | None:
    """Id that the request of this task is recorded under: what its label is logged by; None where none is recorded."""
    return _CURRENT.get()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        path: The request's path.
        request: Its body; None when it was larger than is kept.
        status: The answer's status; None when there was none.
        answer: The answer's body; None when it was larger than is kept.
        headers: The request's headers, names in lower case.
    """

    path: str
    request: bytes | None
    status: int | None
    answer: bytes | None
    headers: Mapping[str, str] = field(repr=False)


Read = Callable[[Exchange], Mapping[str, object] | Sequence[Mapping[str, object]] | None]


class RecordingMiddleware:
    """An application that answers as this one does; its predictions are recorded.

    Recorded are the request's id, its time, its latency in seconds until the last byte was handed over, its failure
    (status 500 and above, an exception, no answer), and what ``read`` gives.

    Args:
        app: The application.
        recorder: Where rows go.
        read: The row, or the rows, of an exchange: inputs, and ``prediction`` and ``confidence`` of the answer; None
            for what is no prediction. For a failure it may raise: the failure is recorded without inputs.
        paths: Paths that predict, exactly as they are requested; all others pass by.
        id_header: Header that brings the request's id, where you trust whoever sets it: a client that chooses its
            ids can choose those of others. Without it, or where it is no id, one is made.
        most_bytes: Of a body, so much is kept for ``read``; a larger one is not kept at all.

    Raises:
        ValueError: No path is named.
    """

    def __init__(
        self,
        app: App,
        recorder: Recorder,
        read: Read,
        *,
        paths: Sequence[str],
        id_header: str | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if isinstance(paths, str) or not paths:
            raise ValueError('name the paths that predict: paths=["/predict"]')
        self._app = app
        self._recorder = recorder
        self._read = read
        self._paths = frozenset(paths)
        self._id_header = id_header.lower().encode("latin-1") if id_header else None
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope.get("path") not in self._paths:
            await self._app(scope, receive, send)
            return
        seen = _Seen(self._most_bytes, self._id_of(scope))

        async def received() -> Message:
            message = await receive()
            self._look(seen, message)
            return message

        async def sent(message: Message) -> None:
            await send(message)
            self._look(seen, message)

        token = _CURRENT.set(seen.request_id)
        error: str | None = None
        try:
            await self._app(scope, received, sent)
        except BaseException as err:
            error = type(err).__name__
            raise
        finally:
            _CURRENT.reset(token)
            self._record(scope, seen, error)

    def _look(self, seen: _Seen, message: Message) -> None:
        try:
            seen.take(message)
        except Exception as err:  # noqa: BLE001 - what is wrong with a message is the server's matter
            self._recorder.miss(err)

    def _id_of(self, scope: Scope) -> str:
        for name, value in scope.get("headers", ()):
            if self._id_header is not None and bytes(name).lower() == self._id_header and _ID.fullmatch(value):
                return bytes(value).decode("ascii")
        return uuid.uuid4().hex

    def _record(self, scope: Scope, seen: _Seen, error: str | None) -> None:
        try:
            failure = error or seen.failure()
            for number, row in enumerate(self._rows(scope, seen, failure)):
                request_id = seen.request_id if not number else f"{seen.request_id}-{number}"
                taken = (seen.ended or time.perf_counter()) - seen.began
                made = {"latency_s": taken, "error": failure, "time": seen.at, "request_id": request_id}
                self._recorder.log({"prediction": None, **row, **made})
        except Exception as err:  # noqa: BLE001 - the service comes first
            self._recorder.miss(err)

    def _rows(self, scope: Scope, seen: _Seen, failure: str | None) -> Sequence[Mapping[str, object]]:
        try:
            headers = {bytes(k).decode("latin-1").lower(): bytes(v).decode("latin-1") for k, v in scope["headers"]}
            exchange = Exchange(scope["path"], seen.request.body(), seen.status, seen.answer.body(), headers)
            found = self._read(exchange)
        except Exception:
            if failure is None:
                raise
            found = {}
        if found is None:
            return ()
        return [found] if isinstance(found, Mapping) else list(found)


class _Body:
    """The bytes of a body, as long as they are few."""

    def __init__(self, most: int) -> None:
        self._parts: list[bytes] | None = []
        self._room = most

    def take(self, part: bytes) -> None:
        self._room -= len(part)
        if self._room < 0:
            self.drop()
        if self._parts is not None and part:
            self._parts.append(bytes(part))

    def drop(self) -> None:
        self._parts = None

    def body(self) -> bytes | None:
        return None if self._parts is None else b"".join(self._parts)


class _Seen:
    """What passed by of one request."""

    def __init__(self, most_bytes: int, request_id: str) -> None:
        self.request_id = request_id
        self.at = datetime.now(UTC)
        self.began = time.perf_counter()
        self.ended: float | None = None
        self.status: int | None = None
        self.request = _Body(most_bytes)
        self.answer = _Body(most_bytes)

    def take(self, message: Message) -> None:
        """Look at one message."""
        kind = message.get("type")
        if kind == "http.request":
            self.request.take(message.get("body") or b"")
        elif kind == "http.response.start":
            self.status = message.get("status")
        elif kind == "http.response.body":
            self.answer.take(message.get("body") or b"")
            if not message.get("more_body"):
                self.ended = time.perf_counter()
        elif kind in {"http.response.pathsend", "http.response.zerocopysend"}:  # extensions: a file is the answer
            self.answer.drop()
            if not message.get("more_body"):
                self.ended = time.perf_counter()

    def failure(self) -> str | None:
        """Why the answer is none, though nothing was raised."""
        if self.ended is None:
            return "no answer" if self.status is None else "answer broken off"
        return f"HTTP {self.status}" if self.status is not None and self.status >= _FAILURE else None
