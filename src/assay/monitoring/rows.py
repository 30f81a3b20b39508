"""Rows of Python values as tables of Arrow: no strange value costs a row, and no other thread waits for long."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.monitoring.storable import as_text, flat, said, sound

TIME: Final = pa.timestamp("us", tz="UTC")
_TYPES: Final[Mapping[str, pa.DataType]] = {
    "time": TIME,
    "confidence": pa.float64(),
    "latency_s": pa.float64(),
    "error": pa.string(),
    "label_time": TIME,
    "model": pa.string(),
    "request_id": pa.string(),
}

STEPS: Final = 16
"""The interpreter is handed over so many times, at most, while a table is made."""
_FEWEST: Final = 32
"""Rows that are worth a step."""
_BEYOND: Final = "is before the year 1 or after 9999, in UTC: no folder is named for it"
_PAUSE_S: Final = 5e-5  # shorter, and a thread that was woken finds the interpreter taken again


def hand_over() -> None:
    """Let threads that wait for the interpreter have it: it is taken from a thread by force only after 5 ms."""
    time.sleep(_PAUSE_S)


def as_table(
    names: Sequence[str], rows: Sequence[Sequence[object]], *, between: Callable[[], None] | None = None
) -> pa.Table:
    """Rows as a table. A column of mixed types becomes text: a strange value must not cost the others.

    Args:
        names: The columns.
        rows: At least one, each with a value for every column. A time may be whole microseconds since 1970.
        between: Called every few rows, so that a service that answers meanwhile is not kept waiting.
    """
    step = len(rows) if between is None else max(_FEWEST, -(-len(rows) // STEPS))
    chunks: list[list[pa.Array | None]] = [[] for _ in names]
    kinds = [_TYPES.get(name) for name in names]
    for start in range(0, len(rows), step):
        for place, values in enumerate(zip(*rows[start : start + step], strict=True)):
            chunks[place].append(_plain(values, kinds[place]))
        if between is not None:
            between()
    made = {}
    for place, name in enumerate(names):
        column = _joined(chunks[place])
        if column is None:  # of several types: seen as a whole, as it would be in a table of few rows
            column = pa.chunked_array([column_of([row[place] for row in rows], kinds[place])])
        made[name] = column
    return pa.table(made)


def _plain(values: Sequence[object], kind: pa.DataType | None) -> pa.Array | None:
    try:
        return pa.array(values, kind) if flat(values) else None
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def _joined(chunks: Sequence[pa.Array | None]) -> pa.ChunkedArray | None:
    """The parts of a column as one; None when they are not of one type that can be written."""
    read = [one for one in chunks if one is not None]
    types = {one.type for one in read} - {pa.null()}
    if len(read) < len(chunks) or len(types) > 1:
        return None
    # A column without a value has no type of its own; as text it gives way to any other.
    kind = types.pop() if types else pa.string()
    whole = [pa.nulls(len(one), kind) if pa.types.is_null(one.type) else one for one in read]
    column = pa.chunked_array(whole, kind)
    return column if sound(column) else None


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of different columns as one; what one lacks is null, and a column of two types becomes text."""
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="default")
    except (pa.ArrowException, TypeError):
        names = list(dict.fromkeys(name for table in tables for name in table.column_names))
        columns = [[value for table in tables for value in _values(table, name)] for name in names]
        return as_table(names, list(zip(*columns, strict=True)))


def _values(table: pa.Table, name: str) -> list[object]:
    if name not in table.column_names:
        return [None] * table.num_rows
    try:
        return list(table[name].to_pylist())
    except (pa.ArrowException, ValueError, OverflowError):  # a span of time that no value of Python holds, and so on
        return list(as_text(table[name]).to_pylist())


def column_of(values: Sequence[object], kind: pa.DataType | None = None) -> pa.Array:
    """Values as a column: of the type that is wanted, else of their own, else as text."""
    try:
        made = pa.array(values, kind) if flat(values) else None
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        made = None
    if made is None or not sound(made):
        made = _told(values, kind)
    return made.cast(pa.string()) if pa.types.is_null(made.type) else made


def _told(values: Sequence[object], kind: pa.DataType | None) -> pa.Array:
    """Values that are not all of one type: numbers where that is wanted and can be, text otherwise."""
    if kind is not None and not pa.types.is_timestamp(kind):
        plain = float if pa.types.is_floating(kind) else str
        with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
            return pa.array([None if value is None else _as(plain, value) for value in values], kind)
    return pa.array([None if value is None else said(value) for value in values], pa.string())


def _as(plain: type[float | str], value: object) -> object:
    try:
        return float(value) if plain is float and isinstance(value, int | float) else plain(said(value))
    except ValueError:
        return value


def filled(
    table: pa.Table, name: str, value: pa.Scalar, read: Callable[[pa.ChunkedArray], pa.ChunkedArray]
) -> pa.Table:
    """A table with a value in every row of a column: the row's own, or this one."""
    place = table.schema.get_field_index(name)
    if place < 0:
        return table.append_column(name, pa.repeat(value, table.num_rows))
    return table.set_column(place, name, pc.fill_null(read(table[name]), value))


def fresh_ids(rows: int) -> tuple[pa.Array, list[str]]:
    """New request ids, as a column and as texts; their beginning is their own, since another thread may be counting."""
    letters = np.empty((rows, 32), np.uint8)
    letters[:, :16] = np.frombuffer(secrets.token_hex(8).encode(), np.uint8)
    letters[:, 16:] = np.frombuffer(np.arange(rows, dtype=">u8").tobytes().hex().encode(), np.uint8).reshape(rows, 16)
    text = letters.tobytes()
    ends = pa.py_buffer(np.arange(0, 32 * rows + 1, 32, dtype=np.int32))
    told = text.decode("ascii")
    ids = [told[start : start + 32] for start in range(0, 32 * rows, 32)]
    return pa.StringArray.from_buffers(rows, ends, pa.py_buffer(text)), ids


def instants(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of times with a zone, in the years 1 to 9999; ValueError when it is none."""
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise ValueError(f"column time holds {column.type}; it must hold timestamps with a timezone")
    times = column.cast(TIME)
    try:
        pc.min_max(times).as_py()
    except OverflowError as err:
        raise ValueError(f"column time {_BEYOND}") from err
    return times


def instant(at: object) -> datetime:
    """A time with a zone, in the years 1 to 9999; ValueError when it is none."""
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError("a row's time must be a datetime with a timezone; use datetime.now(UTC)")
    try:
        return at.astimezone(UTC)
    except OverflowError as err:
        raise ValueError(f"a row's time {_BEYOND}") from err
