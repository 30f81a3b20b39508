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
    """A column with its values in place; Arrow decodes no dictionary of views, which polars makes."""
    if not pa.types.is_dictionary(column.type):
        return column
    kind = column.type.value_type
    kind = pa.string() if pa.types.is_string_view(kind) else kind
    return pa.chunked_array([c.dictionary.cast(kind).take(c.indices) for c in column.chunks], kind)
