"""Arrow IPC and Feather files, written as Parquet batch by batch."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from assay.engines.files import forbidden
from assay.engines.sources.writing import plain, schema_of
from assay.errors import TableError


def bring(path: str, here: Path) -> None:
    """Write the rows of an Arrow file into a Parquet file, one batch in memory at a time.

    Args:
        path: An IPC file, with footer (also Feather) or without (a stream).
        here: The Parquet file.

    Raises:
        TableError: When it is none, is damaged, or holds what Parquet does not.
    """
    try:
        with pa.memory_map(path) as source:
            try:
                file = pa.ipc.open_file(source)
                batches = (file.get_batch(place) for place in range(file.num_record_batches))
                schema = file.schema
            except pa.ArrowInvalid:
                source.seek(0)
                batches = pa.ipc.open_stream(source)
                schema = batches.schema
            with pq.ParquetWriter(here, schema_of(schema, path)) as writer:
                for batch in batches:
                    batch.validate(full=True)
                    writer.write_batch(plain(batch))
    except PermissionError as err:
        raise forbidden(path) from err
    except (pa.ArrowException, OSError, ValueError) as err:
        said = f"cannot read {path}: it is no Arrow file, is damaged, or holds what Parquet does not"
        raise TableError(said, files=[path]) from err
