"""Arrays instead of tables: the signals that the monitor learns from them, and its counts, by its own questions.

An engine reads tables and takes seconds; thousands of runs are counted here instead. `differences` holds the counts
against those of the DuckDB engine over the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from streams import CLASSES, LEVELS, SEGMENTS, Rows, Stream

from assay.engines.base import (
    MISSING,
    NOT_A_NUMBER,
    Bins,
    Code,
    ColumnFamily,
    CountQuery,
    Engine,
    Failed,
    Gap,
    Number,
    Profile,
    Quantity,
    Source,
    Span,
    Tally,
    Text,
    Values,
    WindowRows,
    Wrong,
)
from assay.engines.duckdb import DuckDb
from assay.monitoring.baseline import Baseline
from assay.monitoring.learning import learn_signals
from assay.monitoring.questions import ask
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.windows import count
from assay.storage.clock import utc_text

LATER = datetime(2200, 1, 1, tzinfo=UTC)
"""A reading of the clock after all that happens here."""

Ints = npt.NDArray[np.intp]
_TEXTS = {"label": CLASSES, "prediction": CLASSES, "segment": SEGMENTS} | {f"c{i}": len(LEVELS) for i in range(10)}
"""Columns of whole numbers that stand for texts, and how many there are."""


@dataclass(frozen=True)
class Learned:
    """A baseline, as `assay.monitoring.monitor.evaluate` takes it."""

    specs: tuple[SignalSpec, ...]
    windows: tuple[WindowCounts, ...]
    window: str


@dataclass(frozen=True)
class Arrays:
    """As much of an engine over one stream's baseline as learning signals asks for."""

    stream: Stream
    held: Rows

    def columns(self) -> Mapping[str, ColumnFamily]:
        """The columns by family."""
        families: dict[str, ColumnFamily] = {"time": "time"}
        for name, values in self.held.items():
            kind: ColumnFamily = "boolean" if values.dtype == np.bool_ else "number"
            families[name] = "text" if name in _TEXTS else kind
        return families

    def span(self, source: Source, time: str) -> Span:
        """From when to when the rows are."""
        del source, time
        last = self.stream.start(self.stream.baseline - 1)
        return Span(self.stream.start(0), last, len(self.held["label"]), 0)

    def profile(
        self,
        source: Source,
        quantities: Mapping[str, Quantity | Text],
        *,
        quantiles: Sequence[float] = (),
        top: int = 20,
    ) -> Mapping[str, Profile]:
        """How quantities are distributed."""
        del source
        out = {}
        for name, asked in quantities.items():
            if isinstance(asked, Text):
                many = np.bincount(cast("Ints", self.held[asked.column]))
                found = tuple(sorted(((str(i), int(n)) for i, n in enumerate(many) if n), key=lambda p: (-p[1], p[0])))
                out[name] = Profile(int(many.sum()), 0, distinct=len(found), top=found[:top])
                continue
            values = number(self.held, asked)
            there = values[~np.isnan(values)]
            at = np.quantile(there, quantiles, method="inverted_cdf")
            least, most = float(there.min()), float(there.max())
            known = tuple(float(x) for x in at)
            missing = len(values) - len(there)
            out[name] = Profile(
                len(values), missing, distinct=len(np.unique(there)), quantiles=known, least=least, most=most
            )
        return out

    def counts(self, source: Source, query: CountQuery) -> Tally:
        """Counts over all rows as one window."""
        del source
        of = np.zeros(len(self.held["label"]), dtype=np.intp)
        answers = {}
        for question in query.questions:
            joint, sizes, low = joint_code(self.held, question.codes)
            many = np.bincount(joint)
            codes = np.stack(np.unravel_index(np.flatnonzero(many), sizes), axis=1) + low
            answers[question.name] = {
                (0, *(int(c) for c in row)): int(many[many > 0][i]) for i, row in enumerate(codes)
            }
        return Tally((WindowRows(len(of)),), answers)


def number(rows: Rows, asked: Quantity) -> npt.NDArray[np.float64]:
    """A quantity of every row."""
    if isinstance(asked, Number):
        return np.asarray(rows[asked.column], dtype=np.float64)
    if isinstance(asked, Gap):
        right = rows[asked.prediction] == rows[asked.label]
        return np.abs(np.asarray(rows[asked.confidence], dtype=np.float64) - right)
    left, other = (np.asarray(rows[c], dtype=np.float64) for c in (asked.left, asked.right))
    return np.abs(left - other)


def code_of(rows: Rows, code: Code) -> Ints:
    """The code of every row, as `assay.engines.base` defines it."""
    if isinstance(code, Bins):
        values = number(rows, code.of)
        found = np.searchsorted(np.array(code.edges), values, side="left")
        return np.where(np.isnan(values), NOT_A_NUMBER, found).astype(np.intp)
    if isinstance(code, Values):
        column = code.of.column
        places = {value: i for i, value in enumerate(code.values)}
        known = np.array([places.get(str(i), len(code.values)) for i in range(_TEXTS[column])], dtype=np.intp)
        return known[rows[column]]
    if isinstance(code, Wrong):
        return np.asarray(rows[code.prediction] != rows[code.label]).astype(np.intp)
    if isinstance(code, Failed):
        return np.asarray(rows[code.column]).astype(np.intp)
    raise TypeError(f"no code for {code}")


