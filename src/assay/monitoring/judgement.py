"""A judgement that is carried on: windows that were judged before are not judged again.

What is kept of a judgement belongs to one standard and to the windows it was made from. Later windows are added to it;
where windows have changed since, those that came after them are taken back first. What comes out is the same, bit for
bit, as judging all windows anew, so it does not matter whether anything was kept, nor by whom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from assay.inference.evidence import LOOK_BACKS, START
from assay.inference.natural import Floats
from assay.monitoring.alarms import Alarm, describe
from assay.monitoring.calendar import strata_at
from assay.monitoring.course import Course, courses, standing
from assay.monitoring.discovery import names, search
from assay.monitoring.estimate import Calibration, with_estimates
from assay.monitoring.floors import Floors
from assay.monitoring.ledger import REWOUND, Ledger, Sums
from assay.monitoring.portrait import tolerances
from assay.monitoring.signals import Reference, SignalSpec, WindowCounts, counts_of
from assay.monitoring.silence import silent_ones
from assay.monitoring.summary import Interval, WindowSummary, summarise
from assay.monitoring.walk import Opening, Walked
from assay.monitoring.watching import Frame, Watched, frame_of, parts_of

_BYTES: Final = 160
"""What a signal's name and counts, or a figure and its interval, take besides the numbers, in bytes."""


@dataclass(frozen=True, slots=True)
class Standard:
    """By what windows are judged.

    Attributes:
        reference: What normal is.
        specs: The signals that are judged, without the search for slices.
        weight: Share of the budget of each; with a last one for the search where slices are searched for.
        windows_per_alarm: ``A``.
        span: How long a window is; None for windows of rows.
        floors: What does not matter.
        calibration: What a confidence meant, for estimates; None for none.
    """

    reference: Reference
    specs: tuple[SignalSpec, ...]
    weight: tuple[float, ...]
    windows_per_alarm: float
    span: timedelta | None
    floors: Floors
    calibration: Calibration | None


@dataclass(frozen=True, slots=True)
class After:
    """How things stood after one window.

    Attributes:
        walked: Which alarms were open.
        evidence: E per signal and look-back, as it counts in the sum, (S, look-backs).
        there: Which signals have had rows so far, (S,).
    """

    walked: Walked
    evidence: Floats
    there: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """Windows that were judged, and what carries on from them.

    Attributes:
        by: What they were judged by.
        windows: The windows, in time order.
        frame: Where they lie in the seasons of the baseline.
        ledger: The signals under their detectors.
        watched: The signals, with these windows.
        tolerances: By figure, its value in the baseline and the band that never raises an alarm.
        sums: What the windows add up to; None when nothing is to be carried on.
        after: How things stood before the oldest windows that can be taken back, and after each of them.
        series: Every window in a few numbers.
        told: What was said of each opening, as if it were still open.
        alarms: What was raised, in time order.
        drawn: How the newest alarms became known, the newest first.
    """

    by: Standard
    windows: tuple[WindowCounts, ...]
    frame: Frame
    ledger: Ledger
    watched: tuple[Watched, ...]
    tolerances: Mapping[str, Interval]
    sums: Sums | None
    after: tuple[After, ...]
    series: tuple[WindowSummary, ...]
    told: Mapping[Opening, Alarm]
    alarms: tuple[Alarm, ...]
    drawn: Mapping[Opening, Course]

    @property
    def there(self) -> npt.NDArray[np.bool_] | None:
        """Which signals have rows in these windows, (S,); None without windows."""
        return self.after[-1].there if self.windows else None

    @property
    def standing(self) -> Mapping[str, float]:
        """What stands against each signal after the last window, as a share of what an alarm needs."""
        own = [one for one in self.after[-1].walked.openings if one.signal < len(self.watched)]
        by_name = {spec.name: share for spec, share in zip(self.by.specs, self.by.weight, strict=False)}
        return standing(self.after[-1].evidence, len(self.windows), own, by_name, self.by.windows_per_alarm)

    @property
    def nbytes(self) -> int:
        """About how much memory is kept, in bytes."""
        return self.bytes_for(len(self.windows))

    def bytes_for(self, windows: int) -> int:
        """About how much memory so many windows would take, in bytes."""
        specs, states = self.by.specs, min(windows, REWOUND) + 1
        bins = sum(spec.bins for spec in specs)
        window = 2 * 8 * bins + _BYTES * (len(specs) + len(self.tolerances))
        return self.ledger.bytes_for(windows) + windows * window + states * len(specs) * len(LOOK_BACKS) * 8


