"""Inputs at the edge: what is missing, zero, extreme, constant, alone, or in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import AssayError, SuiteError
from assay.findings import Finding, Severity
from assay.frameworks.base import Prediction, Predictor
from assay.validation.checks.asking import ANY_SIZE, Rows, ask, differing, features, plain, share, take
from assay.validation.report import CheckResult, Outcome

_ALONE = 20  # rows that are asked one by one
_SLACK = 1e-9  # a probability summed in floating point may exceed 1 by this much


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    table: pa.Table
    may_refuse: bool = False


class EdgeCases:
    """The model must give a sound answer at the edges of what it has seen, and the same one however rows come.

    Asked: each feature missing and all of them; every number zero; each number at the least and at the greatest
    value of the table, and all of them; one row over and over; one row alone; the rows reversed; each of
    the first rows by itself. A sound answer has a label that is not missing, and a confidence in [0, 1].

    Args:
        table: Rows the model knows; 200 of them, evenly spread, are the ground.
        nulls: Whether a missing feature must be answered, or may be refused with an error that says so.
        tolerance: Largest difference of confidences and predicted numbers between a row alone and in a batch, >= 0.
        label: A column that is no feature, if there is one.
        features: Columns that the model is given; default all but the label.
        name: What reports call it.

    Raises:
        TableError: The table cannot be read, has no rows or lacks a column.
        SuiteError: A setting makes no sense.
    """

    kind = "edge"

    def __init__(
        self,
        table: Rows,
        *,
        nulls: Literal["answer", "refuse"] = "refuse",
        tolerance: float = 1e-6,
        label: str | None = None,
        features: Sequence[str] | None = None,
        name: str = "edge cases",
    ) -> None:
        if nulls not in ("answer", "refuse"):
            raise SuiteError(f"nulls must be answer or refuse, not {nulls!r}")
        self.name = name
        self._tolerance = share(tolerance, "tolerance", high=ANY_SIZE)
        self._may_refuse = nulls == "refuse"
        whole = _features(take(table, [] if label is None else [label]), features, label)
        self._edges = {
            column: pc.min_max(whole.column(column)).as_py() for column in whole.column_names if _number(whole, column)
        }
        self._ground = whole.take(pa.array(_spread(whole.num_rows, 200)))

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:  # noqa: ARG002 - the shelf's promise
        """Ask every case; name those with an unsound answer."""
        findings: list[Finding] = []
        asked = refused = 0
        for case in self._cases():
            asked += 1
            try:
                answer = ask(predictor, case.table)
            except AssayError as err:
                refused += 1
                if not case.may_refuse:
                    findings.append(self._finding(case.name, f"no answer: {err.message}"))
                continue
            findings += [self._finding(case.name, wrong) for wrong in _unsound(answer)]
        ways = (
            ("rows reversed", self._reversed),
            ("row by row", self._alone),
            ("one row over and over", self._constant),
        )
        for name, way in ways:
            asked += 1
            findings += self._invariant(name, way, predictor)
        numbers = {"cases": asked, "refused": refused, "findings": len(findings)}
        if not findings:
            detail = f"{asked} cases answered soundly" + (
                f", {refused} of them refused as allowed." if refused else "."
            )
            return CheckResult(self.name, self.kind, Outcome.PASS, detail, (), numbers)
        detail = f"{len(findings)} unsound answers, first: {findings[0].subject}: {findings[0].detail}"
        return CheckResult(self.name, self.kind, Outcome.FAIL, detail, tuple(findings), numbers)

    def _finding(self, case: str, detail: str) -> Finding:
        return Finding("validation.edge", case, Severity.ERROR, detail)

    def _cases(self) -> Iterator[_Case]:
        ground = self._ground
        yield _Case("rows as they are", ground)
        yield _Case("a single row", ground.slice(0, 1))
        for column in ground.column_names:
            yield _Case(f"{column} missing", _filled(ground, [column], None), self._may_refuse)
        yield _Case("every feature missing", _filled(ground, ground.column_names, None), self._may_refuse)
        if not self._edges:
            return
        yield _Case("every number zero", _filled(ground, list(self._edges), 0))
        for side in ("min", "max"):
            word = "least" if side == "min" else "greatest"
            together = ground
            for column, edge in self._edges.items():
                if edge[side] is not None:
                    yield _Case(f"{column} at its {word}", _filled(ground, [column], edge[side]))
                    together = _filled(together, [column], edge[side])
            yield _Case(f"every number at its {word}", together)

    def _invariant(
        self, name: str, way: Callable[[Predictor], tuple[Prediction, Prediction]], predictor: Predictor
    ) -> list[Finding]:
        try:
            one, other = way(predictor)
        except AssayError as err:
            return [self._finding(name, f"no answer: {err.message}")]
        off = _apart(one, other, self._tolerance)
        if not off:
            return []
        return [self._finding(name, f"{off} of {len(one.labels)} rows are answered otherwise than in a batch.")]

    def _reversed(self, predictor: Predictor) -> tuple[Prediction, Prediction]:
        back = self._ground.take(pa.array(np.arange(self._ground.num_rows)[::-1]))
        return ask(predictor, self._ground), _picked(ask(predictor, back), slice(None, None, -1))

    def _alone(self, predictor: Predictor) -> tuple[Prediction, Prediction]:
        n = min(_ALONE, self._ground.num_rows)
        alone = [ask(predictor, self._ground.slice(row, 1)) for row in range(n)]
        sure = [each.confidence for each in alone]
        together = Prediction(
            labels=plain([each.labels[0] for each in alone]),
            confidence=None
            if any(each is None for each in sure)
            else np.array([float(e[0]) for e in sure if e is not None]),
        )
        return _picked(ask(predictor, self._ground), slice(0, n)), together

    def _constant(self, predictor: Predictor) -> tuple[Prediction, Prediction]:
        answer = ask(predictor, self._ground.take(pa.array([0] * self._ground.num_rows)))
        return answer, _picked(answer, [0] * len(answer.labels))


def _features(whole: pa.Table, chosen: Sequence[str] | None, label: str | None) -> pa.Table:
    return features(whole, chosen, [] if label is None else [label])


def _number(table: pa.Table, column: str) -> bool:
    kind = table.schema.field(column).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _spread(rows: int, wanted: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64))


def _filled(table: pa.Table, columns: Sequence[str], value: object) -> pa.Table:
    for column in columns:
        at = table.column_names.index(column)
        kind = table.schema.field(at).type
        filled = pa.nulls(table.num_rows, kind) if value is None else pa.array([value] * table.num_rows, kind)
        table = table.set_column(at, column, filled)
    return table


def _unsound(answer: Prediction) -> list[str]:
    found = []
    labels = plain(answer.labels)
    lost = sum(value is None or (isinstance(value, float) and not isfinite(value)) for value in labels)
    if lost:
        found.append(f"{lost} answers are missing (null, NaN) or infinite.")
    if answer.confidence is not None:
        sure = np.asarray(answer.confidence, dtype=np.float64)
        if np.isnan(sure).any():
            found.append(f"{int(np.isnan(sure).sum())} confidences are NaN.")
        outside = int(((sure < -_SLACK) | (sure > 1 + _SLACK)).sum())
        if outside:
            found.append(f"{outside} confidences are outside 0 to 1.")
    return found


def _picked(answer: Prediction, rows: slice | list[int]) -> Prediction:
    return Prediction(answer.labels[rows], None if answer.confidence is None else answer.confidence[rows])


def _apart(one: Prediction, other: Prediction, tolerance: float) -> int:
    """How many rows are answered otherwise."""
    off = differing(plain(one.labels), plain(other.labels), tolerance)
    if one.confidence is not None and other.confidence is not None:
        with np.errstate(invalid="ignore"):
            gap = np.abs(np.asarray(one.confidence, dtype=np.float64) - np.asarray(other.confidence, dtype=np.float64))
        off |= gap > tolerance
    elif (one.confidence is None) != (other.confidence is None):
        off[:] = True
    return int(off.sum())
