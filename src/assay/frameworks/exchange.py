"""What two processes say to each other about a model: framed messages with rows and answers, never pickles.

A frame is eight bytes of length, big-endian, one byte of kind, and the content. Rows and answers are
Arrow streams. Whoever reads takes the other side for hostile: a model may have taken over its process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from assay.errors import LoadError
from assay.frameworks.base import Prediction

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

OPEN: Final = b"O"
READY: Final = b"R"
ROWS: Final = b"T"
ANSWER: Final = b"A"
REFUSED: Final = b"E"
HEAD: Final = 9  # bytes before the content of a frame
MOST_BYTES: Final = 1 << 30
"""Longest content that is read: 1 GiB, the scores of 5,000 rows for 26,000 classes."""

Receive = Callable[[int], bytes]
"""Gives exactly so many bytes, or raises."""


def framed(kind: bytes, content: bytes) -> bytes:
    """A message as it goes over the wire."""
    return len(content).to_bytes(8, "big") + kind + content


def receive(take: Receive) -> tuple[bytes, bytes]:
    """The next message: its kind and content.

    Raises:
        LoadError: It says it is longer than any answer.
    """
    head = take(HEAD)
    length = int.from_bytes(head[:8], "big")
    if length > MOST_BYTES:
        raise LoadError(f"the model's process wants to send {length} bytes; {MOST_BYTES} are taken")
    return head[8:], take(length)


def rows_to_bytes(table: pa.Table) -> bytes:
    """A table as an Arrow stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def rows_from_bytes(content: bytes) -> pa.Table:
    """The table that `rows_to_bytes` wrote.

    Raises:
        LoadError: It is none.
    """
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(content) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as err:
        raise LoadError("the model's process sent what is no table") from err
    return table


def answer_to_bytes(prediction: Prediction) -> bytes:
    """A prediction as an Arrow stream: labels, confidence and one column of scores for each class."""
    import numpy as np
    import pyarrow as pa

    columns = {"label": _values(prediction.labels)}
    if prediction.confidence is not None:
        columns["confidence"] = pa.array(np.asarray(prediction.confidence, dtype=np.float64))
    scores = None if prediction.scores is None else np.asarray(prediction.scores, dtype=np.float64)
    for at in range(0 if scores is None else scores.shape[1]):
        columns[f"score {at}"] = pa.array(np.ascontiguousarray(scores[:, at]) if scores is not None else [])
    classes = None if prediction.classes is None else [_plain(one) for one in prediction.classes]
    said = {"scores": None if scores is None else scores.shape[1], "classes": classes}
    return rows_to_bytes(pa.table(columns).replace_schema_metadata({"said": json.dumps(said)}))


def answer_from_bytes(content: bytes, rows: int) -> Prediction:
    """The prediction that `answer_to_bytes` wrote.

    Args:
        content: What came.
        rows: How many rows were asked about.

    Raises:
        LoadError: It is no prediction of so many rows.
    """
    import numpy as np

    table = rows_from_bytes(content)
    try:
        said = json.loads((table.schema.metadata or {})[b"said"])
        labels = _labels(table.column("label"))
        confidence = _numbers(table, "confidence") if "confidence" in table.column_names else None
        scores, classes = said["scores"], said["classes"]
        columns = [] if scores is None else [_numbers(table, f"score {at}") for at in range(int(scores))]
        matrix = None if scores is None else np.column_stack(columns) if columns else np.zeros((table.num_rows, 0))
        named = None if classes is None else tuple(classes)
    except (KeyError, TypeError, ValueError, RecursionError) as err:  # Arrow's own errors are of these kinds
        raise LoadError("the model's process sent what is no prediction") from err
    if len(labels) != rows:
        raise LoadError(f"the model's process answered for {len(labels)} of {rows} rows")
    return Prediction(labels, confidence, matrix, named)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    import numpy as np

    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _labels(column: pa.ChunkedArray) -> np.ndarray:
    import numpy as np
    import pyarrow as pa

    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type):
        return np.asarray(column.to_numpy())
    return np.array([*column.to_pylist(), None], dtype=object)[:-1]  # None keeps them from becoming a matrix


def _values(labels: np.ndarray) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(labels.tolist())
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):  # labels of several types
        return pa.array([None if one is None else str(one) for one in labels.tolist()])


def _plain(value: object) -> object:
    """A class as JSON has it."""
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | int | float | bool | None) else str(value)
