"""What is counted in a window: the signals of a model and their counts.

A signal is a question asked of every row of a window ("which of these bins is x in?", "was it wrong?").
Counts add up, so late and split data merge, and every decision is a pure function of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from assay.errors import BaselineError
from assay.monitoring.quantities import Of, parse, to_json, worded

Family = Literal["inputs", "outputs", "service", "errors", "classes", "slices"]
Kind = Literal["ordered", "values", "rate", "volume", "cells"]
Sides = Literal["both", "up", "down"]

FAMILIES: tuple[Family, ...] = ("inputs", "outputs", "service", "errors", "classes", "slices")
KINDS: tuple[Kind, ...] = ("ordered", "values", "rate", "volume", "cells")
SIDES: tuple[Sides, ...] = ("both", "up", "down")


@dataclass(frozen=True, slots=True)
class Axis:
    """A column in a few levels, along which slices are searched for.

    Attributes:
        column: Its name.
        edges: Ends of the levels of a number; the last level is above them all.
        values: Levels of a category instead; other values are in no slice.
    """

    column: str
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[str, ...]:
        """Every level in words."""
        if self.values:
            return self.values
        ends = [f"{edge:.4g}" for edge in self.edges]
        return (f"up to {ends[0]}", *(f"{low} to {high}" for low, high in pairwise(ends)), f"above {ends[-1]}")

    def to_json(self) -> dict[str, object]:
        """The axis as JSON types."""
        return {"column": self.column, "edges": list(self.edges), "values": list(self.values)}


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One signal: what is counted, and which way it may go wrong.

    Attributes:
        name: Unique and stable: ``feature:temperature``, ``feature:temperature:null``,
            ``feature:temperature:infinite``, ``prediction``, ``confidence``, ``latency_s:p95``,
            ``failures``, ``volume``, ``error``, ``calibration``, ``accuracy:class=rain``,
            ``accuracy:slice:region=north``.
        family: Which share of the false-alarm budget it draws on.
        kind: ``ordered``: bins of a number, bin ``i`` holds ``edges[i-1] < x <= edges[i]`` and the last all
            above; nulls are not in it. ``values``: one count per listed value, the last for all others.
            ``rate``: (non-events, events). ``volume``: (rows,). ``cells``: (non-events, events) in every cell of the
            axes, the last axis fastest: what slices are searched in, no signal by itself.
        column: The column it is about; empty when it is about whole rows (``volume``).
        edges: Upper ends of all bins but the last, strictly increasing, in the unit of the column.
        values: The listed values, as text.
        sides: Which direction is harmful. For a rate ``up`` means more events.
        slice: The rows it is restricted to, as ``{column: value}``; None for all rows.
        hard: A declared limit: one window alone may raise the alarm.
        of: What of the column is counted, when it is more than its value: a figure of a text, a vector's length
            along a direction, the corner that it lies in.
        span: Where the mean of an ordered signal is judged: the range its values are clipped to, in its unit.
        tolerance: How much that mean may move without mattering, in its unit. Then the mean alone is judged.
        axes: The columns of ``cells``.
        bins: How many counts a window has for this signal.
    """

    name: str
    family: Family
    kind: Kind
    column: str
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    sides: Sides = "both"
    slice: Mapping[str, str] | None = None
    hard: bool = False
    of: Of | None = None
    span: tuple[float, float] | None = None
    tolerance: float | None = None
    axes: tuple[Axis, ...] = ()
    bins: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a signal needs a name")
        if self.family not in FAMILIES or self.kind not in KINDS or self.sides not in SIDES:
            raise ValueError(f"signal {self.name}: unknown family, kind or sides")
        if self.kind == "ordered" and not self.edges:
            raise ValueError(f"signal {self.name}: an ordered signal needs edges")
        if self.kind == "values" and not self.values:
            raise ValueError(f"signal {self.name}: a signal of values needs values")
        if (self.kind == "cells") != bool(self.axes) or any(not (axis.edges or axis.values) for axis in self.axes):
            raise ValueError(f"signal {self.name}: cells need axes with levels, and nothing else has any")
        if not all(map(math.isfinite, self.edges)) or any(
            b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)
        ):
            raise ValueError(f"signal {self.name}: edges must be finite and strictly increasing")
        if self.span is not None and not -math.inf < self.span[0] < self.span[1] < math.inf:
            raise ValueError(f"signal {self.name}: a span goes from a finite number to a larger one")
        if self.tolerance is not None and not (self.span is not None and 0 <= self.tolerance < math.inf):
            raise ValueError(f"signal {self.name}: a tolerance is at least 0, and of a mean that is judged")
        bins = {"ordered": len(self.edges) + 1, "values": len(self.values) + 1, "rate": 2, "volume": 1}
        cells = 2 * math.prod(len(axis.levels) for axis in self.axes)
        object.__setattr__(self, "bins", bins.get(self.kind, cells))

    @property
    def subject(self) -> str:
        """What its questions are about, for a person."""
        if self.of is not None:
            return worded(self.of)
        whole = self.family in {"errors", "classes", "slices"} or self.kind == "rate"
        return self.name if whole else self.column or self.name

    def to_json(self) -> dict[str, object]:
        """The signal as JSON types; `SignalSpec.parse` reads it back."""
        body: dict[str, object] = {
            "name": self.name,
            "family": self.family,
            "kind": self.kind,
            "column": self.column,
            "edges": list(self.edges),
            "values": list(self.values),
            "sides": self.sides,
            "slice": None if self.slice is None else dict(self.slice),
            "hard": self.hard,
        }
        # Only where they are said: baselines that say nothing of them keep their digest.
        body |= {"axes": [axis.to_json() for axis in self.axes]} if self.axes else {}
        body |= {} if self.of is None else {"of": to_json(self.of)}
        body |= {} if self.span is None else {"span": list(self.span)}
        return body | ({} if self.tolerance is None else {"tolerance": self.tolerance})

    @classmethod
    def parse(cls, data: object) -> SignalSpec:
        """Read what `to_json` wrote.

        Raises:
            BaselineError: When it is anything else.
        """
        try:
            raw = cast("Mapping[str, object]", data)
            where = cast("Mapping[str, str] | None", raw["slice"])
            span = cast("Sequence[float] | None", raw.get("span"))
            tolerance = cast("float | None", raw.get("tolerance"))
            return cls(
                name=str(raw["name"]),
                family=cast("Family", raw["family"]),
                kind=cast("Kind", raw["kind"]),
                column=str(raw["column"]),
                edges=tuple(float(x) for x in cast("Sequence[float]", raw["edges"])),
                values=tuple(str(x) for x in cast("Sequence[str]", raw["values"])),
                sides=cast("Sides", raw["sides"]),
                slice=None if where is None else {str(k): str(v) for k, v in where.items()},
                hard=raw["hard"] is True,
                of=parse(raw["of"], str(raw["column"])) if "of" in raw else None,
                span=None if span is None else (float(span[0]), float(span[1])),
                tolerance=None if tolerance is None else float(tolerance),
                axes=tuple(_axis(one) for one in cast("Sequence[Mapping[str, object]]", raw.get("axes", ()))),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as err:
            raise BaselineError(f"a stored signal is malformed: {err}") from err


def _axis(raw: Mapping[str, object]) -> Axis:
    edges = tuple(float(x) for x in cast("Sequence[float]", raw["edges"]))
    return Axis(str(raw["column"]), edges, tuple(str(x) for x in cast("Sequence[str]", raw["values"])))


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """The counts of one window.

    Attributes:
        start: First instant of the window, ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.
        end: First instant after it. For windows of rows: the time of the last row.
        rows: How many rows (requests) it has.
        counts: Counts per signal name, as long as the signal's ``bins``. A missing signal had no rows
            (labels that have not come yet).
    """

    start: str
    end: str
    rows: int
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rows < 0 or any(min(c, default=0) < 0 for c in self.counts.values()):
            raise ValueError(f"window {self.start}: counts cannot be negative")

    def to_json(self) -> dict[str, object]:
        """The window as JSON types; `WindowCounts.parse` reads it back."""
        counts = {name: list(c) for name, c in self.counts.items()}
        return {"start": self.start, "end": self.end, "rows": self.rows, "counts": counts}

    @classmethod
    def parse(cls, data: object) -> WindowCounts:
        """Read what `to_json` wrote.

        Raises:
            BaselineError: When it is anything else.
        """
        try:
            raw = cast("Mapping[str, object]", data)
            counts = cast("Mapping[str, Sequence[int]]", raw["counts"])
            return cls(
                start=str(raw["start"]),
                end=str(raw["end"]),
                rows=int(cast("int", raw["rows"])),
                counts={str(name): tuple(map(int, c)) for name, c in counts.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise BaselineError(f"a stored window is malformed: {err}") from err


class Reference(Protocol):
    """What normal is: the signals, and the baseline's windows in time order."""

    @property
    def specs(self) -> tuple[SignalSpec, ...]:
        """The signals, in a fixed order."""
        ...

    @property
    def windows(self) -> tuple[WindowCounts, ...]:
        """The baseline's windows, oldest first, cut as the live ones are."""
        ...

    @property
    def window(self) -> str:
        """How windows are cut: a span (``1d``) or a number of rows (``1000rows``)."""
        ...


def counts_of(spec: SignalSpec, windows: Sequence[WindowCounts]) -> npt.NDArray[np.float64]:
    """The counts of one signal over windows, as an array (windows, bins); zeros where a window lacks it.

    Raises:
        BaselineError: When a window counts other bins than the signal has.
    """
    out = np.zeros((len(windows), spec.bins))
    for i, window in enumerate(windows):
        counts = (window.rows,) if spec.kind == "volume" else window.counts.get(spec.name)
        if counts is None:
            continue
        if len(counts) != spec.bins:
            raise BaselineError(
                f"window {window.start} has {len(counts)} counts of {spec.name}, the baseline has {spec.bins} bins: "
                "learn the baseline again"
            )
        out[i] = counts
    return out
