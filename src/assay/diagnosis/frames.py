"""A logged table as arrays: inputs as numbers, classes as codes, times as seconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assay.diagnosis.learners import Bools, Floats, Ints
from assay.monitoring.schema import PredictionSchema

Texts = npt.NDArray[np.object_]
UNKNOWN = -1
MAX_CLASSES = 200
_FARTHEST = float(np.finfo(np.float32).max)  # a forest holds no number beyond, and refuses the whole table for one


@dataclass(frozen=True)
class Frame:
    """Rows of one period, in time order.

    Attributes:
        x: Inputs, shape (n, d); nulls and infinities as NaN, other numbers within those of 32 bits.
        filled: The same with each NaN replaced by the trusted median of its column, for the learners.
        label: Code of the true class, -1 where not known.
        served: Code of the class that was served, -1 where none was logged.
        time: Seconds since 1970 UTC, or row numbers where the table has no usable time.
        confidence: Logged confidence, NaN where none.
        row: Position of each row in the table it came from.
    """

    x: Floats
    filled: Floats
    label: Ints
    served: Ints
    time: Floats
    confidence: Floats
    row: Ints

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def known(self) -> Bools:
        """Rows of which both the truth and the answer are known."""
        return np.asarray((self.label != UNKNOWN) & (self.served != UNKNOWN))

    @cached_property
    def wrong(self) -> Bools:
        """Known rows that were answered wrongly."""
        return np.asarray(self.known & (self.label != self.served))

    def take(self, rows: Ints | Bools) -> Frame:
        """Some of the rows."""
        return Frame(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def stack(first: Frame, second: Frame) -> Frame:
    """Two periods one after the other."""
    return Frame(**{f.name: np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(first)})


def class_texts(values: pa.ChunkedArray | Iterable[object]) -> list[str | None]:
    """Classes as text, so that ``1``, ``1.0``, ``True`` and ``"1"`` are one class; null and NaN are None.

    Args:
        values: A pyarrow column, a NumPy array or a list.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        values = values.to_pylist()
    entries: Iterable[object] = values.tolist() if isinstance(values, np.ndarray) else values
    return [_text(value) for value in entries]


def _text(value: object) -> str | None:
    if isinstance(value, str):
        try:
            return _number_text(float(value)) or value
        except ValueError:
            return value
    if isinstance(value, float):
        return _number_text(value)
    if isinstance(value, bool):
        return str(int(value))
    return None if value is None else str(value)


def _number_text(value: float) -> str | None:
    if np.isnan(value):
        return None
    return str(int(value)) if value.is_integer() else repr(value)