def judge_windows(by: Standard, windows: tuple[WindowCounts, ...], before: Judged | None, *, most_bytes: int) -> Judged:
    """Judge windows, carrying on from an earlier judgement as far as its windows are these.

    Args:
        by: By what.
        windows: All windows since the baseline, in time order.
        before: What an earlier judgement has left; None for none.
        most_bytes: What is left is kept when it takes no more memory than this.

    Raises:
        BaselineError: A window counts other bins than the baseline.
    """
    start = None if before is None else _left(by, windows, before)
    start = _nothing(by, windows) if start is None else start
    begin, frame = len(start.windows), start.frame
    new = windows[begin:]
    counts = [counts_of(spec, new) for spec in by.specs]
    keep = start.bytes_for(len(windows)) <= most_bytes
    evidence, sums = start.ledger.add(counts, frame.at[begin:], start.sums, keep=keep)
    searching = len(by.weight) > len(by.specs)
    found = search(by.reference, windows, weight=by.weight[-1], frame=frame) if searching else None
    whole = evidence if found is None else np.concatenate([evidence, found.evidence()[None, :, begin:]])
    after = _walked(by, start.after, START * whole, counts)
    watched = tuple(
        Watched(one.spec, one.baseline, frame.at, one.parts, partial(counts_of, one.spec, windows))
        for one in start.watched
    )
    openings = after[-1].walked.openings
    named, known = names(found, openings, watched)
    told = {_as_open(one): start.told[_as_open(one)] for one in openings if _as_open(one) in start.told}
    fresh = [(_as_open(one), name) for one, name in zip(openings, named, strict=True) if _as_open(one) not in told]
    said = (describe(_as_open(name), known[name.signal], windows) for _, name in fresh)
    marked = silent_ones(tuple(said), watched, windows)
    told |= {one: alarm for (one, _), alarm in zip(fresh, marked, strict=True)}
    drawn = courses(named, known, windows, by.floors, start.drawn)
    return replace(
        start,
        windows=windows,
        watched=watched,
        sums=sums,
        after=after,
        series=(*start.series, *with_estimates(summarise(watched, counts, new), new, by.calibration)),
        told=told,
        alarms=tuple(
            told[_as_open(one)] if one.calm is None else replace(told[_as_open(one)], until=windows[one.calm].end)
            for one in openings
        ),
        drawn=drawn,
    )


def _nothing(by: Standard, windows: Sequence[WindowCounts]) -> Judged:
    """Before the first window."""
    frame = frame_of(
        by.reference,
        windows,
        specs=by.specs,
        windows_per_alarm=by.windows_per_alarm,
        span=by.span,
        floors=by.floors,
    )
    parts = parts_of(by.reference, specs=by.specs, weight=by.weight, frame=frame)
    watched = tuple(
        Watched(spec, counts_of(spec, by.reference.windows).sum(0, keepdims=True), frame.at, mine, _none)
        for spec, mine in zip(by.specs, parts, strict=True)
    )
    nowhere = After(
        Walked.nowhere(0), np.zeros((len(watched), len(LOOK_BACKS))), np.zeros(len(watched), dtype=np.bool_)
    )
    return Judged(
        by=by,
        windows=(),
        frame=frame,
        ledger=Ledger(parts),
        watched=watched,
        tolerances=tolerances(watched, by.floors),
        sums=None,
        after=(nowhere,),
        series=(),
        told={},
        alarms=(),
        drawn={},
    )


def _none() -> Floats:
    raise AssertionError("no windows are there yet")


def _left(by: Standard, windows: tuple[WindowCounts, ...], before: Judged) -> Judged | None:
    """What is left of an earlier judgement when windows that are not these are taken back; None for nothing."""
    if before.sums is None or before.by != by:
        return None
    same = min(len(windows), len(before.windows))
    same = next((i for i in range(same) if windows[i] != before.windows[i]), same)
    gone = len(before.windows) - same
    sums = before.sums.cut(same) if gone < len(before.after) else None
    frame = None if sums is None else _placed(before.frame, windows, same)
    if sums is None or frame is None:
        return None
    return replace(
        before,
        windows=before.windows[:same],
        frame=frame,
        sums=sums,
        after=before.after[: len(before.after) - gone],
        series=before.series[:same],
        told={opening: alarm for opening, alarm in before.told.items() if opening.window < same},
        drawn={opening: one for opening, one in before.drawn.items() if (opening.calm or 0) < same},
    )


def _placed(frame: Frame, windows: Sequence[WindowCounts], same: int) -> Frame | None:
    """The frame of these windows, the first of which it was made for; None when their strata are others."""
    if frame.calendar is None:
        return replace(frame, at=np.zeros(len(windows), dtype=np.intp))
    new = strata_at(frame.cycles, frame.calendar, windows[same:])
    if new is None:
        return None
    at = np.concatenate([frame.at[:same], new])
    used = np.union1d(frame.calendar.at, at)  # a stratum that no window is in any more would not be there
    return replace(frame, at=at) if len(used) == len(frame.calendar.strata) else None


def _walked(by: Standard, after: tuple[After, ...], evidence: Floats, counts: Sequence[Floats]) -> tuple[After, ...]:
    """How things stand after each of the newest windows, those before among them."""
    weight = np.array(by.weight[: len(evidence)])
    at = after[-1].walked if after[-1].walked.windows else Walked.nowhere(len(evidence))
    there, states = after[-1].there, list(after)
    starts = np.cumsum([0, *(one.shape[1] for one in counts[:-1])])
    rows = np.logical_or.reduceat(np.concatenate(counts, axis=1) > 0, starts, axis=1)
    for k in range(evidence.shape[2]):
        now = np.ascontiguousarray(evidence[:, :, k])
        at, there = at.then(now, weight, by.windows_per_alarm), there | rows[k]
        states = [*states[-REWOUND:], After(at, now[: len(counts)], there)]
    return tuple(states)


def _as_open(opening: Opening) -> Opening:
    return replace(opening, calm=None)
