"""Feature columns: from the table that is given to the matrix that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from assay.errors import TableError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def select(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The columns a model was trained on, in its order; others are left alone.

    Raises:
        TableError: A column is missing, or stands twice.
    """
    have = list(table.column_names)
    missing = [name for name in names if name not in have]
    if missing:
        raise TableError(f"the model needs column {', '.join(missing)}; the table has {', '.join(have) or 'none'}")
    twice = [name for name in names if have.count(name) > 1]
    if twice:
        raise TableError(f"column {', '.join(twice)} stands twice in the table: which one is meant cannot be told")
    return table.select(list(names))


def in_order(table: pa.Table, wanted: int) -> pa.Table:
    """The table as a model that was trained without column names takes it: its features and nothing else.

    Raises:
        TableError: It has more or fewer columns than the model has features.
    """
    if wanted != table.num_columns:
        raise TableError(
            f"the model was trained without column names on {wanted} features, the table has {table.num_columns} "
            f"columns ({', '.join(table.column_names)}): give exactly the features, in their order"
        )
    return table


def frame(table: pa.Table) -> Any:  # noqa: ANN401  a pandas DataFrame where pandas is installed, else a matrix
    """The table as a model that knows column names takes it."""
    return table.to_pandas() if find_spec("pandas") is not None else matrix(table)


def matrix(table: pa.Table) -> np.ndarray:
    """The table as a matrix, shape (rows, columns).

    Numbers and truth values become 64-bit floats, a null becomes NaN. With any other column the
    whole matrix holds objects, and a null is None.
    """
    import numpy as np
    import pyarrow as pa

    numeric = all(_is_number(field.type) for field in table.schema)
    found = np.empty((table.num_rows, table.num_columns), dtype=np.float64 if numeric else object)
    for index, column in enumerate(table.columns):
        if numeric:
            found[:, index] = column.cast(pa.float64()).to_numpy()
        else:
            found[:, index] = np.asarray(column.to_pylist(), dtype=object)
    return found


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
