"""What is due when, shared by every process: each turn is taken by exactly one of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, Row, delete, insert, select, update

from assay.errors import StorageError
from assay.storage.clock import from_text, utc_text
from assay.storage.database import reading, writing
from assay.storage.tables import timers


class Timers:
    """Repeating work as leased rows.

    A process that dies in the middle of its turn holds the lease until it runs out; then another one takes it.

    Args:
        engine: From :func:`assay.storage.database.open_state`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ensure(self, name: str, every: timedelta, now: datetime) -> None:
        """Make the timer, due now; or change how often an existing one is due.

        Args:
            name: ``validate:spam``.
            every: Time between turns; at least a second.
            now: Current time.
        """
        seconds = int(every.total_seconds())
        if seconds < 1:
            raise ValueError(f"the timer {name} must repeat after a second or more")
        with writing(self._engine, alone=True) as connection:
            row = connection.execute(select(timers).where(timers.c.name == name)).first()
            if row is None:
                values = {"name": name, "due": utc_text(now), "every_s": seconds}
                connection.execute(insert(timers).values(values))
            elif row.every_s != seconds:
                # Sooner when the new rhythm is quicker; a clock that went back must not leave it due in a year.
                due = min(from_text(row.due), now + every)
                change = update(timers).where(timers.c.name == name)
                connection.execute(change.values(every_s=seconds, due=utc_text(due)))

    def due(self, now: datetime) -> list[str]:
        """Return the names whose turn it is and that nobody works on, longest waiting first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(timers).order_by(timers.c.due, timers.c.name)).all()
        return [row.name for row in rows if _is_due(row, now)]

    def take(self, name: str, owner: str, now: datetime, lease: timedelta) -> bool:
        """Take the turn.

        Args:
            name: The timer's.
            owner: Who works on it: host and process.
            now: Current time.
            lease: How long the others wait for :meth:`done`; longer than the work takes.

        Returns:
            Whether the turn is the caller's; False when it is not due or another one has it.
        """
        with writing(self._engine, alone=True) as connection:
            row = connection.execute(select(timers).where(timers.c.name == name)).first()
            if row is None or not _is_due(row, now):
                return False
            claim = update(timers).where(timers.c.name == name)
            connection.execute(claim.values(lease_until=utc_text(now + lease), lease_owner=owner))
            return True

    def done(self, name: str, now: datetime, *, owner: str | None = None) -> None:
        """End the turn; the next one is a period after this moment.

        Args:
            name: The timer's.
            now: Current time.
            owner: As given to :meth:`take`: when the lease ran out and another process took the turn, nothing changes.

        Raises:
            StorageError: There is no such timer.
        """
        with writing(self._engine, alone=True) as connection:
            row = connection.execute(select(timers).where(timers.c.name == name)).first()
            if row is None:
                raise StorageError(f"there is no timer {name}")
            if owner is not None and row.lease_owner != owner:
                return
            due = utc_text(now + timedelta(seconds=row.every_s))
            change = update(timers).where(timers.c.name == name)
            connection.execute(change.values(due=due, lease_until=None, lease_owner=None))

    def release(self, name: str, owner: str) -> None:
        """Give the turn back undone: it stays due, and anybody may take it."""
        mine = update(timers).where(timers.c.name == name, timers.c.lease_owner == owner)
        with writing(self._engine) as connection:
            connection.execute(mine.values(lease_until=None, lease_owner=None))

    def forget(self, name: str) -> None:
        """Remove a timer whose work is no longer configured."""
        with writing(self._engine) as connection:
            connection.execute(delete(timers).where(timers.c.name == name))

    def next_due(self, name: str) -> datetime | None:
        """Return when the timer is due; None when there is no such timer."""
        with reading(self._engine) as connection:
            due = connection.execute(select(timers.c.due).where(timers.c.name == name)).scalar()
        return None if due is None else from_text(due)


def _is_due(row: Row[tuple[object, ...]], now: datetime) -> bool:
    if row.lease_until is not None and from_text(row.lease_until) > now:
        return False
    wait = from_text(row.due) - now
    # Further away than a whole period: the clock went back since the last turn, which must not silence a check.
    return wait <= timedelta(0) or wait > timedelta(seconds=row.every_s)