@dataclass(frozen=True)
class Encoder:
    """How columns become numbers: learned from trusted rows, applied to all periods.

    Attributes:
        names: Feature columns, in order.
        words: For a text column the trusted values by falling frequency; absent for numbers.
        median: Trusted median of each column, 0 where a column has no number.
        classes: All classes, as text.
    """

    names: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    median: Floats
    classes: tuple[str, ...] = field(default=())

    @classmethod
    def learn(
        cls,
        trusted: Sequence[pa.Table],
        everything: Sequence[pa.Table],
        schema: PredictionSchema,
        names: tuple[str, ...],
    ) -> Encoder:
        """Learn from the trusted tables; classes come from all tables."""
        words: dict[str, tuple[str, ...]] = {}
        median = np.zeros(len(names))
        for j, name in enumerate(names):
            columns = [table.column(name) for table in trusted if name in table.column_names]
            if columns and _is_text(columns[0].type):
                counts: dict[str, int] = {}
                for column in columns:
                    for entry in pc.value_counts(column.cast(pa.string())).to_pylist():
                        counts[str(entry["values"])] = counts.get(str(entry["values"]), 0) + int(entry["counts"])
                words[name] = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
            values = [encode_column(column, words.get(name)) for column in columns]
            finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(0)
            median[j] = float(np.median(finite)) if len(finite) else 0.0
        seen: set[str] = set()
        for table in everything:
            for column in (schema.label, schema.prediction):
                if column is not None and column in table.column_names:
                    seen.update(text for text in class_texts(pc.unique(table.column(column))) if text is not None)
        return cls(names, words, median, tuple(sorted(seen)))

    @property
    def classified(self) -> bool:
        """Whether the answers are classes; numbers of many values are not."""
        return 0 < len(self.classes) <= MAX_CLASSES

    def frame(self, table: pa.Table, schema: PredictionSchema, *, limit: int, seed: int) -> Frame:
        """The table as arrays; a seeded sample of at most ``limit`` rows, in time order."""
        time = times(table, schema.time)
        rows = np.arange(table.num_rows)
        if len(rows) > limit:
            rows = np.sort(np.random.default_rng(seed).choice(len(rows), size=limit, replace=False))
        rows = rows[np.argsort(time[rows], kind="stable")]
        part = table.take(pa.array(rows))
        x = np.full((len(rows), len(self.names)), np.nan)
        for j, name in enumerate(self.names):
            if name in part.column_names:
                x[:, j] = encode_column(part.column(name), self.words.get(name))
        x[~np.isfinite(x)] = np.nan
        np.clip(x, -_FARTHEST, _FARTHEST, out=x)
        confidence = _numbers(part, schema.confidence)
        return Frame(
            x=x,
            filled=np.where(np.isnan(x), self.median, x),
            label=self._codes(part, schema.label),
            served=self._codes(part, schema.prediction),
            time=time[rows],
            confidence=confidence,
            row=rows.astype(np.int64),
        )

    def _codes(self, table: pa.Table, column: str | None) -> Ints:
        if column is None or column not in table.column_names or not self.classified:
            return np.full(table.num_rows, UNKNOWN, dtype=np.int64)
        return self.codes(table.column(column))

    def codes(self, values: pa.ChunkedArray | Iterable[object]) -> Ints:
        """Codes of classes; -1 for null and for classes never seen."""
        code = {name: i for i, name in enumerate(self.classes)}
        return np.array(
            [code.get(text, UNKNOWN) if text is not None else UNKNOWN for text in class_texts(values)], dtype=np.int64
        )


def encode_column(column: pa.ChunkedArray, words: tuple[str, ...] | None) -> Floats:
    """A column as numbers: text by its rank in ``words`` (unseen text comes last), times as seconds."""
    kind = column.type
    if words is not None:
        code = {word: i for i, word in enumerate(words)}
        try:
            texts = column.cast(pa.string()).to_pylist()
        except pa.ArrowException:  # bytes, lists, records: none of them was seen
            texts = [None if one is None else str(one) for one in column.to_pylist()]
        return np.array([np.nan if text is None else code.get(text, len(words)) for text in texts], dtype=np.float64)
    if _is_text(kind):  # a number column that turned into text: keep what still reads as a number
        return np.array([_parsed(text) for text in column.cast(pa.string()).to_pylist()], dtype=np.float64)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):  # an hour of the day is no moment
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64) / 1e6
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        return np.full(len(column), np.nan)
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_dictionary(kind)
    )


def _parsed(text: str | None) -> float:
    try:
        return float(text) if text is not None else np.nan
    except ValueError:
        return np.nan


def _numbers(table: pa.Table, column: str | None) -> Floats:
    if column is None or column not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return encode_column(table.column(column), None)


def times(table: pa.Table, column: str) -> Floats:
    """Seconds since 1970 UTC of each row; row numbers where the column is absent or no time."""
    rows = np.arange(table.num_rows, dtype=np.float64)
    if column not in table.column_names:
        return rows
    values = table.column(column)
    if _is_text(values.type):
        try:
            values = values.cast(pa.string()).cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            return rows
    seconds = encode_column(values, None)
    return seconds if bool(np.isfinite(seconds).all()) else rows
