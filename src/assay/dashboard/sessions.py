"""Who is signed in: one token for all, sessions on the server, and a brake on guessing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LIFE = timedelta(hours=12)
MOST_SESSIONS = 1000
TRIES = 5
TRIES_WITHIN = timedelta(minutes=5)
MOST_ADDRESSES = 10_000
MOST_NAMED = 50  # blocked addresses that are told one by one; a network of version 6 has as many as one likes
COOKIE = "assay_session"


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser.

    Attributes:
        id: Random, in the cookie only.
        csrf: Random, in every form of this session.
        until: When it ends.
    """

    id: str
    csrf: str
    until: datetime


@dataclass
class Sessions:
    """Sessions of one server process.

    The token itself is not kept, only its digest. Each sign-in makes a new session id, so that a
    fixed one is worth nothing; wrong tokens are counted by address and, past `TRIES` within
    `TRIES_WITHIN`, not even looked at.
    """

    token_digest: bytes
    clock: Callable[[], datetime]
    _open: dict[str, Session] = field(default_factory=dict)
    _wrong: dict[str, list[datetime]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def guarded_by(cls, token: str, clock: Callable[[], datetime]) -> Sessions:
        """Sessions that are opened with this token."""
        return cls(_digest(token), clock)

    def blocked(self, address: str) -> bool:
        """Whether this address has guessed wrong too often of late."""
        with self._lock:
            return len(self._recent(address)) >= TRIES

    def named(self, address: str) -> str:
        """What a blocked address is told as: itself, or one word for all where there are too many to tell apart."""
        with self._lock:
            others = sum(len(self._recent(one)) >= TRIES for one in self._wrong if one != address)
        return address if others < MOST_NAMED else "many"

    def right(self, token: str, address: str) -> bool:
        """Whether the token is the right one, from an address not blocked; a wrong one counts against it."""
        good = hmac.compare_digest(_digest(token), self.token_digest)
        with self._lock:
            recent = self._recent(address)
            if len(recent) >= TRIES:  # guesses sent at once were all let in before the first was counted
                return False
            if not good:
                self._wrong.pop(address, None)
                while len(self._wrong) >= MOST_ADDRESSES:
                    self._wrong.pop(next(iter(self._wrong)))
                self._wrong[address] = [*recent, self.clock()]
        return good

    def begin(self) -> Session:
        """Open a session."""
        now = self.clock()
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now + LIFE)
        with self._lock:
            self._open = {key: one for key, one in self._open.items() if one.until > now}
            while len(self._open) >= MOST_SESSIONS:
                self._open.pop(next(iter(self._open)))
            self._open[session.id] = session
        return session

    def of(self, cookie: str | None) -> Session | None:
        """The session of a cookie, if it is one of ours and not over."""
        with self._lock:
            session = self._open.get(cookie or "")
        return session if session and session.until > self.clock() else None

    def end(self, session: Session) -> None:
        """Close a session."""
        with self._lock:
            self._open.pop(session.id, None)

    def _recent(self, address: str) -> list[datetime]:
        since = self.clock() - TRIES_WITHIN
        return [moment for moment in self._wrong.get(address, []) if moment > since]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
