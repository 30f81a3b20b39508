"""How many connections the dashboard's server holds, and how long it waits for a request: of strangers, not much.

The process that serves also does what is due. Whoever can reach its port could otherwise open connections and say
nothing until no file can be opened any more: then nothing is verified and nobody is alarmed.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 256
"""Connections at a time; a quarter of the files that a process may usually open."""

REQUEST_S: Final = 20.0
"""Seconds within which a whole request has to come, its body included."""


class Patient(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it by h11, whose limit of 64 KiB holds for all headers together.

    Where there are too many connections, the one that has kept us waiting longest gives way.
    """

    _since: float = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, or make room first."""
        super().connection_made(transport)  # type: ignore[arg-type]  # narrower than what asyncio promises
        self._wait()
        there = [one for one in self.connections if isinstance(one, Patient) and not one.transport.is_closing()]
        if len(there) > MOST_CONNECTIONS:
            waiting = [one for one in there if one.awaited]
            min(waiting, key=lambda one: one._since, default=self).transport.abort()  # noqa: SLF001 - of this class

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._wait()

    @property
    def awaited(self) -> bool:
        """Whether the client still owes us a request, or the rest of one."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._since = self.loop.time()
        self._timer = self.loop.call_later(REQUEST_S, self._late)

    def _late(self) -> None:
        if self.awaited:
            self.transport.abort()
