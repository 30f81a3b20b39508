"""Records what a model is asked and answers, beside the service that runs it."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from assay.errors import StorageError
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.partitions import Label, check_columns, write_labels, write_rows

_LOG = logging.getLogger("assay.recorder")

KEPT: Final = 100
"""While the disk refuses, so many times ``flush_rows`` are kept in memory; rows beyond are lost, and counted."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Recorder:
    """Writes rows to hour partitions of Parquet files: ``date=YYYY-MM-DD/hour=HH/<hex>.parquet`` by the row's time.

    A killed process loses at most the rows of one flush. A disk that refuses does not stop the service: rows wait in
    bounded memory, what does not fit is counted in ``lost`` and written to the log of Python, and `close` raises.
    Threads may share a Recorder; a forked process begins with an empty one.

    Args:
        folder: Where the partitions are made.
        model: Root digest of the model that answers, in hex; it is written to every row.
        flush_rows: Rows that are written together.
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
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._rows: list[Mapping[str, object]] = []
        self._labels: list[Label] = []
        self._failed: list[tuple[str, Sequence[Mapping[str, object]]]] = []
        self._lost = 0
        self._error: str | None = None
        self._stop = threading.Event()
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
        return self._add([row])[0]

    def log_batch(self, table: pa.Table) -> list[str]:
        """Record a table of requests, with the columns of `log`; gives their request ids."""
        return self._add(table.to_pylist())

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
        self._own()
        with self._lock:
            if len(self._labels) >= KEPT * self._flush_rows:
                self._lost += 1
                return
            self._labels.append(Label(request_id, label, at))
            full = len(self._labels) >= self._flush_rows
        self._wake(now=full)

    def watch(self, predictor: Predictor) -> Predictor:
        """A predictor that answers as this one does, and records inputs, answers, latency and errors."""
        return _Watched(predictor, self)

    def flush(self) -> None:
        """Write everything that waits. What the disk refuses keeps waiting."""
        self._own()
        with self._writing:  # one file at a time, and none is forgotten when two threads flush
            with self._lock:
                rows, self._rows = self._rows, []
                labels, self._labels = self._labels, []
                # The name is given before the first try: rows tried twice are there once.
                batches = [*self._failed, *([(uuid.uuid4().hex, rows)] if rows else [])]
                self._failed = []
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
        self._own()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()
        left = sum(len(rows) for _, rows in self._failed) + len(self._labels)
        if left or self._lost:
            reason = f" ({self._error})" if self._error else ""
            raise StorageError(
                f"{left + self._lost:,} recorded rows could not be written to {self._folder}{reason}: check the disk"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _add(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        made: list[Mapping[str, object]] = []
        ids: list[str] = []
        for row in rows:
            at = row.get("time")
            at = self._clock() if at is None else at
            _check_time(at)
            request_id = row.get("request_id")
            ids.append(uuid.uuid4().hex if request_id is None else str(request_id))
            made.append({**row, "time": at, "request_id": ids[-1], "model": row.get("model") or self._model})
        self._own()
        with self._lock:
            room = KEPT * self._flush_rows - len(self._rows)
            self._rows.extend(made[:room])
            self._lost += max(0, len(made) - room)
            full = len(self._rows) >= self._flush_rows
        self._wake(now=full)
        return ids

    def _own(self) -> None:
        """Begin anew in a forked process: the rows there are the parent's, and so is the thread."""
        if os.getpid() != self._pid:
            self._begin()

    def _wake(self, *, now: bool) -> None:
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._tend, name="assay-recorder", daemon=True)
                self._thread.start()
        if now:
            self.flush()

    def _tend(self) -> None:
        while not self._stop.wait(self._flush_s):
            self.flush()

    def _write(self, name: str, rows: Sequence[Mapping[str, object]]) -> bool:
        try:
            write_rows(self._folder, rows, name)
        except (OSError, pa.ArrowException) as err:
            return self._refused(err, len(rows))
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

    def _within_memory(
        self, failed: list[tuple[str, Sequence[Mapping[str, object]]]]
    ) -> list[tuple[str, Sequence[Mapping[str, object]]]]:
        """Keep the oldest batches that fit; the newest beyond are lost, and counted."""
        kept, room = [], KEPT * self._flush_rows
        for name, rows in failed:
            if len(rows) <= room:
                kept.append((name, rows))
                room -= len(rows)
            else:
                self._lost += len(rows)
        return kept


class _Watched:
    """A predictor whose every call is recorded."""

    def __init__(self, predictor: Predictor, recorder: Recorder) -> None:
        self._predictor = predictor
        self._recorder = recorder

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row, and record inputs, answer, confidence, latency of the call in seconds, and errors."""
        check_columns(table.column_names)
        rows = table.to_pylist()
        began = time.perf_counter()
        try:
            answer = self._predictor.predict(table)
        except Exception as err:
            taken = time.perf_counter() - began
            said = {"prediction": None, "latency_s": taken, "error": type(err).__name__}
            self._recorder._add([{**row, **said} for row in rows])  # noqa: SLF001 - of this file
            raise
        taken = time.perf_counter() - began
        labels = answer.labels.tolist()
        confidence = [None] * len(labels) if answer.confidence is None else answer.confidence.tolist()
        self._recorder._add(  # noqa: SLF001 - of this file
            [
                {**row, "prediction": label, "confidence": sure, "latency_s": taken, "error": None}
                for row, label, sure in zip(rows, labels, confidence, strict=True)
            ]
        )
        return answer


def _check_time(at: object) -> None:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError("a row's time must be a datetime with a timezone; use datetime.now(UTC)")
