"""Records what a model is asked and answers, beside the service that runs it."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import StorageError
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.partitions import TIME, Label, as_table, check_columns, together, write_labels, write_table

_LOG = logging.getLogger("assay.recorder")

KEPT: Final = 100
"""While the disk refuses, so many times ``flush_rows`` are kept in memory; rows beyond are lost, and counted."""


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
        pa.array([0])  # the first one looks for pandas, half a second that no request should wait for
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._prefix = secrets.token_hex(8)
        self._numbers = count()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._rows: dict[tuple[str, ...], list[tuple[object, ...]]] = {}
        self._tables: list[pa.Table] = []
        self._waiting = 0
        self._labels: list[Label] = []
        self._failed: list[tuple[str, pa.Table]] = []
        self._lost = 0
        self._error: str | None = None
        self._due = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """Rows and labels that could not be kept while the disk refused."""
        return self._lost

    def log(self, row: Mapping[str, object]) -> str:
        """Record one request.

        Args:
            row: Inputs by column name, with ``prediction`` and any of ``confidence``, ``latency_s`` (seconds),
                ``error``, ``time`` (timezone-aware; now when missing), ``request_id`` (made when missing),
                ``label``, ``label_time``, ``model``.

        Returns:
            The request id, for `label`.

        Raises:
            ValueError: When ``time`` is no time, or has no timezone.
        """
        if os.getpid() != self._pid:
            self._begin()
        at = row.get("time")
        if at is None:
            at = self._clock()
        _check_time(at)
        given = row.get("request_id")
        request_id = f"{self._prefix}{next(self._numbers):016x}" if given is None else str(given)
        made = {**row, "time": at, "request_id": request_id, "model": row.get("model") or self._model}
        names, values = tuple(made), tuple(made.values())
        with self._lock:
            if names in self._rows:
                self._rows[names].append(values)
            else:
                self._rows[names] = [values]
            self._waiting += 1
            waiting = self._waiting
        if waiting == 1 or waiting >= self._flush_rows:
            self._wake(waiting)
        return request_id

    def log_batch(self, table: pa.Table) -> list[str]:
        """Record a table of requests, with the columns of `log`; gives their request ids.

        Raises:
            ValueError: When its column ``time`` holds no times, or times without a timezone.
        """
        if os.getpid() != self._pid:
            self._begin()
        if not table.num_rows:
            return []
        made, ids = self._completed(table)
        with self._lock:
            self._tables.append(made)
            self._waiting += made.num_rows
            waiting = self._waiting
        self._wake(waiting)
        return ids

    def label(self, request_id: str, label: str | float | bool, at: datetime | None = None) -> None:
        """Record what turned out to be true of a request; `assay.monitoring.partitions.settle` joins it.

        Args:
            request_id: As `log` gave it.
            label: The truth.
            at: When it became known; now by default.

        Raises:
            ValueError: When ``at`` has no timezone.
        """
        at = self._clock() if at is None else at
        _check_time(at)
        if os.getpid() != self._pid:
            self._begin()
        with self._lock:
            if len(self._labels) >= KEPT * self._flush_rows:
                self._lost += 1
                return
            self._labels.append(Label(request_id, label, at))
            waiting = len(self._labels)
        self._wake(waiting)

    def watch(self, predictor: Predictor) -> Predictor:
        """A predictor that answers as this one does, and records inputs, answers, latency and errors."""
        return _Watched(predictor, self)

    def flush(self) -> None:
        """Write everything that waits; it is on the disk when this returns. What the disk refuses keeps waiting."""
        if os.getpid() != self._pid:
            self._begin()
        with self._writing:  # one file at a time, and none is forgotten when two threads flush
            with self._lock:
                rows, self._rows = self._rows, {}
                tables, self._tables = self._tables, []
                labels, self._labels = self._labels, []
                self._waiting = 0
                # The name is given before the first try: rows tried twice are there once.
                batches, self._failed = self._failed, []
            tables = [*tables, *(as_table(names, values) for names, values in rows.items())]
            if tables:
                batches = [*batches, (uuid.uuid4().hex, together(tables))]
            self._error = None
            failed = [batch for batch in batches if not self._write(*batch)]
            kept_labels = bool(labels) and not self._write_labels(labels)
            with self._lock:
                self._failed = self._within_memory(failed)
                if kept_labels:
                    self._labels = [*labels, *self._labels]

    def close(self) -> None:
        """Write everything that waits, and end.

        Raises:
            StorageError: When rows could not be written, or were lost before.
        """
        if os.getpid() != self._pid:
            self._begin()
        self._closed = True
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
        rows = table.num_rows
        model, now = pa.scalar(self._model), pa.scalar(self._clock(), TIME)
        made = {name: table[name] for name in table.column_names}
        made["time"] = pc.fill_null(_times(made["time"]), now) if "time" in made else pa.repeat(now, rows)
        made["model"] = (
            pc.fill_null(made["model"].cast(pa.string()), model) if "model" in made else pa.repeat(model, rows)
        )
        prefix = secrets.token_hex(8)  # of its own: another thread may be counting
        fresh = [f"{prefix}{number:016x}" for number in range(rows)]
        if "request_id" in made:
            given = made["request_id"].cast(pa.string()).to_pylist()
            fresh = [new if old is None else old for new, old in zip(fresh, given, strict=True)]
        made["request_id"] = pa.array(fresh, pa.string())
        return pa.table(made), fresh

    def _wake(self, waiting: int) -> None:
        if self._thread is None:
            self._start()
        if waiting < self._flush_rows:
            return
        if waiting > KEPT * self._flush_rows:
            self.flush()  # no more room: the caller waits for the disk
        elif not self._due.is_set():
            self._due.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._tend, name="assay-recorder", daemon=True)
                self._thread.start()
                atexit.register(self.flush)

    def _tend(self) -> None:
        while not self._closed:
            self._due.wait(self._flush_s)
            self._due.clear()
            self.flush()

    def _write(self, name: str, table: pa.Table) -> bool:
        try:
            write_table(self._folder, table, name)
        except (OSError, pa.ArrowException) as err:
            return self._refused(err, table.num_rows)
        return True

    def _write_labels(self, labels: Sequence[Label]) -> bool:
        try:
            write_labels(self._folder, labels, uuid.uuid4().hex)
        except (OSError, pa.ArrowException) as err:
            return self._refused(err, len(labels))
        return True

    def _refused(self, err: Exception, rows: int) -> bool:
        self._error = getattr(err, "strerror", None) or type(err).__name__
        _LOG.error("%d rows could not be recorded in %s: %s", rows, self._folder, self._error)
        return False

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


class _Watched:
    """A predictor whose every call is recorded."""

    def __init__(self, predictor: Predictor, recorder: Recorder) -> None:
        self._predictor = predictor
        self._recorder = recorder

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row, and record inputs, answer, confidence, latency of the call in seconds, and errors."""
        check_columns(table.column_names)
        began = time.perf_counter()
        try:
            answer = self._predictor.predict(table)
        except Exception as err:
            said = {"prediction": [None], "confidence": [None], "error": [type(err).__name__]}
            self._log(table, {name: value * table.num_rows for name, value in said.items()}, began)
            raise
        sure = answer.confidence
        found = {"prediction": answer.labels.tolist(), "error": [None] * table.num_rows}
        self._log(table, {**found, "confidence": [None] * table.num_rows if sure is None else sure.tolist()}, began)
        return answer

    def _log(self, table: pa.Table, said: Mapping[str, list[object]], began: float) -> None:
        taken = time.perf_counter() - began
        if not table.num_rows:
            return
        told = {**said, "latency_s": [taken] * table.num_rows}
        added = as_table(list(told), list(zip(*told.values(), strict=True)))
        self._recorder.log_batch(pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **_of(added)}))


def _of(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise ValueError(f"column time holds {column.type}; it must hold timestamps with a timezone")
    return column.cast(TIME)


def _check_time(at: object) -> None:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError("a row's time must be a datetime with a timezone; use datetime.now(UTC)")
