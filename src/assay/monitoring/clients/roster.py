"""Who is a newcomer: one attacker may be many clients, and all of those are new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from assay.monitoring.clients.sight import NEWCOMERS, ClientWindow
from assay.storage.clock import from_text

SETTLED: Final = timedelta(days=7)
"""A client is a newcomer for so long."""

FORGOTTEN: Final = timedelta(days=30)
"""A client that was away for so long is a newcomer again."""

MOST_SEEN: Final = 400_000
"""Clients in all windows that are kept, each counted in each: whoever invents a name for every query would otherwise
fill memory and disk, and take the time of everything else that is due."""


@dataclass
class Roster:
    """When each client was first and last seen; of more than `MOST_SEEN`, those seen last.

    Attributes:
        first: Start of the window it was first seen in; of one that came back, of its return.
        last: Start of the last window it was seen in.
    """

    first: dict[str, datetime] = field(default_factory=dict)
    last: dict[str, datetime] = field(default_factory=dict)

    def see(self, names: Iterable[str], start: datetime) -> None:
        """Note who was seen in a window."""
        for name in names:
            if name not in self.first or start - self.last[name] > FORGOTTEN:
                self.first[name] = start
            self.last.pop(name, None)  # the order is that of the last time
            self.last[name] = start
        while len(self.last) > MOST_SEEN:
            oldest = next(iter(self.last))
            del self.first[oldest], self.last[oldest]

    def is_settled(self, name: str, start: datetime) -> bool:
        """Whether a client is no newcomer in a window."""
        return name in self.first and self.first[name] + SETTLED <= start and start - self.last[name] <= FORGOTTEN

    def settled(self, start: datetime) -> set[str]:
        """Clients that are no newcomers in a window."""
        return {name for name in self.first if self.is_settled(name, start)}

    @classmethod
    def of(cls, windows: Sequence[ClientWindow]) -> Roster:
        """Who was seen in windows that were counted before."""
        roster = cls()
        for window in windows:
            roster.see((name for name in window.seen if name != NEWCOMERS), from_text(window.start))
        return roster
