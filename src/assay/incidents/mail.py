"""Messages that wait to be sent: queued with what they tell of, claimed, sent, tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from assay.incidents.course import retry_wait
from assay.storage.clock import from_text, utc_text
from assay.storage.tables import notifications

CLAIM = timedelta(minutes=2)  # longer than any channel may take; after a crash the message goes out again
LONGEST = 4_000  # characters of a text that gathers several happenings


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one channel.

    Attributes:
        id: Its number.
        incident: The incident it tells of.
        audience: Whom it is for.
        channel: Digest of the channel's address.
        title: One line.
        text: The rest.
        due: When it is to be sent or tried again.
        tries: Tries begun.
    """

    id: int
    incident: int
    audience: str
    channel: str
    title: str
    text: str
    due: datetime
    tries: int


def queue(
    connection: Connection, *, incident: int, audience: str, channel: str, title: str, text: str, due: datetime
) -> None:
    """Leave a message for a channel; one that still waits there for the same incident takes it up.

    That is what makes one message of a flood, and what keeps a dead channel from piling them up.
    """
    same = (
        notifications.c.incident == incident,
        notifications.c.channel == channel,
        notifications.c.sent.is_(None),
    )
    waiting = connection.execute(select(notifications).where(*same).order_by(notifications.c.id)).mappings().first()
    if waiting is None:
        row = {"incident": incident, "audience": audience, "channel": channel, "title": title, "text": text}
        connection.execute(insert(notifications).values(**row, due=utc_text(due), tries=0, sent=None, error=None))
        return
    known = str(waiting["text"])
    together = known if text in known else f"{known}\n{text}"
    if len(together) > LONGEST:
        together = together[: LONGEST - 2] + "\n…"
    # What is tried already keeps its time, else a flood would hammer a channel that is down.
    sooner = min(str(waiting["due"]), utc_text(due)) if waiting["tries"] == 0 else str(waiting["due"])
    connection.execute(
        update(notifications).where(notifications.c.id == waiting["id"]).values(title=title, text=together, due=sooner)
    )


def last_sent(connection: Connection, incident: int, channel: str) -> datetime | None:
    """When the channel last took a message about the incident; None when it never did."""
    query = select(func.max(notifications.c.sent)).where(
        notifications.c.incident == incident, notifications.c.channel == channel
    )
    found = connection.execute(query).scalar()
    return None if found is None else from_text(found)


def due(connection: Connection, now: datetime) -> list[int]:
    """Numbers of the messages to send now."""
    ripe = (notifications.c.sent.is_(None), notifications.c.due <= utc_text(now))
    return [int(number) for number in connection.execute(select(notifications.c.id).where(*ripe)).scalars()]


def claim(connection: Connection, number: int, now: datetime) -> Letter | None:
    """Take a message for sending, so that no other process sends it meanwhile.

    Returns:
        None when somebody else has it, or it was sent.
    """
    mine = (
        notifications.c.id == number,
        notifications.c.sent.is_(None),
        notifications.c.due <= utc_text(now),
    )
    taken = connection.execute(
        update(notifications).where(*mine).values(due=utc_text(now + CLAIM), tries=notifications.c.tries + 1)
    )
    if taken.rowcount != 1:
        return None
    row = connection.execute(select(notifications).where(notifications.c.id == number)).mappings().one()
    return Letter(
        id=number,
        incident=int(row["incident"]),
        audience=row["audience"],
        channel=row["channel"],
        title=row["title"],
        text=row["text"],
        due=from_text(row["due"]),
        tries=int(row["tries"]),
    )


def sent(connection: Connection, letter: Letter, now: datetime) -> None:
    """The channel took it; what was added to it meanwhile is sent next."""
    same = (
        notifications.c.id == letter.id,
        notifications.c.title == letter.title,
        notifications.c.text == letter.text,
    )
    done = connection.execute(update(notifications).where(*same).values(sent=utc_text(now), error=None))
    if done.rowcount != 1:
        row = update(notifications).where(notifications.c.id == letter.id)
        connection.execute(row.values(due=utc_text(now), tries=0, error=None))


def failed(connection: Connection, letter: Letter, error: str, now: datetime) -> datetime:
    """The channel did not take it; returns when it is tried again."""
    again = now + retry_wait(letter.tries)
    row = update(notifications).where(notifications.c.id == letter.id)
    connection.execute(row.values(error=error, due=utc_text(again)))
    return again


def waiting(connection: Connection, incident: int | None = None) -> list[dict[str, object]]:
    """Messages that no channel took yet, with the last error."""
    query = select(notifications).where(notifications.c.sent.is_(None)).order_by(notifications.c.id)
    if incident is not None:
        query = query.where(notifications.c.incident == incident)
    names = ("incident", "audience", "channel", "due", "tries", "error")
    return [{name: row[name] for name in names} for row in connection.execute(query).mappings()]