def joint_code(rows: Rows, codes: Sequence[Code], memo: dict[Code, Ints] | None = None) -> tuple[Ints, list[int], Ints]:
    """Several codes as one number, with how many values each may have and the least of each."""
    each = []
    for code in codes:
        found = None if memo is None else memo.get(code)
        if found is None:
            found = code_of(rows, code)
            if memo is not None:
                memo[code] = found
        each.append(found)
    low = np.full(len(codes), NOT_A_NUMBER if any(isinstance(c, Bins) for c in codes) else MISSING, dtype=np.intp)
    sizes = [_most(code) - int(least) + 1 for code, least in zip(codes, low, strict=True)]
    return np.ravel_multi_index([e - least for e, least in zip(each, low, strict=True)], sizes), sizes, low


def _most(code: Code) -> int:
    if isinstance(code, Bins):
        return len(code.edges)
    return len(code.values) if isinstance(code, Values) else 1


def tally(
    stream: Stream, specs: Sequence[SignalSpec], schema: PredictionSchema, first: int, last: int
) -> tuple[WindowCounts, ...]:
    """The counts of the windows ``first..last - 1`` of a stream."""
    questions = ask(specs, schema)
    out: dict[str, npt.NDArray[np.int64]] = {s.name: np.zeros((last - first, s.bins), np.int64) for s in specs}
    for of, rows in stream.blocks(first, last):
        memo: dict[Code, Ints] = {}
        done: dict[tuple[Code, ...], tuple[Ints, list[int], Ints]] = {}
        at = of - first
        for spec in specs:
            if spec.kind == "volume":
                continue
            asked = questions[spec.name]
            codes = asked.question.codes
            if codes not in done:
                joint, sizes, low = joint_code(rows, codes, memo)
                width = int(np.prod(sizes))
                many = np.bincount(at * width + joint, minlength=(last - first) * width)
                done[codes] = many.reshape(last - first, width), sizes, low
            many, sizes, low = done[codes]
            for place in np.flatnonzero(many.any(0)):
                answer = tuple(int(c) + int(w) for c, w in zip(np.unravel_index(place, sizes), low, strict=True))
                bin_ = asked.bin_of(answer)
                if bin_ is not None:
                    out[spec.name][:, bin_] += many[:, place]
    windows = []
    for i in range(last - first):
        place = first + i
        counts = {s.name: tuple(out[s.name][i].tolist()) for s in specs if s.kind != "volume"}
        begin, end = utc_text(stream.start(place)), utc_text(stream.start(place + 1))
        windows.append(WindowCounts(begin, end, int(stream.sizes[place]), counts))
    return tuple(windows)


def schema_of(stream: Stream) -> PredictionSchema:
    """What the columns of a stream mean."""
    slices = tuple(f"c{i}" for i in range(10)) if stream.sliced else ("segment",)
    return PredictionSchema(
        time="time",
        prediction="prediction",
        confidence="confidence",
        latency_s="latency_s",
        error="failed",
        label="label",
        slices=slices,
    )


def judged(stream: Stream, *, window: str = "1d") -> tuple[Learned, tuple[WindowCounts, ...]]:
    """The baseline that the monitor learns from a stream, and the counts of its live windows."""
    schema = schema_of(stream)
    blocks = [rows for _, rows in stream.blocks(0, stream.baseline)]
    held: Rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    arrays = Arrays(stream, held)
    source = Source(table=pa.table({"none": [0]}))
    specs, _ = learn_signals(cast("Engine", arrays), source, schema, arrays.columns(), "classification")
    counts = tally(stream, specs, schema, 0, stream.windows)
    return Learned(specs, counts[: stream.baseline], window), counts[stream.baseline :]


def as_table(stream: Stream, first: int, last: int) -> pa.Table:
    """The rows of some windows as a table with times, evenly spread over each window."""
    blocks = list(stream.blocks(first, last))
    of = np.concatenate([windows for windows, _ in blocks])
    inside = np.arange(len(of)) - np.searchsorted(of, of)
    span = int(stream.span.total_seconds() * 1e6)
    micros = int(stream.start(0).timestamp() * 1e6) + of * span + inside * span // stream.sizes[of]
    columns = {"time": pa.array(micros.astype("datetime64[us]"), pa.timestamp("us", tz="UTC"))}
    for name in blocks[0][1]:
        values = np.concatenate([rows[name] for _, rows in blocks])
        columns[name] = pa.array(values.astype(str) if name in _TEXTS else values)
    return pa.table(columns)


def differences(stream: Stream, *, window: str = "1d") -> list[str]:
    """Where the signals or counts differ from those that the monitor learns and counts with DuckDB."""
    schema, engine = schema_of(stream), DuckDb()
    whole, before = as_table(stream, 0, stream.windows), as_table(stream, 0, stream.baseline)
    baseline = Baseline.learn(engine, Source(table=before), schema, window=window, now=LATER)
    source, families = Source(table=whole), baseline.families
    theirs = count(
        engine, source, schema, baseline.specs, window=window, now=LATER, families=families, live=False
    ).windows
    learned, live = judged(stream, window=window)
    out = []
    if [s.to_json() for s in learned.specs] != [s.to_json() for s in baseline.specs]:
        out.append("the signals differ")
    for one, other in zip((*learned.windows, *live), theirs, strict=True):
        for spec in learned.specs:
            if spec.kind == "volume":
                continue
            mine, found = one.counts[spec.name], other.counts.get(spec.name, (0,) * spec.bins)
            if mine != found:
                out.append(f"{one.start} {spec.name}: {mine} here, {found} by DuckDB")
    return out
