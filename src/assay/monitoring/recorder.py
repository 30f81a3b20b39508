"""Records what a model is asked and answers, beside the service that runs it."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Final, Self, overload
from weakref import WeakSet

import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import StorageError
from assay.frameworks.base import Predictor
from assay.monitoring.partitions import Label, parted, write_hour, write_labels
from assay.monitoring.recording import P, R, Watched, recorded
from assay.monitoring.rows import STEPS, TIME, as_table, filled, fresh_ids, hand_over, instant, instants
from assay.monitoring.storable import in_words, said, storable

_LOG = logging.getLogger("assay.recorder")

KEPT: Final = 100
"""While the disk refuses, so many times ``flush_rows`` are kept in memory; rows beyond are lost, and counted."""

_PART: Final = 1 << 20
"""Rows of a batch that are taken at once: what is made for them beside the batch stays small."""
_STEP: Final = 256
"""Ids made, and rows sorted by their columns, before other threads may go on."""
_READY: Final = 8 * _STEP
"""Ids kept ready, so that a call need not make its own."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Recorder:
    """Writes rows to hour partitions of Parquet files: ``date=YYYY-MM-DD/hour=HH/<hex>.parquet`` by the row's time.

    A thread of its own writes; the caller only leaves the row in memory. A killed process loses at most what came in
    the last ``flush_s`` seconds and was not flushed; a process that ends writes what waits. A disk that refuses does
    not stop the service: rows wait in bounded memory, what does not fit is counted in ``lost`` and written to the log
    of Python, and `close` raises. A disk that is merely slow makes the caller wait once that memory is full. Threads
    may share a Recorder; a forked process begins with an empty one.

    Args:
        folder: Where the partitions are made.
        model: Root digest of the model that answers, in hex; it is written to every row.
        flush_rows: Rows after which the waiting ones are written at once.
        flush_s: Seconds after which fewer rows are written.
        clock: Reading of the clock, timezone-aware.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str,
        flush_rows: int = 1000,
        flush_s: float = 5.0,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        if flush_rows < 1 or not flush_s > 0:
            raise ValueError("flush_rows must be at least 1 and flush_s more than 0")
        self._folder = folder
        self._model = model
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._clock = clock
        self._model_value = pa.scalar(model, pa.string())
        self._now: Callable[[], int | datetime] = time_ns if clock is _utc_now else clock
        pa.array([0])  # the first one looks for pandas, half a second that no request should wait for
        self._begin()

    def _begin(self) -> None:
        self._queue: deque[tuple[str, int | datetime, dict[str, object]]] = deque()
        self._ids: deque[str] = deque()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._tables: list[pa.Table] = []
        self._table_rows = 0
        self._labels: list[Label] = []
        self._failed: list[tuple[str, pa.Table]] = []
        self._lost = 0
        self._missed = 0
        self._error: str | None = None
        self._due = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._wake_at = 1  # the first row starts the thread
        _RECORDERS.add(self)

    @property
    def lost(self) -> int:
        """Rows and labels that could not be kept while the disk refused."""
        return self._lost

    @property
    def missed(self) -> int:
        """Calls of a decorated function, or of a service, that could not be read as rows."""
        return self._missed

    def log(self, row: Mapping[str, object]) -> str:
        """Record one request.

        Args:
            row: Inputs by column name, with ``prediction`` and any of ``confidence``, ``latency_s`` (seconds),
                ``error``, ``time`` (timezone-aware; now when missing), ``request_id`` (made when missing),
                ``label``, ``label_time``, ``model``.

        Returns:
            The request id, for `label`.

        Raises:
            ValueError: When ``time`` is no time, has no timezone, or lies in no year from 1 to 9999.
        """
        if "time" in row or "request_id" in row:
            return self._log_told(row)
        # What a service waits for is only this: everything else is the writing thread's work.
        try:
            request_id = self._ids.popleft()
        except IndexError:
            request_id = self._more_ids()
        self._queue.append((request_id, self._now(), dict(row)))
        if len(self._queue) >= self._wake_at:
            self._wake(len(self._queue))
        return request_id

    def _log_told(self, row: Mapping[str, object]) -> str:
        made = dict(row)
        at, given = made.pop("time", None), made.pop("request_id", None)
        if at is not None:
            at = instant(at)
        request_id = self._more_ids() if given is None else str(given)
        self._queue.append((request_id, self._now() if at is None else at, made))
        if len(self._queue) >= self._wake_at:
            self._wake(len(self._queue))
        return request_id

    def _more_ids(self) -> str:
        _, fresh = fresh_ids(_STEP)
        self._ids.extend(fresh[1:])
        return fresh[0]

    def log_batch(self, table: pa.Table) -> list[str]:
        """Record a table of requests, with the columns of `log`; gives their request ids.

        Raises:
            ValueError: When its column ``time`` holds no such times as in `log`, or a column is there twice.
        """
        if len(set(table.column_names)) < table.num_columns:
            raise ValueError(f"a column is there twice: {', '.join(table.column_names)}")
        ids: list[str] = []
        for start in range(0, table.num_rows, _PART):
            made, told = self._completed(table if table.num_rows <= _PART else table.slice(start, _PART))
            ids += told
            with self._lock:
                self._tables.append(made)
                self._table_rows += made.num_rows
            self._wake(len(self._queue))
        return ids

    def label(self, request_id: str, label: str | float | bool, at: datetime | None = None) -> None:
        """Record what turned out to be true of a request; `assay.monitoring.partitions.settle` joins it.

        Args:
            request_id: As `log` gave it.
            label: The truth.
            at: When it became known; now by default.

        Raises:
            ValueError: When ``at`` has no timezone, or lies in no year from 1 to 9999; when no request is named, or
                nothing is said of it.
        """
        if request_id is None or request_id == "" or label is None:
            raise ValueError("a label needs the id of a request and what is true of it")
        at = instant(self._clock() if at is None else at)
        with self._lock:
            if len(self._labels) >= KEPT * self._flush_rows:
                self._lost += 1
                return
            self._labels.append(Label(request_id, label, at))
            waiting = len(self._labels)
        self._wake(waiting)

    def watch(self, predictor: Predictor) -> Predictor:
        """A predictor that answers as this one does, and records inputs, answers, latency and errors."""
        return Watched(predictor, self)

    @overload
    def recorded(
        self,
        function: Callable[P, R],
        *,
        inputs: Sequence[str] | None = None,
        classes: Sequence[object] | None = None,
        request_id: str | None = None,
    ) -> Callable[P, R]: ...

    @overload
    def recorded(
        self,
        *,
        inputs: Sequence[str] | None = None,
        classes: Sequence[object] | None = None,
        request_id: str | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def recorded(
        self,
        function: Callable[P, R] | None = None,
        *,
        inputs: Sequence[str] | None = None,
        classes: Sequence[object] | None = None,
        request_id: str | None = None,
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate any function or method that predicts; a coroutine too. It answers and raises as before.

        One argument is the table: a pyarrow table, data frame, array, list of rows, or one row. Several arguments are
        the columns of one row. Answers are one prediction a row, or probabilities of shape (rows, classes). An
        exception is recorded as a failure. What cannot be read is counted in ``missed`` and told once in the log of
        Python; the service never stops for it.

        Args:
            function: What predicts; without it, a decorator is given.
            inputs: Names of the columns of an array; ``x0``, ``x1``, … by default.
            classes: Class of each column of probabilities; by default those of the model whose method it is
                (``classes_``), or numbers from 0.
            request_id: Parameter that holds the request's id, or a list of them: it is no input. Without it ids are
                made; `assay.monitoring.recording.last_request_ids` tells them.

        Raises:
            ValueError: The function yields, or has no such parameter.
            TableError: An input is called as a column of the Recorder's own.
        """
        if function is None:
            return lambda given: recorded(given, self, inputs=inputs, classes=classes, request_id=request_id)
        return recorded(function, self, inputs=inputs, classes=classes, request_id=request_id)

    def miss(self, why: Exception) -> None:
        """Count a call that could not be read as rows, and tell the first."""
        self._missed += 1
        if self._missed == 1:
            _LOG.error("a call could not be recorded, and others may follow unsaid: %s: %s", type(why).__name__, why)

    def flush(self) -> None:
        """Write everything that waits; it is on the disk when this returns. What the disk refuses keeps waiting."""
        with self._writing:  # one file at a time, and none is forgotten when two threads flush
            with self._lock:
                tables, self._tables = self._tables, []
                self._table_rows = 0
                labels, self._labels = self._labels, []
                # The name is given before the first try: rows tried twice are there once.
                batches, self._failed = self._failed, []
            tables += self._queued()
            parts, lost = parted(tables)
            batches += [(uuid.uuid4().hex, part) for part in parts]
            self._lost += lost
            self._error = None
            failed = [one for one in batches if not self._written(one[1].num_rows, write_hour, one[1], one[0])]
            kept_labels = bool(labels) and not self._written(len(labels), write_labels, labels, uuid.uuid4().hex)
            with self._lock:
                self._failed = self._within_memory(failed)
                if kept_labels:
                    self._labels = [*labels, *self._labels]
            while len(self._ids) < _READY and not self._closed:
                self._ids.append(self._more_ids())
                hand_over()

    def _queued(self) -> list[pa.Table]:
        """The single rows that wait, as tables; rows of the same columns in one."""
        groups: dict[tuple[str, ...], list[tuple[object, ...]]] = {}
        waiting = len(self._queue)
        step = max(_STEP, waiting // STEPS)
        for start in range(0, waiting, step):
            for _ in range(min(step, waiting - start)):
                request_id, at, row = self._queue.popleft()
                names, values = tuple(row), (request_id, at // 1000 if isinstance(at, int) else at, *row.values())
                groups.setdefault(names, []).append(values)
            hand_over()
        return [table for names, rows in groups.items() if (table := self._table_of(names, rows)) is not None]

    def _table_of(self, names: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> pa.Table | None:
        try:
            return self._with_model(as_table(("request_id", "time", *map(said, names)), rows, between=hand_over))
        except Exception:  # noqa: BLE001 - whatever a service logs, the other rows are written
            self._lost += len(rows)
            _LOG.exception("%d rows could not be recorded: they are no table", len(rows))
            return None

    def close(self) -> None:
        """Write everything that waits, and end.

        Raises:
            StorageError: When rows could not be written, or were lost before.
        """
        self._closed = True
        self._wake_at = 1
        self._due.set()
        if self._thread is not None:
            self._thread.join()
            atexit.unregister(self.flush)
        self.flush()
        left = sum(table.num_rows for _, table in self._failed) + len(self._labels)
        if left or self._lost:
            reason = f" ({self._error})" if self._error else ""
            raise StorageError(
                f"{left + self._lost:,} recorded rows could not be written to {self._folder}{reason}: check the disk"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _completed(self, table: pa.Table) -> tuple[pa.Table, list[str]]:
        """A table with a time, an id and a model in every row, and its ids."""
        now = pa.scalar(self._clock(), TIME)
        # What is needed here is looked at here, and all else where it is written: whoever logs waits for nothing.
        made = storable(filled(table, "time", now, instants), {"time", "request_id"}.intersection(table.column_names))
        if "request_id" not in made.column_names:
            column, ids = fresh_ids(made.num_rows)
            return self._with_model(made.append_column("request_id", column)), ids
        told = in_words(made["request_id"])
        fresh, _ = fresh_ids(made.num_rows) if told.null_count else (told, [])
        made = made.set_column(made.column_names.index("request_id"), "request_id", pc.coalesce(told, fresh))
        return self._with_model(made), made["request_id"].to_pylist()

    def _with_model(self, table: pa.Table) -> pa.Table:
        return filled(table, "model", self._model_value, in_words)

    def _wake(self, waiting: int) -> None:
        if self._thread is None and not self._closed:
            self._start()
        waiting += self._table_rows
        if self._closed or waiting > KEPT * self._flush_rows:
            self.flush()  # nobody else will, or there is no more room: the caller waits for the disk
        elif waiting >= self._flush_rows and not self._due.is_set():
            self._due.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._tend, name="assay-recorder", daemon=True)
                self._thread.start()
                self._wake_at = self._flush_rows
                atexit.register(self.flush)
                if util := sys.modules.get("multiprocessing.util"):  # its processes end without what atexit was told
                    util.Finalize(None, self.flush, exitpriority=0)

    def _tend(self) -> None:
        while not self._closed:
            self._due.wait(self._flush_s)
            self._due.clear()
            try:
                self.flush()
            except Exception:  # noqa: BLE001 - the next flush may go well; the service goes on in any case
                _LOG.exception("recording in %s failed", self._folder)

    def _written(self, rows: int, write: Callable[..., None], *what: object) -> bool:
        try:
            write(self._folder, *what)
        except Exception as err:  # noqa: BLE001 - whatever it is, these rows wait, and the others are written
            self._error = getattr(err, "strerror", None) or type(err).__name__
            _LOG.error("%d rows could not be recorded in %s: %s", rows, self._folder, self._error)
            return False
        return True

    def _within_memory(self, failed: list[tuple[str, pa.Table]]) -> list[tuple[str, pa.Table]]:
        """Keep the oldest rows that fit; the newest beyond are lost, and counted."""
        kept, room = [], KEPT * self._flush_rows
        for name, table in failed:
            fits = table.slice(0, max(room, 0))
            room -= fits.num_rows
            self._lost += table.num_rows - fits.num_rows
            if fits.num_rows:
                kept.append((name, fits))
        return kept


_RECORDERS: Final[WeakSet[Recorder]] = WeakSet()


def _after_fork() -> None:
    """What waits in a parent is written by the parent; locks may be held by threads that are not here."""
    for recorder in list(_RECORDERS):
        recorder._begin()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_after_fork)
