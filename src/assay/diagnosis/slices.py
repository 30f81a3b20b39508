"""Where it falls: classes, declared slices and regions of the inputs. Pure but for the shallow tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.frames import Encoder, Texts, class_texts
from assay.diagnosis.learners import Bools, Ints, Regions
from assay.inference.intervals import newcombe

FEWEST = 10  # known rows on either side under which a slice says nothing
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the rows and what happened to its accuracy.

    Attributes:
        kind: ``class``, ``slice`` or ``region``.
        where: Which rows, readable: ``class = rain``, ``temperature > 1.2``.
        was: Accuracy before, in [0, 1].
        now: Accuracy since.
        low: Lower end of the simultaneous 95 % interval of the fall ``was - now``.
        high: Upper end.
        rows: Known recent rows in it.
        wrong: Recent wrong rows in it.
    """

    kind: str
    where: str
    was: float
    now: float
    low: float
    high: float
    rows: int
    wrong: int

    @property
    def fall(self) -> float:
        """How much the accuracy fell; negative when it rose."""
        return self.was - self.now

    def as_json(self) -> dict[str, object]:
        """The slice as ``--json`` prints it."""
        return {
            "kind": self.kind,
            "where": self.where,
            "accuracy_before": round(self.was, 4),
            "accuracy": round(self.now, 4),
            "fall": round(self.fall, 4),
            "interval": [round(self.low, 4), round(self.high, 4)],
            "rows": self.rows,
        }


def slices_of(comparison: Comparison) -> tuple[Slice, ...]:
    """Every class, declared slice and found region with enough known rows, worst fall first.

    Regions are found on every second recent row and measured on the others: the fall of a region
    chosen for its errors would be flattered by the choice.
    """
    base, recent = comparison.base, comparison.recent
    masks: list[tuple[str, str, Bools, Bools]] = []
    for code, name in enumerate(comparison.classes):
        masks.append(("class", f"class = {name}", base.label == code, recent.label == code))
    masks += _declared(comparison)
    masks += _regions(comparison)
    enough = [
        (kind, where, old & base.known, new & recent.known)
        for kind, where, old, new in masks
        if int((old & base.known).sum()) >= FEWEST and int((new & recent.known).sum()) >= FEWEST
    ]
    level = 1 - (1 - LEVEL) / max(1, len(enough))
    found = []
    for kind, where, old, new in enough:
        n, m = int(old.sum()), int(new.sum())
        wrong, wrong_before = int(recent.wrong[new].sum()), int(base.wrong[old].sum())
        low, high = newcombe(n - wrong_before, n, m - wrong, m, level)
        found.append(Slice(kind, where, 1 - wrong_before / n, 1 - wrong / m, low, high, m, wrong))
    return tuple(sorted(found, key=lambda part: (-part.low, -part.fall)))


def _declared(comparison: Comparison) -> list[tuple[str, str, Bools, Bools]]:
    case, base_table = comparison.case, comparison.case.before
    if comparison.base is comparison.reference:
        base_table = case.reference
    masks = []
    for column in case.schema.slices:
        if column not in base_table.column_names or column not in case.recent.column_names:
            continue
        old = _texts(base_table, column, comparison.base.row)
        new = _texts(case.recent, column, comparison.recent.row)
        masks += [
            ("slice", f"{column} = {value}", old == value, new == value) for value in sorted(set(new) - {""})[:50]
        ]
    return masks


def _texts(table: pa.Table, column: str, rows: Ints) -> Texts:
    return np.array([text or "" for text in class_texts(table.column(column).take(pa.array(rows)))])


def _regions(comparison: Comparison) -> list[tuple[str, str, Bools, Bools]]:
    base, recent = comparison.base, comparison.recent
    known = np.flatnonzero(recent.known)
    search, rest = known[::2], known[1::2]
    if len(search) < 2 * FEWEST or not 0 < recent.wrong[search].sum() < len(search):
        return []
    regions = Regions(rows=max(FEWEST, len(search) // 25), seed=comparison.seed)
    regions.fit(recent.filled[search], recent.wrong[search].astype(np.float64))
    old, new = regions.of(base.filled), regions.of(recent.filled)
    measured = np.zeros(len(recent), dtype=bool)
    measured[rest] = True
    masks = []
    for region in np.unique(new):
        where = describe(regions.rule(int(region), comparison.names), comparison.encoder)
        if where:
            masks.append(("region", where, old == region, (new == region) & measured))
    return masks


def describe(rule: Sequence[tuple[str, str, float]], encoder: Encoder) -> str:
    """A region's bounds as words: numbers as they are, text columns by the values they allow."""
    parts = []
    for column, side, value in rule:
        words = encoder.words.get(column)
        if words is None:
            parts.append(f"{column} {side} {value:.4g}")
            continue
        inside = words[: int(value) + 1] if side == "<=" else words[int(value) + 1 :]
        parts.append(f"{column} in ({', '.join(inside[:5])}{', ...' if len(inside) > 5 else ''})")  # noqa: PLR2004 - five fit a sentence
    return " and ".join(parts)
