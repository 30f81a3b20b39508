"""Tables in memory, as Arrow has them."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from assay.engines.base import Source
from assay.engines.files import refuse_twins
from assay.errors import TableError

HERE: Final = "the table in memory"


def in_memory(source: Source) -> pa.Table | None:
    """The table of a source, without dictionaries; None for files.

    Raises:
        TableError: When it is no table, or has no column, or two of one name.
    """
    if source.table is None:
        return None
    try:
        table = pa.table(source.table)
        plain = [decoded(column) for column in table.columns]
    except Exception as err:  # whoever made the table raises what they like
        raise TableError(
            f"cannot read {HERE}: it does not become columns of one type each ({type(err).__name__})"
        ) from err
    if not plain:
        raise TableError(f"{HERE} has no columns")
    refuse_twins(HERE, table.column_names)
    return pa.table(plain, names=table.column_names)


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column with its values in place and in types that every engine reads, the values unchanged.

    Arrow decodes no dictionary of views, which polars makes. DuckDB reads no 16-bit floats and no decimals beyond 38
    digits from memory, and refuses a map that has a key twice.
    """
    if pa.types.is_dictionary(column.type):
        kind = column.type.value_type
        kind = pa.string() if pa.types.is_string_view(kind) else kind
        column = pa.chunked_array([c.dictionary.cast(kind).take(c.indices) for c in column.chunks], kind)
    kind = readable(column.type)
    return column if kind == column.type else column.cast(kind)


def readable(kind: pa.DataType) -> pa.DataType:
    """The type that a column has for every engine; numbers of more than 38 digits become the nearest doubles."""
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_decimal256(kind):
        return pa.float64()
    if pa.types.is_map(kind):
        entry = [pa.field("key", readable(kind.key_type)), pa.field("value", readable(kind.item_type))]
        return pa.list_(pa.struct(entry))
    if pa.types.is_list(kind) and readable(kind.value_type) != kind.value_type:
        return pa.list_(readable(kind.value_type))
    return kind
