"""The append-only log: a Merkle tree in a database, with a signed checkpoint after every append."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, select

from assay.audit import outside, store
from assay.audit.checkpoint import Checkpoint, NoteKey
from assay.audit.entry import Entry, Logged
from assay.audit.merkle import Continuation, Proof, consistency_ranges, fold, grow, inclusion_ranges, leaf_hash
from assay.audit.store import Head
from assay.errors import KeyFileError, LogError, StorageError, VerificationError
from assay.findings import Finding, Severity
from assay.storage.clock import from_text, utc_text
from assay.storage.database import open_audit, reading, writing
from assay.storage.tables import checkpoints, entries, nodes


class AuditLog:
    """What happened, in an order nobody can rewrite unseen.

    Safe to share between threads, and several processes may append to the same log. Make it with :meth:`open`.
    To find out whether somebody rewrote it, use :func:`assay.audit.verify.check_log`, which believes nothing
    that is in the database.
    """

    def __init__(self, engine: Engine, key: NoteKey, places: Sequence[Path]) -> None:
        self._engine = engine
        self._key = key
        self._places = tuple(places)
        self._warnings: tuple[Finding, ...] = ()

    @classmethod
    def open(
        cls, database: str | Path, *, key: Path, origin: str, checkpoints: Sequence[Path], now: datetime
    ) -> AuditLog:
        """Open the log; an empty one is made when there is none.

        Args:
            database: SQLite file or PostgreSQL URL, the log's own.
            key: File of the log's private key; made when the log has no entries yet.
            origin: Name of the log, for ever: ``example.org/project``. No space, no plus.
            checkpoints: Folders outside the database that get a copy of every checkpoint.
            now: Current time; a last entry from the future becomes a warning.

        Raises:
            StorageError: The database cannot be opened.
            KeyFileError: The key is missing although the log has entries, or is another log's.
            ValueError: The origin cannot name a log.
        """
        engine = open_audit(database)
        try:
            with reading(engine) as connection:
                last = connection.execute(select(entries.c.time).order_by(entries.c.position.desc()).limit(1)).scalar()
            found = _key(key, origin, used=last is not None or any(_published(checkpoints, origin)))
        except BaseException:
            engine.dispose()
            raise
        log = cls(engine, found, checkpoints)
        log._warnings = _clock_warning(last, now)
        return log

    @property
    def origin(self) -> str:
        """Name of the log."""
        return self._key.verifier.name

    @property
    def key_string(self) -> str:
        """Public key that its checkpoints verify with; keep it apart from the database."""
        return self._key.verifier.key_string

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What went wrong without losing an entry since the last append: a folder outside that took no checkpoint."""
        return self._warnings

    def append(
        self,
        kind: str,
        subject: str,
        data: Mapping[str, object],
        *,
        actor: str,
        now: datetime,
        once: str | None = None,
    ) -> int:
        """Add one entry; it is on disk and under a signed checkpoint when this returns.

        Args:
            kind: Dotted words: ``model.signed``.
            subject: What it happened to.
            data: JSON values. Never a secret, never a record's values.
            actor: Who did it.
            now: When.
            once: Key of this happening: an entry with the same key is not added again.

        Returns:
            The entry's position, from 0; of the earlier entry when ``once`` was there.

        Raises:
            LogError: Nothing was added: the log is damaged or was put back, or the disk refused.
            ValueError: The entry cannot be stored.
        """
        return self.append_many([Entry(kind, subject, now, actor, data)], once=[once])[0]

    def append_many(self, new: Sequence[Entry], *, once: Sequence[str | None] | None = None) -> list[int]:
        """Add entries together, with one commit and one checkpoint: all or none.

        Args:
            new: What happened, in order.
            once: For each entry its key or None, as in :meth:`append`.

        Returns:
            The entries' positions.

        Raises:
            LogError: Nothing was added.
        """
        keys = list(once) if once is not None else [None] * len(new)
        if len(keys) != len(new):
            raise ValueError(f"{len(new)} entries have {len(keys)} keys")
        try:
            with _rows(writing(self._engine, alone=True)) as connection:
                positions, size, note = self._add(connection, new, keys)
        except StorageError as err:
            raise LogError(f"nothing was logged: {err.message}", err.findings) from err
        self._publish(size, note)
        return positions

    def _add(
        self, connection: Connection, new: Sequence[Entry], keys: Sequence[str | None]
    ) -> tuple[list[int], int, str | None]:
        head = store.head(connection, self._key.verifier)
        self._check_outside(connection, head)
        known = store.known(connection, keys)
        positions: list[int] = []
        rows: list[tuple[int, Entry, str | None]] = []
        for entry, key in zip(new, keys, strict=True):
            position = head.size + len(rows) if key is None else known.setdefault(key, head.size + len(rows))
            positions.append(position)
            if position == head.size + len(rows):
                rows.append((position, entry, key))
        if not rows:
            return positions, head.size, head.note
        made, peaks = grow(head.size, head.peaks, (leaf_hash(entry.canonical()) for _, entry, _ in rows))
        size = head.size + len(rows)
        note = self._key.sign(Checkpoint(self.origin, size, fold(peaks)).text())
        store.add(connection, rows, made, (size, note))
        return positions, size, note

    def _check_outside(self, connection: Connection, head: Head) -> None:
        # Under the write lock: every checkpoint that is outside was committed before it went there.
        for place, note in zip(self._places, _published(self._places, self.origin), strict=True):
            if note is None or note == head.note:
                continue
            try:
                seen = Checkpoint.open(note, self._key.verifier)
            except VerificationError as err:
                raise store.damaged(
                    "log.forged", f"the checkpoint in {place} is not of this log: {err.message}"
                ) from err
            if seen.size > head.size:
                raise store.damaged(
                    "log.rolled-back",
                    f"the database has {head.size} entries, but {place} holds its checkpoint of {seen.size}: "
                    "the database was put back or cut",
                )
            if store.root_of(connection, seen.size) != seen.root:
                raise store.damaged("log.split-view", f"{place} holds a checkpoint of another history of this log")

    def _publish(self, size: int, note: str | None) -> None:
        # After the commit, so that no copy is ever ahead of the database. The entry is safe already: a folder
        # that refuses is a warning, the next append tries again, and check_log reports what is unwitnessed.
        failed: list[Finding] = []
        for place in self._places if note is not None else ():
            try:
                outside.publish(place, self.origin, size, note or "")
            except OSError as err:
                why = f"{place} took no checkpoint of the log: {err.strerror or err}"
                failed.append(Finding("log.unwitnessed-tail", str(place), Severity.WARNING, why, {"size": size}))
        self._warnings = tuple(failed)

    def entries(
        self,
        after: int = -1,
        *,
        kinds: Collection[str] | None = None,
        subject: str | None = None,
        limit: int | None = None,
    ) -> list[Logged]:
        """Return entries in order.

        Args:
            after: Only those behind this position.
            kinds: Only these kinds; None for all, empty for none.
            subject: Only this subject.
            limit: At most so many, the earliest.

        Raises:
            LogError: An entry's bytes are not those that were logged.
            StorageError: The database cannot be read.
        """
        leaf = nodes.c.hash.label("leaf")
        joined = entries.outerjoin(nodes, (nodes.c.level == 0) & (nodes.c.place == entries.c.position))
        query = select(entries, leaf).select_from(joined).where(entries.c.position > after)
        if kinds is not None:
            query = query.where(entries.c.kind.in_(list(kinds)))
        if subject is not None:
            query = query.where(entries.c.subject == subject)
        with _rows(reading(self._engine)) as connection:
            rows = connection.execute(query.order_by(entries.c.position).limit(limit)).all()
            return [store.logged(row) for row in rows]

    def size(self) -> int:
        """Return the number of entries."""
        with _rows(reading(self._engine)) as connection:
            return store.size_of(connection)

    def root(self) -> str:
        """Return the RFC 6962 root of all entries, in hexadecimal.

        Raises:
            LogError: A stored hash is missing, or does not lead to the last checkpoint.
        """
        with _rows(reading(self._engine)) as connection:
            return fold(store.head(connection, self._key.verifier).peaks).hex()

    def checkpoint(self, size: int | None = None) -> str | None:
        """Return a signed checkpoint note.

        Args:
            size: Of this many entries; None for the newest.

        Returns:
            The note, None when the log signed none of that size.
        """
        query = select(checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1)
        if size is not None:
            query = query.where(checkpoints.c.size == size)
        with _rows(reading(self._engine)) as connection:
            note = connection.execute(query).scalar()
        return None if note is None else str(note)

    def inclusion(self, position: int, size: int | None = None) -> Proof:
        """Prove that an entry is in the log.

        Args:
            position: Of the entry, from 0.
            size: Entries of the log to prove it for: that of a checkpoint. None for all entries.

        Raises:
            ValueError: There is no such entry in a log of that size.
            LogError: A stored hash is missing.
        """
        with _rows(reading(self._engine)) as connection:
            size = _within(store.size_of(connection), size)
            return Proof(position, size, store.path_of(connection, inclusion_ranges(position, size)))

    def consistency(self, old: int, new: int | None = None) -> Continuation:
        """Prove that the log of ``new`` entries continues the log of ``old`` ones.

        Args:
            old: Entries then, at least 1.
            new: Entries later; None for all.

        Raises:
            ValueError: The log never had these sizes.
            LogError: A stored hash is missing.
        """
        with _rows(reading(self._engine)) as connection:
            new = _within(store.size_of(connection), new)
            return Continuation(old, new, store.path_of(connection, consistency_ranges(old, new)))

    def close(self) -> None:
        """Close the database's connections; the log may not be used afterwards."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def _rows(transaction: AbstractContextManager[Connection]) -> Iterator[Connection]:
    try:
        with transaction as connection:
            yield connection
    except TypeError as err:  # SQLite keeps any type in any column, so an edited row may hold a text for bytes
        raise store.damaged("log.edited", "a row of the log holds a value of the wrong type") from err


def _key(path: Path, origin: str, *, used: bool) -> NoteKey:
    if not path.exists():
        if used:  # a new key would begin a second history under the same name
            raise KeyFileError(
                f"the log {origin} has entries or checkpoints, but its key {path} is missing: restore it from a backup"
            )
        try:
            return NoteKey.generate(path, origin)
        except KeyFileError:
            if not path.exists():  # else another process was faster, and its key is the one
                raise
    key = NoteKey.read(path)
    if key.verifier.name != origin:
        raise KeyFileError(f"the key {path} is of the log {key.verifier.name}, not of {origin}")
    return key


def _published(places: Sequence[Path], origin: str) -> list[str | None]:
    found: list[str | None] = []
    for place in places:
        try:
            found.append(outside.latest(place, origin))
        except OSError:  # writing there will fail too, which is the warning
            found.append(None)
    return found


def _clock_warning(last: str | None, now: datetime) -> tuple[Finding, ...]:
    if last is None or from_text(last) <= now:
        return ()
    why = f"the last entry is of {last}, but the clock says {utc_text(now)}: the clock went back"
    return (Finding("log.clock", "log", Severity.WARNING, why),)


def _within(there: int, size: int | None) -> int:
    if size is not None and not 0 <= size <= there:
        raise ValueError(f"the log has {there} entries, not {size}")
    return there if size is None else size
