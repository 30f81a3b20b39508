"""Checks against what is known: recorded answers, and labels."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from assay.errors import StorageError, SuiteError, TableError
from assay.findings import Finding, Number, Severity
from assay.frameworks.base import Prediction, Predictor
from assay.validation.checks.asking import (
    ANY_SIZE,
    Rows,
    Values,
    agreeing,
    ask,
    at_least,
    differing,
    features,
    labels,
    limits,
    needs,
    plain,
    share,
    take,
)
from assay.validation.report import CheckResult, Outcome

_PREDICTION, _CONFIDENCE = "assay_prediction", "assay_confidence"
_ABOUT = b"assay.golden"
_SHOWN = 20

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


class Golden:
    """The model must answer recorded inputs as it did when it was recorded.

    Use it to notice that behaviour changed at all; use ``Metric`` to ask whether it is good.

    Args:
        table: What ``Golden.record`` wrote, or a table with the columns ``assay_prediction`` and, if the model
            gives confidences, ``assay_confidence``.
        tolerance: Largest difference of a confidence, or of a predicted number that is not whole, >= 0. Classes
            must be equal.
        name: What reports call it.

    Raises:
        TableError: The table cannot be read, has no rows or no recorded answers.
        SuiteError: The tolerance makes no sense.
    """

    kind = "golden"

    def __init__(self, table: Rows, *, tolerance: float = 1e-6, name: str = "golden") -> None:
        self.name = name
        self._tolerance = share(tolerance, "tolerance", high=ANY_SIZE)
        whole = take(table, [_PREDICTION])
        recorded = [column for column in (_PREDICTION, _CONFIDENCE) if column in whole.column_names]
        self._inputs = features(whole, None, recorded)
        self._labels = plain(whole.column(_PREDICTION).to_pylist())
        self._confidence = None
        if _CONFIDENCE in whole.column_names:
            self._confidence = np.asarray(whole.column(_CONFIDENCE).to_numpy(), dtype=np.float64)
        self._root = "" if isinstance(table, pa.Table) else _recorded_root(Path(table))

    @staticmethod
    def record(predictor: Predictor, table: Rows, path: Path | str, root: str) -> Golden:
        """Ask a model that is known to be good, and write inputs and answers to a Parquet file.

        Args:
            predictor: The model.
            table: Inputs: feature columns only.
            path: Where to write; an existing file is replaced.
            root: Root digest of the model's manifest, hex; the file says that its answers are of these bytes.

        Raises:
            SuiteError: The table already holds recorded answers.
            StorageError: The file cannot be written.
        """
        inputs = take(table)
        if {_PREDICTION, _CONFIDENCE} & set(inputs.column_names):
            raise SuiteError(
                f"the inputs already have a column {_PREDICTION} or {_CONFIDENCE}; record from plain inputs"
            )
        answer = ask(predictor, inputs)
        whole = inputs.append_column(_PREDICTION, pa.array(plain(answer.labels).tolist()))
        if answer.confidence is not None:
            whole = whole.append_column(_CONFIDENCE, pa.array(np.asarray(answer.confidence, dtype=np.float64)))
        whole = whole.replace_schema_metadata({_ABOUT: json.dumps({"model_root": root}).encode()})
        _write(whole, Path(path))
        return Golden(Path(path))

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:
        """Compare every row."""
        answer = ask(predictor, self._inputs)
        off = differing(plain(answer.labels), self._labels, self._tolerance)
        numbers: dict[str, Number] = {"rows": len(off), "tolerance": self._tolerance}
        findings = []
        if self._confidence is not None:
            findings += self._confidence_findings(answer, self._confidence, numbers)
        wrong = np.flatnonzero(off)
        numbers["rows_differing"] = len(wrong)
        if len(wrong):
            sentence = f"{len(wrong)} of {len(off)} recorded answers are others now: {_rows(wrong)}."
            findings.insert(0, Finding("validation.golden", self.name, self._severity(model_root), sentence, numbers))
        if not findings:
            return CheckResult(self.name, self.kind, Outcome.PASS, f"{len(off)} answers as recorded.", (), numbers)
        detail = findings[0].detail
        if self._root and self._root == model_root:
            detail += (
                " The bytes are those that were recorded: the model is not deterministic, or its surroundings differ."
            )
        return CheckResult(self.name, self.kind, Outcome.FAIL, detail, tuple(findings), numbers)

    def _severity(self, model_root: str) -> Severity:
        return Severity.CRITICAL if self._root == model_root else Severity.ERROR

    def _confidence_findings(self, answer: Prediction, then: Floats, numbers: dict[str, Number]) -> list[Finding]:
        if answer.confidence is None:
            sentence = "The model gave confidences when it was recorded and gives none now."
            return [Finding("validation.golden", self.name, Severity.ERROR, sentence)]
        now = np.asarray(answer.confidence, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.abs(now - then)
        # NaN where a number was recorded is as far off as can be.
        apart = np.where(np.isnan(now) & np.isnan(then), 0.0, np.where(np.isfinite(apart), apart, 1.0))
        numbers["largest_confidence_difference"] = float(apart.max())
        off = np.flatnonzero(apart > self._tolerance)
        if not len(off):
            return []
        sentence = f"{len(off)} confidences are off by up to {apart.max():.3g}: {_rows(off)}."
        return [Finding("validation.golden", self.name, Severity.ERROR, sentence, {"rows": len(off)})]


class Metric:
    """The model must be right often enough, on labelled rows, beyond what chance explains.

    Passes when the interval of the rate lies at or above what is wanted, fails when it lies below, and else says how
    many rows would decide.

    Args:
        table: Labelled rows that the model was not trained on.
        label: The column that holds the truth.
        at_least: The rate wanted, in (0, 1).
        metric: ``accuracy``; ``recall``, among rows of class ``positive``; ``precision``, among rows called so.
        positive: The class that recall and precision are of.
        level: One-sided confidence of a pass and of a fail, in (0.5, 1); intervals are Wilson's.
        features: Columns that the model is given; default all but the label.
        name: What reports call it.

    Raises:
        TableError: The table cannot be read, has no rows, lacks a column or has rows without a label.
        SuiteError: A limit makes no sense, or ``positive`` is missing.
    """

    kind = "metric"

    def __init__(
        self,
        table: Rows,
        label: str,
        *,
        at_least: float,
        metric: Literal["accuracy", "recall", "precision"] = "accuracy",
        positive: object = None,
        level: float = 0.95,
        features: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        if metric not in ("accuracy", "recall", "precision"):
            raise SuiteError(f"metric must be accuracy, recall or precision, not {metric!r}")
        if metric != "accuracy" and positive is None:
            raise SuiteError(f"{metric} is of one class: give positive=")
        self.name = name or (metric if positive is None else f"{metric} of {positive}")
        self._metric, self._positive = metric, positive
        self._at_least, self._level = limits(at_least, level)
        whole = take(table, [label])
        self._label, self._labels = label, labels(whole, label)
        self._inputs = _inputs(whole, features, label)

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:  # noqa: ARG002 - the shelf's promise
        """Count right answers."""
        predicted = plain(ask(predictor, self._inputs).labels)
        right = agreeing(predicted, self._labels, self._label)
        counted = {
            "accuracy": np.ones(len(right), dtype=bool),
            "recall": np.asarray(self._labels == self._positive, dtype=bool),
            "precision": np.asarray(predicted == self._positive, dtype=bool),
        }[self._metric]
        n, hits = int(counted.sum()), int((right & counted).sum())
        outcome, low, high, needed = at_least(hits, n, self._at_least, self._level)
        numbers: dict[str, Number] = {
            "value": hits / n if n else 0.0,
            "low": low,
            "high": high,
            "wanted": self._at_least,
            "rows": n,
            "level": self._level,
        }
        if not n:
            detail = f"No row counts for the {self.name}."
        else:
            detail = f"{self.name} {hits / n:.4f} [{low:.4f}, {high:.4f}] on {n:,} rows, wanted {self._at_least:g}"
            detail += f"; {needs(needed)}." if outcome is Outcome.INSUFFICIENT else "."
        findings: tuple[Finding, ...] = ()
        if outcome is not Outcome.PASS:
            severity = Severity.ERROR if outcome is Outcome.FAIL else Severity.WARNING
            findings = (Finding("validation.metric", self._label, severity, detail, numbers),)
        return CheckResult(self.name, self.kind, outcome, detail, findings, numbers)


class MeanError:
    """A regression's mean absolute error must be small enough, beyond what chance explains.

    Args:
        table: Labelled rows that the model was not trained on.
        label: The column that holds the true number.
        at_most: Largest mean absolute error, in the label's unit, >= 0.
        level: One-sided confidence of a pass and of a fail, in (0.5, 1).
        features: Columns that the model is given; default all but the label.
        name: What reports call it.

    Raises:
        TableError: The table cannot be read, has no rows, lacks a column or has rows without a label.
        SuiteError: A limit makes no sense.

    References:
        The interval of the mean is Student's t; with fewer than 30 rows the check answers insufficient.
    """

    kind = "mean-error"

    def __init__(
        self,
        table: Rows,
        label: str,
        *,
        at_most: float,
        level: float = 0.95,
        features: Sequence[str] | None = None,
        name: str = "mean absolute error",
    ) -> None:
        self.name = name
        self._at_most = share(at_most, "at_most", high=ANY_SIZE)
        self._level = share(level, "level", low=0.501, high=0.9999)
        whole = take(table, [label])
        self._label, self._labels = label, _numbers(labels(whole, label), f"label {label!r}")
        self._inputs = _inputs(whole, features, label)

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:  # noqa: ARG002 - the shelf's promise
        """Measure the distance of answers and truth."""
        predicted = _numbers(plain(ask(predictor, self._inputs).labels), "the model's answers")
        apart = np.abs(predicted - self._labels)
        n = len(apart)
        if not np.all(np.isfinite(apart)):
            detail = f"{int((~np.isfinite(apart)).sum())} of {n:,} answers are NaN or infinite."
            finding = Finding("validation.mean-error", self._label, Severity.ERROR, detail)
            return CheckResult(self.name, self.kind, Outcome.FAIL, detail, (finding,), {"rows": n})
        from scipy.special import stdtrit

        mean = float(apart.mean())
        few = n < 30  # noqa: PLR2004 - the usual floor for a mean of skewed values
        half = float(stdtrit(n - 1, self._level)) * float(apart.std(ddof=1)) / sqrt(n) if n > 1 else 0.0
        low, high = max(0.0, mean - half), mean + half
        outcome = (
            Outcome.PASS if high <= self._at_most else Outcome.FAIL if low > self._at_most else Outcome.INSUFFICIENT
        )
        outcome = Outcome.INSUFFICIENT if few else outcome
        detail = f"{self.name} {mean:.4g} [{low:.4g}, {high:.4g}] on {n:,} rows, allowed {self._at_most:g}"
        detail += "; fewer than 30 rows decide nothing." if few else "."
        numbers: dict[str, Number] = {"value": mean, "low": low, "high": high, "allowed": self._at_most, "rows": n}
        findings: tuple[Finding, ...] = ()
        if outcome is not Outcome.PASS:
            severity = Severity.ERROR if outcome is Outcome.FAIL else Severity.WARNING
            findings = (Finding("validation.mean-error", self._label, severity, detail, numbers),)
        return CheckResult(self.name, self.kind, outcome, detail, findings, numbers)


def _inputs(whole: pa.Table, chosen: Sequence[str] | None, label: str) -> pa.Table:
    return features(whole, chosen, [label])


def _numbers(values: Values, what: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise TableError(f"{what} must be numbers for a mean error") from err


def _rows(rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> str:
    return "row " + ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")


def _recorded_root(path: Path) -> str:
    """Which model a golden file was recorded from; empty when it does not say."""
    try:
        about = (parquet.read_schema(path).metadata or {}).get(_ABOUT, b"{}")
        root = json.loads(about).get("model_root", "")
    except (pa.ArrowException, OSError, ValueError, AttributeError):
        return ""  # CSV, or a Parquet file that somebody else wrote: there is nothing to bind to
    return root if isinstance(root, str) else ""


def _write(table: pa.Table, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            parquet.write_table(table, stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(stream.name).replace(path)
    except OSError as err:
        raise StorageError(f"{path}: cannot be written: {err.strerror}") from err
