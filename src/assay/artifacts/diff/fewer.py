"""Readings of weights that take fewer values than before: quantised, pruned. Pure."""

from __future__ import annotations

import math

from assay.artifacts.diff.change import Measures, Status, TensorChange
from assay.artifacts.diff.reading import Confidence, Evidence, Kind, Reading, count, percent
from assay.artifacts.names import shown

# Pruning sets elements to zero and leaves the others alone; below one in a hundred it saves nothing.
PRUNED_SHARE = 0.01
PRUNED_ZEROED = 0.99
# After pruning and training on: more zeros by five in a hundred than before, which no optimiser makes by itself.
PRUNED_MORE_ZEROS = 0.05
# Groups of up to 256 values show this share of the different ones that OLD shows, or fewer. 256 Gaussian weights on a
# grid of 8 bits show about 60 %, 64 of them 88 %; unrounded numbers of 32 bits never repeat. Numbers of 16 bits and
# less do, by chance, so that of them more is asked.
QUANTISED_LEVELS = 0.93
QUANTISED_LEVELS_NARROW = 0.8
# A whole tensor takes so many times fewer values than before.
QUANTISED_FEWER = 4
# Rounding to 2 bits keeps a cosine of about 0.9 for Gaussian weights; less is no rounding.
QUANTISED_COSINE = 0.8
_SURE_COSINE = 0.9


def quantised(evidence: Evidence) -> Reading | None:
    """Most of what changed takes fewer values than before and still points the same way."""
    every = evidence.weights
    rounded = [pair for pair in every if _is_rounded(*pair)]
    whole, part = (sum(measures.elements for _, measures in pairs) for pairs in (every, rounded))
    if not rounded or 2 * part < whole:
        return None
    cosine = min(measures.cosine or 0.0 for _, measures in rounded)
    kinds = sorted({_grid(*pair) for pair in rounded})
    reason = (
        f"{count(len(rounded), 'tensor was', 'tensors were')} rounded ({', '.join(kinds)}) and still "
        f"{'points' if len(rounded) == 1 else 'point'} the same way (cosine at least {cosine:.4f})"
    )
    sure = cosine >= _SURE_COSINE and part > 0.9 * whole
    return Reading(Kind.QUANTISED, Confidence.LIKELY if sure else Confidence.UNSURE, reason)


def _is_rounded(change: TensorChange, measures: Measures) -> bool:
    if measures.cosine is None or measures.cosine < QUANTISED_COSINE:
        return False
    narrower = bool(measures.narrow_new) and not measures.narrow_old
    wide = change.place.dtype in {"F32", "F64"} and not measures.narrow_old
    few = measures.levels <= (QUANTISED_LEVELS if wide else QUANTISED_LEVELS_NARROW)
    return change.status is Status.RETYPED or narrower or few or _fewer(measures)


def _fewer(measures: Measures) -> bool:
    if measures.distinct_new is None:
        return False
    before = measures.elements if measures.distinct_old is None else measures.distinct_old
    return QUANTISED_FEWER * measures.distinct_new <= before


def _grid(change: TensorChange, measures: Measures) -> str:
    """What it was rounded to, in words."""
    if change.status is Status.RETYPED and change.old is not None and change.new is not None:
        return f"{shown(change.old.dtype)} to {shown(change.new.dtype)}"
    if measures.narrow_new and not measures.narrow_old:
        return f"to values of {measures.narrow_new}"
    if measures.distinct_new is not None:
        return f"to at most {2 ** math.ceil(math.log2(max(measures.distinct_new, 2)))} different values"
    return "to a grid per row, column or group"


def pruned(evidence: Evidence) -> Reading | None:
    """Many elements became zero."""
    weights = evidence.weights
    elements = sum(measures.elements for _, measures in weights) or 1
    zeroed = sum(measures.zeroed for _, measures in weights)
    changed = sum(measures.changed for _, measures in weights)
    more = sum(measures.zeros_new - measures.zeros_old for _, measures in weights)
    sparse = sum(measures.zeros_new for _, measures in weights) / elements
    if zeroed < PRUNED_SHARE * elements:
        return None
    if zeroed >= PRUNED_ZEROED * changed:
        smallest = all(measures.largest_zeroed <= (measures.smallest_kept or math.inf) for _, measures in weights)
        how = "the smallest of each tensor" if smallest else "not only the smallest"
        reason = f"{percent(zeroed / elements)} of the elements were set to zero ({how}), the others are the same"
        return Reading(Kind.PRUNED, Confidence.LIKELY, f"{reason}; {percent(sparse)} are zero now")
    if more < PRUNED_MORE_ZEROS * elements:
        return None
    reason = f"{percent(more / elements)} more of the elements are zero ({percent(sparse)} now), and others moved too"
    return Reading(Kind.PRUNED, Confidence.UNSURE, reason)
