"""The log's rows: what the database holds of the tree, read and written within a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, func, insert, select, tuple_

from assay.audit.checkpoint import Checkpoint, NoteVerifier
from assay.audit.entry import Entry, Logged
from assay.audit.merkle import Node, cover, fold, leaf_hash, prove
from assay.errors import LogError, VerificationError
from assay.findings import Finding, Severity
from assay.storage.clock import utc_text
from assay.storage.tables import checkpoints, entries, nodes


@dataclass(frozen=True, slots=True)
class Head:
    """Where the next entry goes.

    Attributes:
        size: Entries there.
        peaks: Hashes of ``cover(0, size)``.
        note: Signed checkpoint of that size, None while the log is empty.
    """

    size: int
    peaks: list[bytes]
    note: str | None


def damaged(rule: str, detail: str) -> LogError:
    """Return the refusal to go on with a log that is not what was signed."""
    message = f"{detail}; nothing was logged: run assay log verify"
    return LogError(message, [Finding(rule, "log", Severity.CRITICAL, detail)])


def size_of(connection: Connection) -> int:
    """Return the number of entries."""
    last = connection.execute(select(func.max(entries.c.position))).scalar()
    return 0 if last is None else int(last) + 1


def head(connection: Connection, verifier: NoteVerifier) -> Head:
    """Return the end of the log, checked against its last signed checkpoint.

    Raises:
        LogError: Entries, stored hashes and checkpoint do not belong together.
    """
    size = size_of(connection)
    row = connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).first()
    if row is None and size == 0:
        return Head(0, [], None)
    # tlog-checkpoint: a log must not sign what is inconsistent with what it signed before.
    if row is None or row.size != size:
        signed = 0 if row is None else row.size
        raise damaged("log.truncated", f"the log has {size} entries, but its last checkpoint is of {signed}")
    try:
        signed_as = Checkpoint.open(row.note, verifier)
    except VerificationError as err:
        raise damaged("log.forged", f"the log's last checkpoint does not verify: {err.message}") from err
    stored = nodes_of(connection, cover(0, size))
    peaks = [stored[node] for node in cover(0, size)]
    if (signed_as.size, signed_as.root) != (size, fold(peaks)):
        raise damaged("log.rewritten", "the log's stored hashes do not lead to its last checkpoint")
    return Head(size, peaks, row.note)


def nodes_of(connection: Connection, wanted: Iterable[Node]) -> dict[Node, bytes]:
    """Return stored hashes of complete subtrees.

    Raises:
        LogError: One is missing.
    """
    names = sorted(set(wanted))
    query = select(nodes).where(tuple_(nodes.c.level, nodes.c.place).in_(names))
    found = {(row.level, row.place): bytes(row.hash) for row in connection.execute(query)} if names else {}
    for level, place in names:
        if (level, place) not in found:
            raise damaged("log.node-edited", f"the stored hash of level {level}, place {place} is missing")
    return found


def root_of(connection: Connection, size: int) -> bytes:
    """Return the root of the first ``size`` entries, from stored hashes."""
    wanted = cover(0, size)
    stored = nodes_of(connection, wanted)
    return fold([stored[node] for node in wanted])


def path_of(connection: Connection, ranges: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
    """Return a proof's hashes, from stored hashes."""
    stored = nodes_of(connection, [node for start, end in ranges for node in cover(start, end)])
    return prove(ranges, stored)


def known(connection: Connection, keys: Iterable[str | None]) -> dict[str, int]:
    """Return the positions of the happenings that are logged already, by their ``once`` key."""
    wanted = [key for key in keys if key is not None]
    if not wanted:
        return {}
    query = select(entries.c.once, entries.c.position).where(entries.c.once.in_(wanted))
    return {row.once: row.position for row in connection.execute(query)}


def add(
    connection: Connection,
    rows: Sequence[tuple[int, Entry, str | None]],
    made: Mapping[Node, bytes],
    signed: tuple[int, str],
) -> None:
    """Write entries, the nodes they complete and the checkpoint over them.

    Args:
        connection: In a writing transaction.
        rows: Position, entry and ``once`` key; at least one.
        made: New nodes.
        signed: Size and note of the checkpoint.
    """
    connection.execute(
        insert(entries),
        [
            {
                "position": position,
                "kind": entry.kind,
                "subject": entry.subject,
                "time": utc_text(entry.time),
                "body": entry.canonical(),
                "once": once,
            }
            for position, entry, once in rows
        ],
    )
    hashes = [{"level": level, "place": place, "hash": digest} for (level, place), digest in made.items()]
    connection.execute(insert(nodes), hashes)
    size, note = signed
    connection.execute(insert(checkpoints), {"size": size, "note": note})


def logged(row: Row[tuple[object, ...]]) -> Logged:
    """Return the entry of a row of ``entries`` with its stored ``leaf`` hash.

    Raises:
        LogError: The bytes are not those that were logged, or are filed under another name.
    """
    body = bytes(row.body)
    if row.leaf is None or leaf_hash(body) != bytes(row.leaf):
        raise LogError(f"entry {row.position} is not the one that was logged: run assay log verify")
    entry = Entry.parse(body)
    if (entry.kind, entry.subject, utc_text(entry.time)) != (row.kind, row.subject, row.time):
        raise LogError(f"entry {row.position} is filed as {row.kind}, but its bytes say {entry.kind}")
    return Logged(row.position, entry)
