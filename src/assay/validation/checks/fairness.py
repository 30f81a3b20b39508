"""Groups of people must be treated alike: a three-valued test of equivalence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import Literal

import numpy as np
import pyarrow as pa

from assay.errors import SuiteError
from assay.findings import Finding, Number, Severity
from assay.frameworks.base import Predictor
from assay.inference.intervals import newcombe
from assay.validation.checks.asking import Rows, Values, agreeing, ask, features, labels, plain, share, take
from assay.validation.report import CheckResult, Outcome

_POWER = 0.9  # of proving a fair model fair, when a result says how many rows it needs
_NONE = "(missing)"

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Gap:
    """How one group stands against the others.

    Attributes:
        group: Its value, or ``a=1, b=2`` where several columns make the groups.
        rate: Its rate of the metric, in [0, 1].
        other: The rate it is held against.
        low: Lower end of the simultaneous interval of ``rate - other``.
        high: Upper end.
        rows: Usable rows of the group.
    """

    group: str
    rate: float
    other: float
    low: float
    high: float
    rows: int

    def outcome(self, delta: float, fail: str) -> Outcome:
        """Alike, not alike, or not known."""
        harmful = fail == "excludes-zero" and self.high < 0
        if harmful or self.low >= delta or self.high <= -delta:
            return Outcome.FAIL
        return Outcome.PASS if -delta < self.low and self.high < delta else Outcome.INSUFFICIENT


class Fairness:
    """The rate of an outcome must be alike in all groups, up to ``delta``; too little data is no pass.

    Each group with enough rows is held against all other rows, or against a named group. All intervals together
    cover with probability ``level`` (Newcombe's, by Bonferroni). Pass: every interval lies inside (-delta, +delta).
    Fail: one lies wholly outside. Else insufficient, naming the groups and the rows they need. Groups that are
    too small are listed, and the verdict is about the others. So a fair model fails with
    probability at most ``1 - level``, and a model whose gap is ``delta`` or more passes at most that often.

    Args:
        table: Rows with the group columns and, where the metric needs it, labels.
        label: The column that holds the truth; None for ``selection``.
        group: One column or several; several make a group of each combination.
        metric: ``selection``: how many are called ``positive``. ``tpr``: how many of those that are
            ``positive`` are called so. ``accuracy``: how many are called right.
        delta: The largest gap that is accepted, in (0, 1).
        positive: The class that selection and tpr are about.
        reference: The group that the others are held against; None for all others together.
        fail: ``outside``: as above. ``excludes-zero``: a group whose interval lies below 0 fails too.
        level: Joint coverage, in (0.5, 1).
        looks: How often the check will be run on new data; their error is shared out evenly.
        minimum: Usable rows that a group needs to be judged, >= 2.
        features: Columns that the model is given; default all but the label.
        name: What reports call it.

    Raises:
        TableError: The table cannot be read, has no rows, lacks a column or has rows without a label.
        SuiteError: A setting makes no sense.

    References:
        Newcombe (1998), method 10, for one difference; two one-sided tests: Schuirmann, D. J. (1987), J.
        Pharmacokinet. Biopharm. 15, 657-680. Why not the span of the groups: its bootstrap interval never holds 0.
    """

    kind = "fairness"

    def __init__(
        self,
        table: Rows,
        label: str | None,
        group: str | Sequence[str],
        *,
        metric: Literal["selection", "tpr", "accuracy"],
        delta: float,
        positive: object = None,
        reference: str | None = None,
        fail: Literal["outside", "excludes-zero"] = "outside",
        level: float = 0.95,
        looks: int = 1,
        minimum: int = 30,
        features: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        columns = [group] if isinstance(group, str) else list(group)
        _refuse(columns, metric, label=label, positive=positive, fail=fail, looks=looks, minimum=minimum)
        self.name = name or f"{metric} by {' and '.join(columns)}"
        self._metric, self._positive, self._fail = metric, positive, fail
        self._delta, self._minimum = share(delta, "delta", low=1e-6, high=0.999999), minimum
        self._alpha = (1 - share(level, "level", low=0.501, high=0.9999)) / looks
        whole = take(table, columns + ([] if label is None else [label]))
        self._label = label
        self._labels: Values | None = None if label is None else labels(whole, label)
        self._inputs = _inputs(whole, features, label)
        self._groups = _groups(whole, columns)
        self._reference = reference
        if reference is not None and reference not in set(self._groups):
            there = ", ".join(sorted(set(self._groups))[:20])
            raise SuiteError(f"reference group {reference!r} is not in the table; there are {there}")

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:  # noqa: ARG002 - the shelf's promise
        """Hold every group against the others."""
        hits, usable = self._counted(plain(ask(predictor, self._inputs).labels))
        if self._metric == "selection" and not hits.any():
            # Nobody selected is alike for all, and so is a class that was misspelt: neither shows anything.
            detail = f"No row is called {self._positive!r}, so groups cannot be told apart."
            finding = Finding("validation.fairness", self.name, Severity.WARNING, detail)
            return CheckResult(self.name, self.kind, Outcome.INSUFFICIENT, detail, (finding,))
        names = sorted(set(self._groups))
        rows = {name: int((usable & (self._groups == name)).sum()) for name in names}
        judged = [name for name in names if rows[name] >= self._minimum and name != self._reference]
        small = [name for name in names if rows[name] < self._minimum]
        findings = [self._small(name, rows[name]) for name in small]
        if not judged or len(judged) + (self._reference is not None) < 2 or self._reference in small:  # noqa: PLR2004
            detail = f"Fewer than two groups have {self._minimum} usable rows; {len(small)} have fewer."
            numbers: dict[str, Number] = {"groups": 0, "groups_too_small": len(small), "delta": self._delta}
            return CheckResult(self.name, self.kind, Outcome.INSUFFICIENT, detail, tuple(findings), numbers)
        gaps = [self._gap(name, hits, usable, len(judged)) for name in judged]
        return self._result(gaps, findings)

    def _counted(self, predicted: Values) -> tuple[Flags, Flags]:
        """Which rows count as a success, and which are usable at all."""
        called = np.asarray(predicted == self._positive, dtype=bool)
        if self._metric == "selection" or self._labels is None:
            return called, np.ones(len(called), dtype=bool)
        right = agreeing(predicted, self._labels, str(self._label))
        if self._metric == "tpr":
            return called, np.asarray(self._labels == self._positive, dtype=bool)
        return right, np.ones(len(right), dtype=bool)

    def _gap(self, name: str, hits: Flags, usable: Flags, judged: int) -> Gap:
        mine = usable & (self._groups == name)
        theirs = usable & (self._groups == self._reference if self._reference is not None else ~mine)
        counts = int((hits & mine).sum()), int(mine.sum()), int((hits & theirs).sum()), int(theirs.sum())
        low, high = newcombe(*counts, 1 - self._alpha / judged)
        return Gap(name, counts[0] / counts[1], counts[2] / counts[3], low, high, counts[1])

    def _result(self, gaps: list[Gap], findings: list[Finding]) -> CheckResult:
        outcomes = {gap.group: gap.outcome(self._delta, self._fail) for gap in gaps}
        order = (Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.PASS)
        overall = next(each for each in order if each in outcomes.values())
        widest = max(gaps, key=lambda gap: abs(gap.rate - gap.other))
        numbers: dict[str, Number] = {
            "groups": len(gaps),
            "groups_too_small": len(findings),
            "delta": self._delta,
            "largest_gap": widest.rate - widest.other,
            "level_each": 1 - self._alpha / len(gaps),
        }
        found = [
            self._seen(gap, outcomes[gap.group], len(gaps)) for gap in gaps if outcomes[gap.group] is not Outcome.PASS
        ]
        found.sort(key=lambda finding: -finding.severity.rank)
        told = {
            Outcome.PASS: f"all {len(gaps)} groups are alike up to {self._delta:g}",
            Outcome.FAIL: "not alike: " + _listed([g.group for g in gaps if outcomes[g.group] is Outcome.FAIL]),
            Outcome.INSUFFICIENT: "not enough rows to tell for "
            + _listed([g.group for g in gaps if outcomes[g.group] is Outcome.INSUFFICIENT]),
        }[overall]
        detail = f"{self.name}: {told}; largest gap {widest.rate - widest.other:+.4f} ({widest.group})"
        detail += f"; {len(findings)} too small to judge." if findings else "."
        return CheckResult(self.name, self.kind, overall, detail, (*found, *findings), numbers)

    def _seen(self, gap: Gap, outcome: Outcome, judged: int) -> Finding:
        sentence = (
            f"{self._metric} {gap.rate:.4f} against {gap.other:.4f}: gap in [{gap.low:+.4f}, {gap.high:+.4f}], "
            f"accepted up to {self._delta:g}"
        )
        numbers: dict[str, Number] = {"rate": gap.rate, "other": gap.other, "low": gap.low, "high": gap.high}
        numbers["rows"] = gap.rows
        if outcome is Outcome.FAIL:
            return Finding("validation.fairness", gap.group, Severity.ERROR, sentence + ".", numbers)
        needed = rows_needed(gap.other, self._delta, self._alpha / judged)
        numbers["rows_needed"] = needed
        if gap.rows < needed:
            sentence += f"; a fair model needs about {needed:,} rows in each group to show it, here are {gap.rows:,}."
        else:
            sentence += "; the gap is too near the limit for these rows to tell."
        return Finding("validation.fairness", gap.group, Severity.WARNING, sentence, numbers)

    def _small(self, name: str, rows: int) -> Finding:
        sentence = f"The group has {rows} usable rows and is not judged; {self._minimum} are wanted."
        numbers: dict[str, Number] = {"rows": rows, "rows_needed": self._minimum}
        return Finding("validation.fairness-group-small", name, Severity.WARNING, sentence, numbers)


def rows_needed(rate: float, delta: float, alpha: float) -> int:
    """Rows in each of two groups that show a fair model's gap to be inside ``delta`` with power 0.9.

    Args:
        rate: The rate in both groups, in [0, 1]; near the ends it is taken as 0.05 away from them.
        delta: The largest gap that is accepted.
        alpha: Two-sided error of the one interval.

    References:
        Chow, Shao, Wang (2008). Sample Size Calculations in Clinical Research, 4.2.2 (equivalence, equal rates),
        with the power of one side.
    """
    spread = max(rate * (1 - rate), 0.05 * 0.95)
    z = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(_POWER)
    return ceil(2 * z * z * spread / (delta * delta))


def _refuse(
    columns: list[str], metric: str, *, label: str | None, positive: object, fail: str, looks: int, minimum: int
) -> None:
    wrong = {
        "group must name at least one column": not columns,
        "a group column is named twice": len(set(columns)) != len(columns),
        f"metric must be selection, tpr or accuracy, not {metric!r}": metric not in ("selection", "tpr", "accuracy"),
        f"{metric} needs label=": metric != "selection" and label is None,
        f"{metric} is about one class: give positive=": metric in ("selection", "tpr") and positive is None,
        f"fail must be outside or excludes-zero, not {fail!r}": fail not in ("outside", "excludes-zero"),
        f"looks must be at least 1, not {looks}": looks < 1,
        f"minimum must be at least 2, not {minimum}": minimum < 2,  # noqa: PLR2004 - one row has no rate
    }
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            raise SuiteError(sentence)


def _inputs(whole: pa.Table, chosen: Sequence[str] | None, label: str | None) -> pa.Table:
    return features(whole, chosen, [] if label is None else [label])


def _groups(table: pa.Table, columns: list[str]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """The name of each row's group; a missing value is a group of its own, so that nobody is dropped."""
    parts = [[_NONE if value is None else str(value) for value in table.column(name).to_pylist()] for name in columns]
    if len(columns) == 1:
        return plain(parts[0])
    rows = zip(*parts, strict=True)
    return plain([", ".join(f"{name}={value}" for name, value in zip(columns, row, strict=True)) for row in rows])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")  # noqa: PLR2004 - a line
