"""Slices nobody declared: searched for in the windows that are over, tested on those to come.

Candidates are all combinations of one to three levels of the columns that are searched, but for those that are watched
directly. Whatever is counted for one was counted before as a cell of the windows: evaluating is a pure function of
them, and evaluating twice chooses and says the same.

The promise is that of the detectors: a slice is fixed before the first row that counts for it, and the evidence of all
ranks together is one signal with one share of the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import prod
from typing import Final

import numpy as np

from assay.inference.candidates import NONE, RANKS, WEIGHTS, choose, chosen_log_evidence, upper_limits
from assay.inference.evidence import LOOK_BACKS, Watch, cap_of, paths
from assay.inference.natural import Floats, Ints, Natural, learn
from assay.monitoring.detectors.fixed import askable, limit_of
from assay.monitoring.detectors.rate import Rate, floor_of
from assay.monitoring.floors import Floors
from assay.monitoring.signals import Reference, SignalSpec, WindowCounts, counts_of
from assay.monitoring.walk import Opening
from assay.monitoring.watching import Frame, Part, Watched
from assay.monitoring.weights import DISCOVERED

FEWEST: Final = 50
"""Rows of a slice in the baseline below which it is no candidate: it could not be found within a year."""

SPEC: Final = SignalSpec(DISCOVERED, "slices", "rate", "", sides="up")
"""The signal that all searched slices are together."""

_CHUNK: Final = 128


@dataclass(frozen=True, slots=True)
class Candidates:
    """Slices, and their answers in some windows.

    Attributes:
        where: Column and level of each slice, (W,).
        events: Wrong answers, (T, W).
        rows: Rows, (T, W).
    """

    where: tuple[Mapping[str, str], ...]
    events: Floats
    rows: Floats

    def pick(self, which: Ints) -> Candidates:
        """Some of them."""
        return Candidates(tuple(self.where[i] for i in which), self.events[:, which], self.rows[:, which])


@dataclass(frozen=True, slots=True)
class Search:
    """What the search found in the live windows.

    Attributes:
        live: The slices in the live windows.
        past: The same in the baseline's.
        natural: What the baseline knows about each.
        chosen: The slices that each start tests, by rank, (T, ranks).
        log_e: ``log E`` of each look-back, rank and window, (look-backs, ranks, T).
        floors: What does not matter.
        at: Stratum of each live window.
        cap: Most evidence one window may bring, in nats; None when one window may do.
    """

    live: Candidates
    past: Candidates
    natural: Natural
    chosen: Ints
    log_e: Floats
    floors: Floors
    at: Ints
    cap: float | None

    def evidence(self) -> Floats:
        """E of the signal for every look-back and window, (look-backs, T)."""
        return np.asarray((np.exp(np.minimum(self.log_e, 600.0)) * WEIGHTS[:, None]).sum(1), dtype=np.float64)

    def name(self, opening: Opening) -> tuple[Opening, Watched]:
        """The slice an alarm is about, as a signal of its own, and the opening from the start that had chosen it."""
        fits = np.array(LOOK_BACKS) <= opening.window - opening.start + 1
        level = np.where(fits[:, None], self.log_e[:, :, opening.window] + np.log(WEIGHTS), -np.inf)
        back, rank = (int(i) for i in np.unravel_index(int(level.argmax()), level.shape))
        start = opening.window - LOOK_BACKS[back] + 1
        which = np.array([self.chosen[start, rank]])
        live, past, natural = self.live.pick(which), self.past.pick(which), self.natural.pick(which)
        where = live.where[0]
        spec = SignalSpec(
            "accuracy:slice:" + "&".join(f"{column}={level}" for column, level in where.items()),
            "slices",
            "rate",
            next(iter(where)),
            sides="up",
            slice=where,
        )
        counts, known = (np.concatenate([one.rows - one.events, one.events], axis=1) for one in (live, past))
        part = Part(Rate(), spec, natural, self.floors, self.cap)
        watched = Watched(spec, known.sum(0, keepdims=True), self.at, (part,), lambda: counts)
        return replace(opening, start=start), watched


def searched(specs: Sequence[SignalSpec]) -> tuple[SignalSpec, ...]:
    """The cells among the signals of a baseline."""
    return tuple(spec for spec in specs if spec.kind == "cells")


def search(reference: Reference, windows: Sequence[WindowCounts], *, weight: float, frame: Frame) -> Search | None:
    """Search the windows for slices that have fallen; None when there is nothing to search in.

    Args:
        reference: The baseline, its cells among its signals.
        windows: The live windows, in time order.
        weight: Share of the budget of the search.
        frame: What all signals share.
    """
    at, floors = frame.at, frame.floors
    cells = searched(reference.specs)
    direct = [dict(spec.slice) for spec in reference.specs if spec.slice]
    past = candidates(cells, reference.windows, without=direct)
    enough = np.flatnonzero(past.rows.sum(0) >= FEWEST)
    if not len(enough):
        return None
    past, live = past.pick(enough), candidates(cells, windows, without=direct).pick(enough)
    apart = max(spec.bins // 2 for spec in cells)  # the cells of one group of columns share no row
    natural = learn(past.events, past.rows, calendar=frame.calendar, signals=apart, day=frame.day)
    floor, up = floor_of(natural, floors), np.ones(len(enough))
    share = natural.strata[at]
    expected = live.rows * (share + floor)
    chosen = choose(live.events, expected, live.rows, known=natural.rows, design=natural.design)
    tolerated = np.maximum(floor, upper_limits(natural) - natural.share)
    cap = None if floors.one_window else cap_of(frame.windows_per_alarm, weight)
    log_e = np.full((len(LOOK_BACKS), RANKS, len(windows)), -np.inf)
    ask, _ = askable(natural, up)
    limit = limit_of(natural, up) if cap is not None else np.full(len(enough), np.nan)
    wanted = np.intersect1d(np.unique(chosen[chosen != NONE]), np.flatnonzero(ask))
    for begin in range(0, len(wanted), _CHUNK):
        some = wanted[begin : begin + _CHUNK]
        place = np.full(len(enough), NONE, dtype=np.intp)
        place[some] = np.arange(len(some))
        judged = Watch(natural.pick(some), tolerated[some], up[some], at, cap, limit[some])
        path = paths(live.events[:, some], live.rows[:, some], judged)
        log_e = np.maximum(log_e, chosen_log_evidence(path, place, chosen))
    return Search(live, past, natural, chosen, log_e, floors, at, cap)


def names(
    found: Search | None, openings: Sequence[Opening], watched: Sequence[Watched]
) -> tuple[tuple[Opening, ...], tuple[Watched, ...]]:
    """The openings and the signals they are about, where every slice that was found is a signal of its own.

    Args:
        found: What the search found; None when nothing was searched.
        openings: Alarms; the search is the signal behind all others.
        watched: The other signals.
    """
    told, known = [], list(watched)
    for opening in openings:
        one = opening
        if found is not None and opening.signal == len(watched):
            moved, slice_ = found.name(opening)
            one = replace(moved, signal=len(known))
            known.append(slice_)
        told.append(one)
    return tuple(told), tuple(known)


def candidates(
    cells: Sequence[SignalSpec], windows: Sequence[WindowCounts], *, without: Sequence[Mapping[str, str]]
) -> Candidates:
    """All slices of one column or more, each counted once, from the cells of the first columns that hold it."""
    seen: set[tuple[str, ...]] = set()
    where: list[Mapping[str, str]] = []
    answers: list[Floats] = []
    for spec in cells:
        shape = [len(axis.levels) for axis in spec.axes]
        counts = counts_of(spec, windows).reshape(len(windows), *shape, 2)
        for depth in range(1, len(spec.axes) + 1):
            for group in combinations(range(len(spec.axes)), depth):
                columns = tuple(spec.axes[i].column for i in group)
                if columns in seen:
                    continue
                seen.add(columns)
                others = tuple(1 + i for i in range(len(shape)) if i not in group)
                answers.append(counts.sum(others).reshape(len(windows), prod(shape[i] for i in group), 2))
                levels = product(*(spec.axes[i].levels for i in group))
                where += [dict(zip(columns, one, strict=True)) for one in levels]
    if not answers:
        return Candidates((), np.zeros((len(windows), 0)), np.zeros((len(windows), 0)))
    both = np.concatenate(answers, axis=1)
    kept = np.array([i for i, one in enumerate(where) if one not in without], dtype=np.intp)
    return Candidates(tuple(where), both[..., 1], both.sum(2)).pick(kept)
