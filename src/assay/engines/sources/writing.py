"""How rows from elsewhere are written as Parquet files that every engine reads the same."""

from __future__ import annotations

import pyarrow as pa

from assay.engines.files import refuse_twins
from assay.engines.memory import decoded, readable


def schema_of(schema: pa.Schema, path: str) -> pa.Schema:
    """The schema with the values of dictionaries in place, and no two columns of one name.

    Raises:
        TableError: When two columns are called the same.
    """
    refuse_twins(path, schema.names)
    return pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with the values of dictionaries in place."""
    columns = [decoded(pa.chunked_array([column])) for column in batch.columns]
    kinds = [_plain(column.type) for column in batch.columns]
    chunks = [column.cast(kind).combine_chunks() for column, kind in zip(columns, kinds, strict=True)]
    arrays = [chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk for chunk in chunks]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return readable(pa.string() if pa.types.is_string_view(kind) else kind)
