"""Accuracy estimated from confidence, for the time until labels come. An estimate never clears or accuses a model.

In each bin of confidence the baseline's share of right answers is known; a window's estimate is their mean over the
window's confidences. It holds while a confidence means what it meant in the baseline: it follows rows that became
harder, and is blind to a world or a model that changed its answers.

References:
    Garg, S. et al. (2022). Leveraging unlabeled data to predict out-of-distribution performance. ICLR. It also
    shows the limit: without assumptions no method can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import sqrt
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from assay.engines.base import Bins, CountQuery, Engine, Number, Question, Source, Wrong
from assay.errors import BaselineError
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.summary import Interval, WindowSummary

ESTIMATED: Final = "accuracy:estimated"
"""The name of the estimate among a window's figures."""

CONFIDENCE: Final = "confidence"
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a confidence meant in the baseline.

    Attributes:
        right: Right answers in each bin of the signal ``confidence``.
        rows: Labelled rows in each bin.
    """

    right: tuple[int, ...]
    rows: tuple[int, ...]

    def __post_init__(self) -> None:
        pairs = zip(self.right, self.rows, strict=False)
        if len(self.right) != len(self.rows) or any(not 0 <= right <= rows for right, rows in pairs):
            raise BaselineError("a stored calibration is malformed: learn the baseline again")

    def to_json(self) -> dict[str, object]:
        """The calibration as JSON types."""
        return {"right": list(self.right), "rows": list(self.rows)}

    @classmethod
    def parse(cls, data: object) -> Calibration:
        """Read what `to_json` wrote.

        Raises:
            BaselineError: When it is anything else.
        """
        try:
            raw = cast("Mapping[str, Sequence[int]]", data)
            return cls(tuple(int(n) for n in raw["right"]), tuple(int(n) for n in raw["rows"]))
        except (KeyError, TypeError, ValueError) as err:
            raise BaselineError("a stored calibration is malformed: learn the baseline again") from err


def learn_calibration(
    engine: Engine, source: Source, schema: PredictionSchema, specs: Sequence[SignalSpec]
) -> Calibration | None:
    """What a confidence means, from a table with labels; None where there is no confidence, label or class.

    Args:
        engine: What reads the table.
        source: Rows of when the model was known to work.
        schema: What its columns mean.
        specs: The signals learned from it.

    Raises:
        TableError: When the table cannot be read.
    """
    by_name = {spec.name: spec for spec in specs}
    spec = by_name.get(CONFIDENCE)
    if spec is None or schema.label is None or "error" not in by_name or by_name["error"].kind != "rate":
        return None
    span = engine.span(source, schema.time)
    if span.first is None or span.last is None:
        return None
    codes = (Bins(Number(spec.column), spec.edges), Wrong(schema.prediction, schema.label))
    cuts = (span.first, span.last + timedelta(microseconds=1))
    found = engine.counts(source, CountQuery(schema.time, cuts, (Question(CONFIDENCE, codes),))).answers[CONFIDENCE]
    right, rows = [0] * spec.bins, [0] * spec.bins
    for (_, place, wrong), count in found.items():
        if place >= 0 and wrong >= 0:
            rows[place] += count
            right[place] += count * (wrong == 0)
    return Calibration(tuple(right), tuple(rows)) if sum(rows) else None


def estimate(calibration: Calibration, counts: Sequence[int]) -> Interval | None:
    """The accuracy to expect of one window.

    Args:
        calibration: What a confidence meant in the baseline.
        counts: The window's counts in the same bins.

    Returns:
        The estimate and a 95 % interval of the window's true accuracy if the calibration holds: the baseline's finite
        rows, the window's own chance, and how rows may have moved inside a bin are in it. None for a window without
        confidences.
    """
    total = sum(counts)
    if not total:
        return None
    weight = np.asarray(counts, np.float64) / total
    right, rows = np.asarray(calibration.right, np.float64), np.asarray(calibration.rows, np.float64)
    share = (right + 0.5) / (rows + 1.0)  # Jeffreys' prior: a bin without rows is as unknown as it can be
    known = share * (1 - share) / (rows + 2.0)
    value = float(weight @ share)
    spread = sqrt(float(weight**2 @ known) + float(weight @ (share * (1 - share))) / total)
    half = _Z * spread + float(np.maximum(weight - rows / max(rows.sum(), 1.0), 0.0) @ _within(share))
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _within(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far a bin's share can be off when rows moved inside it: half the step to the farther neighbour."""
    if share.size < 2:  # noqa: PLR2004 - one bin has no neighbour
        return np.zeros_like(share)
    steps = np.abs(np.diff(share))
    farther: npt.NDArray[np.float64] = np.maximum(np.append(steps, steps[-1]), np.insert(steps, 0, steps[0]))
    return farther / 2


def with_estimates(
    series: Sequence[WindowSummary], windows: Sequence[WindowCounts], calibration: Calibration | None
) -> tuple[WindowSummary, ...]:
    """Add the estimate to every window's figures."""
    if calibration is None:
        return tuple(series)
    counted = {window.start: window.counts.get(CONFIDENCE, ()) for window in windows}
    found: list[WindowSummary] = []
    for one in series:
        counts = counted.get(one.start, ())
        said = estimate(calibration, counts) if len(counts) == len(calibration.rows) else None
        found.append(one if said is None else replace(one, values={**one.values, ESTIMATED: said}))
    return tuple(found)
