"""What a model's monitoring looked like over time, across its baselines: for charts, decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from sqlalchemy import select

from assay.monitoring import store as monitoring
from assay.monitoring.signals import counts_of
from assay.project.project import Project
from assay.storage.database import reading
from assay.storage.tables import baselines

Figure = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True, slots=True)
class Drawn:
    """One window in figures.

    Attributes:
        start: First instant, ISO 8601 UTC.
        rows: How many rows.
        values: By figure (``accuracy``, ``feature:x``, …), the value and its 95 % interval.
    """

    start: str
    rows: int
    values: Mapping[str, Figure]


def curves(project: Project, name: str) -> tuple[Drawn, ...]:
    """Every window of a model in time order; where baselines overlap, as the newest saw it."""
    query = select(baselines.c.digest).where(baselines.c.model == name).order_by(baselines.c.created)
    with reading(project.state) as connection:
        digests = [str(digest) for digest in connection.execute(query).scalars()]
    found: dict[str, Drawn] = {}
    for digest in digests:
        for summary in monitoring.load_summaries(project.state, name, digest):
            drawn = _drawn(summary)
            found[drawn.start] = drawn
    return tuple(found[start] for start in sorted(found))


def _drawn(summary: Mapping[str, object]) -> Drawn:
    values = cast("Mapping[str, list[float]]", summary.get("values", {}))
    return Drawn(
        start=str(summary.get("start", "")),
        rows=cast("int", summary.get("rows", 0)),
        values={figure: (trio[0], trio[1], trio[2]) for figure, trio in values.items()},
    )


def answered_since(project: Project, name: str) -> str:
    """Since when answers are judged by the newest baseline, ISO 8601; "" when it is for all windows."""
    baseline = monitoring.load_baseline(project.state, name)
    return baseline.since if baseline else ""


def levels(project: Project, name: str) -> dict[str, float]:
    """The newest baseline's own figure of every rate; accuracies are shares of right answers."""
    baseline = monitoring.load_baseline(project.state, name)
    found: dict[str, float] = {}
    for spec in baseline.specs if baseline else ():
        if spec.kind != "rate" or baseline is None:
            continue
        other, events = counts_of(spec, baseline.windows).sum(0)
        if other + events:
            share = float(events / (other + events))
            if spec.name == "error":
                found["accuracy"] = 1.0 - share
            else:
                found[spec.name] = 1.0 - share if spec.name.startswith("accuracy:") else share
    return found
