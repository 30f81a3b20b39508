"""Small changes of the input: the answer must stay, or move in the right direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from assay.errors import SuiteError, TableError
from assay.findings import Finding, Number, Severity
from assay.frameworks.base import Prediction, Predictor
from assay.validation.checks.asking import (
    ANY_SIZE,
    Rows,
    ask,
    at_most,
    differing,
    features,
    limits,
    needs,
    plain,
    share,
    take,
)
from assay.validation.report import CheckResult, Outcome

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


class Perturbation:
    """Noise far below what a person would notice must not change the answer.

    Every row is asked once as it is and once with normal noise on its numbers; passes when the interval of the share
    of changed answers lies at or below what is allowed.

    Args:
        table: Rows the model knows.
        noise_sd: Standard deviation of the noise, as a fraction of each column's own, > 0.
        at_most: Largest share of rows whose answer changes, in (0, 1).
        columns: Columns that get noise; default those of floating-point numbers.
        tolerance: For predicted numbers: the largest change that is none, in their unit, >= 0.
        level: One-sided confidence of a pass and of a fail, in (0.5, 1); intervals are Wilson's.
        seed: Of the noise; the same seed gives the same noise.
        label: A column that is no feature, if there is one.
        features: Columns that the model is given; default all but the label.
        name: What reports call it.

    Raises:
        TableError: The table cannot be read, has no rows or lacks a column.
        SuiteError: A limit makes no sense, or no column can take noise.
    """

    kind = "perturbation"

    def __init__(
        self,
        table: Rows,
        *,
        noise_sd: float = 0.01,
        at_most: float = 0.02,
        columns: Sequence[str] | None = None,
        tolerance: float = 1e-6,
        level: float = 0.95,
        seed: int = 0,
        label: str | None = None,
        features: Sequence[str] | None = None,
        name: str = "perturbation",
    ) -> None:
        self.name = name
        self._noise_sd = share(noise_sd, "noise_sd", low=1e-12, high=10.0)
        self.limits = limits(at_most, level)
        self._tolerance = share(tolerance, "tolerance", high=ANY_SIZE)
        self._inputs = _features(table, features, label)
        if columns is None:
            columns = [field.name for field in self._inputs.schema if pa.types.is_floating(field.type)]
        if not columns:
            raise SuiteError("no column holds floating-point numbers; name the columns that take noise with columns=")
        self._noisy = self._inputs
        rng = np.random.default_rng(seed)
        for column in columns:
            values = _numbers(self._inputs, column)
            spread = (
                float(np.nanstd(np.where(np.isfinite(values), values, np.nan))) if np.isfinite(values).any() else 0.0
            )
            self._noisy = _with(
                self._noisy, column, values + rng.normal(0.0, 1.0, len(values)) * self._noise_sd * spread
            )

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:  # noqa: ARG002 - the shelf's promise
        """Count the answers that changed."""
        before, after = ask(predictor, self._inputs), ask(predictor, self._noisy)
        off = differing(plain(after.labels), plain(before.labels), self._tolerance)
        what = f"answers change under noise of {self._noise_sd:g} standard deviations"
        return _judged(self, off, what)


class Directional:
    """Moving one feature must move the answer in one direction, or not at all.

    Classifiers are judged by the score of one class, regressions by the predicted number.

    Args:
        table: Rows the model knows.
        column: The feature that is moved; a column of numbers.
        change: What is added to it, in its unit.
        direction: ``up``: the answer must not fall; ``down``: it must not rise; ``same``: it must not move.
        of: The class whose score is judged; None for a regression.
        at_most: Largest share of rows that may go the wrong way, in (0, 1).
        tolerance: A move below this is none, in the unit of the score or number, >= 0.
        level: One-sided confidence of a pass and of a fail, in (0.5, 1); intervals are Wilson's.
        label: A column that is no feature, if there is one.
        features: Columns that the model is given; default all but the label.
        name: What reports call it.

    Raises:
        TableError: The table cannot be read, has no rows, or the column is missing or holds no numbers.
        SuiteError: A setting makes no sense.
    """

    kind = "directional"

    def __init__(
        self,
        table: Rows,
        column: str,
        *,
        change: float,
        direction: Literal["up", "down", "same"],
        of: object = None,
        at_most: float = 0.01,
        tolerance: float = 1e-6,
        level: float = 0.95,
        label: str | None = None,
        features: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        if direction not in ("up", "down", "same"):
            raise SuiteError(f"direction must be up, down or same, not {direction!r}")
        if not change or not np.isfinite(change):
            raise SuiteError(f"change must be a finite number other than 0, not {change!r}")
        self.name = name or f"{column} {change:+g} moves {direction}"
        self._direction, self._of = direction, of
        self.limits = limits(at_most, level)
        self._tolerance = share(tolerance, "tolerance", high=ANY_SIZE)
        self._inputs = _features(table, features, label)
        self._moved = _with(self._inputs, column, _numbers(self._inputs, column) + change)

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:  # noqa: ARG002 - the shelf's promise
        """Count the rows that go the wrong way."""
        before, after = (self._judged_by(ask(predictor, table)) for table in (self._inputs, self._moved))
        if before is None or after is None:
            detail = f"The model gives no scores for class {self._of!r}, so a direction cannot be told."
            finding = Finding("validation.directional", self.name, Severity.WARNING, detail)
            return CheckResult(self.name, self.kind, Outcome.INSUFFICIENT, detail, (finding,))
        move = after - before
        # A NaN compares as neither: it counts as the wrong way.
        right = {
            "up": move >= -self._tolerance,
            "down": move <= self._tolerance,
            "same": np.abs(move) <= self._tolerance,
        }[self._direction]
        return _judged(self, ~right, "rows go the wrong way")

    def _judged_by(self, answer: Prediction) -> Floats | None:
        if self._of is None:
            try:
                return np.asarray(answer.labels, dtype=np.float64)
            except (TypeError, ValueError) as err:
                raise TableError("the model answers with classes: give the class to judge by with of=") from err
        classes = list(plain(answer.classes or ()))
        if answer.scores is None or self._of not in classes:
            return None
        return np.asarray(answer.scores[:, classes.index(self._of)], dtype=np.float64)


def _features(table: Rows, chosen: Sequence[str] | None, label: str | None) -> pa.Table:
    without = [] if label is None else [label]
    return features(take(table, without), chosen, without)


def _numbers(table: pa.Table, column: str) -> Floats:
    if column not in table.column_names:
        raise TableError(f"the table of a check has no column {column!r}; it has {', '.join(table.column_names)}")
    kind = table.schema.field(column).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise TableError(f"column {column!r} holds {kind}, wanted numbers")
    return np.asarray(table.column(column).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _with(table: pa.Table, column: str, values: Floats) -> pa.Table:
    """The table with other values in a column; whole numbers stay whole where they can, and what was null is null."""
    at = table.column_names.index(column)
    kind = table.schema.field(at).type
    gone = np.asarray(table.column(at).is_null().to_numpy(), dtype=bool)
    found = pa.array(values, mask=gone)
    whole = np.all(values[~gone] == np.round(values[~gone]))
    return table.set_column(at, column, found.cast(kind) if whole or pa.types.is_floating(kind) else found)


def _judged(check: Perturbation | Directional, events: Flags, what: str) -> CheckResult:
    n, count = len(events), int(events.sum())
    name, kind, allowed, level = check.name, check.kind, check.limits[0], check.limits[1]
    outcome, low, high, needed = at_most(count, n, allowed, level)
    numbers: dict[str, Number] = {
        "share": count / n,
        "low": low,
        "high": high,
        "allowed": allowed,
        "rows": n,
        "events": count,
        "level": level,
    }
    detail = f"{count} of {n:,} {what}: {count / n:.4f} [{low:.4f}, {high:.4f}], allowed {allowed:g}"
    detail += f"; {needs(needed)}." if outcome is Outcome.INSUFFICIENT else "."
    if outcome is Outcome.PASS:
        return CheckResult(name, kind, outcome, detail, (), numbers)
    severity = Severity.ERROR if outcome is Outcome.FAIL else Severity.WARNING
    return CheckResult(
        name, kind, outcome, detail, (Finding(f"validation.{kind}", name, severity, detail, numbers),), numbers
    )
