"""What a Parquet file holds and every reader opens; all else is written as text, so that it costs no row.

Whoever asks a service may choose what is logged: an empty object, or lists within lists within lists. Of such a value
some files cannot be written, others not be read, and one that holds itself ends the process that looks at its type.
"""

from __future__ import annotations

import io
from array import array
from collections import deque
from collections.abc import Collection, Sequence, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

NESTED: Final = 8
"""Lists within lists, and groups, beyond which a value is text. Arrow reads a hundred levels of a file's columns, and a
value holds up to three of them for each of its own; DuckDB takes time that doubles with each to write them as text."""

_FIRST, _LAST = datetime.min, datetime.max  # noqa: DTZ901 - the same
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a column's own zone says what it is in
_SINGLE: Final = frozenset(
    (type(None), bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, UUID, np.float64, np.int64)
)


def flat(values: Sequence[object]) -> bool:
    """Whether no value is so deep, or holds itself, that its type must not be looked for."""
    if _SINGLE.issuperset(map(type, values)):
        return True
    return all(_fits(value, NESTED) for value in values if type(value) not in _SINGLE)


def _fits(value: object, levels: int) -> bool:
    parts: Any
    if isinstance(value, np.generic | str):
        return True
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, list | tuple | set | frozenset | deque | ValuesView):
        if levels and _numbers(value):
            return True
        parts = value
    elif isinstance(value, np.ndarray):
        if value.dtype.names is None and value.dtype != object:
            return value.ndim <= levels
        parts = value.tolist() if value.ndim else [value.item()]
    else:
        return True
    if not levels:
        return False
    each = parts if not _SINGLE.issuperset(map(type, parts)) else ()
    return all(_fits(one, levels - 1) for one in each if type(one) not in _SINGLE)


def _numbers(values: Collection[Any]) -> bool:
    """Whether these are numbers alone, as those of a vector: seen sooner than by the types of all of them."""
    try:
        return bool(array("d", values))
    except (TypeError, OverflowError):
        return False


def said(value: object) -> str:
    """What a value calls itself, in letters that can be written."""
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - a service's own class may raise anything; its row is kept all the same
        return type(value).__name__


def storable(table: pa.Table, names: Collection[str] | None = None) -> pa.Table:
    """The same table, with text in the place of every column that could not be written, or not be read.

    Args:
        table: Of any types; its texts may be no UTF-8.
        names: The columns that are looked at; None for all.
    """
    for place, name in enumerate(table.column_names if names is None or names else ()):
        if (names is None or name in names) and not sound(table.column(place)):
            table = table.set_column(place, name, as_text(table.column(place)))
    return table


def sound(column: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a column can be written, and read by everyone."""
    kind = column.type
    how = _written(kind)
    if how == "times":
        low, high = _lived(kind)
        ends = pc.min_max(column.cast(pa.int64())).as_py()
        return ends["min"] is None or bool(low <= ends["min"] and ends["max"] <= high)
    if how != "checked":
        return how == "numbers"
    try:
        column.validate(full=True)
    except pa.ArrowException:
        return False
    return not (pa.types.is_dictionary(kind) and any(one.dictionary.null_count for one in _chunks(column)))


@lru_cache(maxsize=1024)
def _written(kind: pa.DataType) -> Literal["numbers", "times", "checked", "never"]:
    """How columns of a type are written: whatever they hold, within limits of time, where they are valid, or not."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "numbers"
    try:
        if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
            pa.scalar(0, kind).as_py()  # an error for a zone that nobody knows
            return "numbers" if kind.unit == "ns" else "times"  # nanoseconds reach no year that is none
        if not pa.types.is_string(kind) and not _holds(kind, NESTED):
            return "never"
        pq.write_table(pa.table({"x": pa.array([], kind)}), io.BytesIO())
    except (pa.ArrowException, ValueError, OverflowError, OSError):
        return "never"
    return "checked"


def _lived(kind: pa.DataType) -> tuple[int, int]:
    """The first and the last time of a type that Python can tell in any zone, or the longest spans, in its unit."""
    unit = timedelta(**{{"s": "seconds", "ms": "milliseconds", "us": "microseconds"}[kind.unit]: 1})
    if pa.types.is_duration(kind):
        return -(timedelta.max // unit), timedelta.max // unit
    shift = timedelta(0) if kind.tz in (None, "UTC") else timedelta(days=1)
    return (_FIRST + shift - _EPOCH) // unit, (_LAST - shift - _EPOCH) // unit


def _holds(kind: pa.DataType, levels: int) -> bool:
    """Whether a type is made of few levels, none of them without anything in it."""
    if isinstance(kind, pa.BaseExtensionType):
        return _holds(kind.storage_type, levels)
    if pa.types.is_dictionary(kind):
        return not pa.types.is_nested(kind.value_type)
    if pa.types.is_fixed_size_list(kind) and not kind.list_size:
        return False
    inside = [kind.field(place) for place in range(kind.num_fields)]
    if pa.types.is_struct(kind) and len({field.name for field in inside}) != max(len(inside), 1):
        return False
    return not inside or (levels > 0 and all(_holds(field.type, levels - 1) for field in inside))


def _chunks(column: pa.Array | pa.ChunkedArray) -> Sequence[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def in_words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, as Arrow writes it; in the words of Python where it does not."""
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        return pa.chunked_array([as_text(column)])


def as_text(column: pa.ChunkedArray) -> pa.Array:
    """A column of any type in words."""
    return pa.array([_told(one) for one in column], pa.string())


def _told(one: pa.Scalar) -> str | None:
    if not one.is_valid:
        return None
    try:
        return said(one.as_py())
    except (pa.ArrowException, ValueError, OverflowError):
        if pa.types.is_string(one.type) or pa.types.is_large_string(one.type):
            return bytes(one.as_buffer()).decode("utf-8", "replace")
        return said(getattr(one, "value", one.type))
