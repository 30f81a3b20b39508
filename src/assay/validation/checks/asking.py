"""How every check reads its table, asks the model, and turns a counted rate into a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, isnan
from pathlib import Path
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import AssayError, SuiteError, TableError
from assay.frameworks.base import Prediction, Predictor
from assay.inference.intervals import wilson
from assay.lineage.files import check_columns, is_data, read_table
from assay.validation.report import Outcome

ANY_SIZE = 1e300  # the upper end of a limit without one; infinity cannot be signed

Rows: TypeAlias = Path | str | pa.Table
Values = np.ndarray[tuple[int], np.dtype[np.object_]]


def take(rows: Rows, needs: Sequence[str] = ()) -> pa.Table:
    """The table of a check: read from disk once, or as it is in memory (pyarrow, pandas, polars).

    Raises:
        TableError: It is missing, unreadable or empty, or lacks a column.
        SuiteError: It is no table.
    """
    if isinstance(rows, str | Path):
        return read_table(rows, needs=needs)
    if not hasattr(rows, "__arrow_c_stream__"):
        raise SuiteError(f"a check takes a file or a table, not a {type(rows).__name__}")
    try:
        table = pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as err:
        raise TableError(f"the {type(rows).__name__} of a check cannot be taken as a table") from err
    if not table.num_rows:
        raise TableError("the table of a check has no rows")
    check_columns(table.column_names, needs, "the table of a check")
    return table.select([name for name in table.column_names if is_data(name)])


def features(table: pa.Table, chosen: Sequence[str] | None, without: Sequence[str] = ()) -> pa.Table:
    """The columns that the model is given: the chosen ones, or all but those that are none.

    Raises:
        TableError: A chosen column is missing, or none is left.
    """
    if chosen is None:
        chosen = [name for name in table.column_names if name not in without]
    if not chosen:
        raise TableError("the table of a check has no feature columns")
    check_columns(table.column_names, chosen, "the table of a check")
    return table.select(list(chosen))


def labels(table: pa.Table, column: str) -> Values:
    """The labels as Python values; every row must have one.

    Raises:
        TableError: A label is missing (null or NaN); the message names the column and the rows.
    """
    values = table.column(column)
    gone = np.flatnonzero(pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False))
    if len(gone):
        shown = ", ".join(map(str, gone[:20])) + (", …" if len(gone) > 20 else "")  # noqa: PLR2004 - fits a line
        raise TableError(f"the label {column!r} is missing in {len(gone)} rows: {shown}")
    return plain(values.to_pylist())


def plain(values: Iterable[object]) -> Values:
    """A vector of Python values, so that 1, 1.0 and numpy's 1 are equal and text is text."""
    bare = [value.item() if isinstance(value, np.generic) else value for value in values]
    found = np.empty(len(bare), dtype=object)
    found[:] = bare
    return found


def ask(predictor: Predictor, table: pa.Table) -> Prediction:
    """The model's answer, one for each row.

    Raises:
        TableError: The model refused, failed, or answered for another number of rows.
    """
    try:
        answer = predictor.predict(table)
    except AssayError:
        raise
    except Exception as err:  # it is the user's model: whatever it raises is an answer of that model
        raise TableError(f"the model failed on {table.num_rows} rows ({type(err).__name__})") from err
    if len(answer.labels) != table.num_rows:
        raise TableError(f"the model answered for {len(answer.labels)} of {table.num_rows} rows")
    return answer


def differing(now: Values, then: Values, tolerance: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where two answers are not the same: floats within the tolerance (NaN is NaN), all else exactly."""

    def differ(one: object, other: object) -> bool:
        if isinstance(one, float) and isinstance(other, float):
            if isnan(one) or isnan(other):
                return isnan(one) != isnan(other)
            return one != other and not abs(one - other) <= tolerance
        return bool(one != other)

    return np.array([differ(one, other) for one, other in zip(now, then, strict=True)], dtype=bool)


def agreeing(predicted: Values, wanted: Values, column: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where the model says what the label says.

    Raises:
        TableError: One side is text and the other is not, so that they could never agree.
    """
    sides = [{isinstance(value, str) for value in side} for side in (predicted, wanted)]
    if sides[0].isdisjoint(sides[1]):
        raise TableError(f"label {column!r} and the model's answers can never agree: one is text, the other is not")
    return np.asarray(predicted == wanted, dtype=bool)


def share(value: float, what: str, *, low: float = 0.0, high: float = 1.0) -> float:
    """A limit that makes sense.

    Raises:
        SuiteError: It is outside [low, high] or no number.
    """
    if not isinstance(value, int | float) or not low <= value <= high:
        raise SuiteError(f"{what} must be from {low:g} to {high:g}, not {value!r}")
    return float(value)


def limits(rate: float, level: float) -> tuple[float, float]:
    """A rate that rows can show, and a level of confidence.

    Raises:
        SuiteError: They make no sense; no number of rows shows that a rate is exactly 0 or 1.
    """
    if rate in (0, 1):
        raise SuiteError(f"no number of rows shows that a rate is exactly {rate:g}; allow a little, such as 0.01")
    return share(rate, "a rate"), share(level, "level", low=0.501, high=0.9999)


def at_least(successes: int, n: int, wanted: float, level: float) -> tuple[Outcome, float, float, int]:
    """Is a rate at least as high as wanted? Pass or fail only when the interval says so.

    Args:
        successes: How many of ``n``.
        n: Independent rows.
        wanted: The rate, in [0, 1].
        level: One-sided confidence of either verdict, in (0.5, 1).

    Returns:
        The outcome, both ends of the interval, and how many rows about would decide it (0 when decided, or
        when the observed rate is the wanted one, which no number of rows decides).
    """
    low, high = wilson(successes, n, 2 * level - 1)
    if low >= wanted:
        return Outcome.PASS, low, high, 0
    if high < wanted:
        return Outcome.FAIL, low, high, 0
    rate = successes / n if n else wanted
    gap = abs(rate - wanted)
    z = NormalDist().inv_cdf(level)
    needed = ceil(z * z * max(rate * (1 - rate), wanted * (1 - wanted)) / (gap * gap)) if gap else 0
    return Outcome.INSUFFICIENT, low, high, max(needed, n + 1) if needed else 0


def at_most(events: int, n: int, allowed: float, level: float) -> tuple[Outcome, float, float, int]:
    """Is a rate at most as high as allowed? The mirror image of ``at_least``."""
    outcome, low, high, needed = at_least(n - events, n, 1 - allowed, level)
    return outcome, 1 - high, 1 - low, needed


def needs(rows: int) -> str:
    """How many rows would decide, in words."""
    return f"about {rows:,} rows would decide" if rows else "the rate is too close to the limit to decide"
