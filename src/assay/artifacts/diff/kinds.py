"""What kind of change it is: a reading of all tensors together. Pure.

A reading is a judgement over measured numbers, not evidence of intent: who knows these rules can
make an edit that reads as something else. The numbers of each tensor are exact; the kind is the
shortest explanation that fits them. The rules are tried from the most specific to the least; their
thresholds and the reason for each stand where they are defined, and ``benchmarks/diff`` counts how
often they are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from assay.artifacts.diff.change import Measures, Status, TensorChange, kind_of
from assay.artifacts.names import shown


class Kind(StrEnum):
    """What kind of change it is."""

    IDENTICAL = "identical"
    CONTAINER = "container changed only"
    BESIDE = "other content changed"
    ROT = "bit rot"
    ONE_TENSOR = "one tensor edited"
    LOW_RANK = "low-rank edit"
    PRUNED = "pruned"
    QUANTISED = "quantised"
    FINE_TUNED = "fine-tuned"
    RETRAINED = "retrained"
    ARCHITECTURE = "other architecture"
    UNCLEAR = "unclear"


class Confidence(StrEnum):
    """How sure a reading is."""

    CERTAIN = "certain"  # follows from the bytes
    LIKELY = "likely"  # another cause would have to imitate it
    UNSURE = "unsure"  # near a threshold, or little to see


@dataclass(frozen=True, slots=True)
class Reading:
    """What kind of change it is, how sure, and why.

    Attributes:
        kind: The kind.
        confidence: How sure.
        reason: One sentence with the numbers it rests on.
    """

    kind: Kind
    confidence: Confidence
    reason: str

    @property
    def differs(self) -> bool:
        """Whether the models differ in anything a prediction can depend on."""
        return self.kind not in {Kind.IDENTICAL, Kind.CONTAINER}

    def as_json(self) -> dict[str, object]:
        """As ``assay diff --json`` prints it."""
        return {"kind": self.kind.value, "confidence": self.confidence.value, "reason": self.reason}


# More of the model without a counterpart than with one: it is no longer the same model with parts exchanged.
OTHER_SHARE = 0.5
# An element that is computed anew agrees in each bit by chance: half of its bits differ. One or two flipped bits in an
# element are what noise in memory, on a disk or on a wire leaves.
ROT_BITS_AN_ELEMENT = 1.5
# Beyond one element in a hundred no machine would have kept running: an edit explains it better.
ROT_SHARE = 0.01
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
# Unrelated weights of n elements have a correlation of about 1/sqrt(n). A share of common training data or common
# structure (dead inputs, positive embeddings) leaves some more.
UNRELATED = 0.3
RELATED = 0.5
_FEW = 3
_SURE_ELEMENTS = 1000
_CERTAIN_COSINE = 0.9


@dataclass(frozen=True, slots=True)
class _Evidence:
    """All that the rules look at."""

    every: tuple[TensorChange, ...]
    changed: tuple[tuple[TensorChange, Measures], ...]  # values compared

    @property
    def matrices(self) -> tuple[tuple[TensorChange, Measures], ...]:
        return tuple(pair for pair in self.changed if len(pair[0].place.shape) > 1)

    @property
    def weights(self) -> tuple[tuple[TensorChange, Measures], ...]:
        """Matrices, or, where no matrix changed, all that changed."""
        return self.matrices or self.changed

    def total(self, of: Callable[[Measures], float]) -> float:
        """Sum over all changed tensors."""
        return sum(of(measures) for _, measures in self.changed)


def read_change(changes: Sequence[TensorChange], files: Sequence[str]) -> Reading:
    """Say what kind of change it is.

    Args:
        changes: Every tensor of both models.
        files: How each file that differs differs: ``changed``, ``added``, ``removed``,
            ``beside the tensors``, ``container``.
    """
    beside = [what for what in files if what != "container"]
    settled = _without_edits(changes, files, beside) or _structure(changes)
    if settled is not None:
        return settled
    evidence = _Evidence(
        tuple(changes),
        tuple((one, one.measures) for one in changes if one.measures is not None and one.measures.exact),
    )
    reading = next(found for rule in _RULES if (found := rule(evidence)) is not None)
    extra = _remarks(changes, beside)
    return Reading(reading.kind, reading.confidence, f"{reading.reason}{extra}")


def _without_edits(changes: Sequence[TensorChange], files: Sequence[str], beside: Sequence[str]) -> Reading | None:
    """Readings that need no numbers."""
    if any(one.status not in {Status.SAME, Status.RENAMED} for one in changes):
        return None
    renamed = sum(one.status is Status.RENAMED for one in changes)
    if beside:
        what = f"all {len(changes)} tensors are the same" if changes else "nothing in it can be read as tensors"
        reason = (
            f"{what}; {_count(len(beside), 'other file differs', 'other files differ')} or what lies beside tensors"
        )
        return Reading(Kind.BESIDE, Confidence.CERTAIN, reason)
    if files or renamed:
        moved = f", {renamed} of them under another name" if renamed else ""
        reason = (
            f"all {len(changes)} tensors have the same type, shape and bytes{moved}; only how they are stored differs"
        )
        return Reading(Kind.CONTAINER, Confidence.CERTAIN, reason)
    return Reading(
        Kind.IDENTICAL,
        Confidence.CERTAIN,
        "every file has the same bytes"
        if not changes
        else f"all {len(changes)} tensors, and all else, have the same bytes",
    )


def _structure(changes: Sequence[TensorChange]) -> Reading | None:
    """Other architecture, when most of either model has no counterpart, or what has one did not change."""
    odd = [one for one in changes if one.status in {Status.ADDED, Status.REMOVED, Status.RESHAPED}]
    if not odd:
        return None
    whole = sum(one.place.elements for one in changes) or 1
    share = sum(one.place.elements for one in odd) / whole
    counts = [
        _count(sum(one.status is status for one in odd), f"tensor {word}", f"tensors {word}")
        for status, word in (
            (Status.ADDED, "added"),
            (Status.REMOVED, "removed"),
            (Status.RESHAPED, "of another shape"),
        )
        if any(one.status is status for one in odd)
    ]
    reason = f"{', '.join(counts)}: {_percent(share)} of all elements have no counterpart"
    if share > OTHER_SHARE:
        return Reading(Kind.ARCHITECTURE, Confidence.CERTAIN, reason)
    if any(one.status in {Status.CHANGED, Status.RETYPED} for one in changes):
        return None  # what has a counterpart says more; the rest is a remark
    return Reading(Kind.ARCHITECTURE, Confidence.CERTAIN, f"{reason}; what has one is unchanged")


def _opaque(evidence: _Evidence) -> Reading | None:
    """Only packed elements changed: whether they belong together cannot be told."""
    if evidence.changed:
        return None
    packed = [one for one in evidence.every if one.measures is not None]
    kinds = sorted({place.dtype for one in packed for place in (one.old, one.new) if place is not None})
    if any(one.status is Status.RETYPED for one in packed):
        return Reading(
            Kind.QUANTISED,
            Confidence.UNSURE,
            f"{_count(len(packed), 'tensor has', 'tensors have')} another element type ({', '.join(kinds)}), which are "
            "compared as bytes: whether the values agree is not known",
        )
    bits = sum(one.measures.bits for one in packed if one.measures)
    if bits == 1:
        return Reading(Kind.ROT, Confidence.LIKELY, "a single bit differs")
    reason = f"packed elements ({', '.join(kinds)}) changed, which are compared as bytes: the kind cannot be told"
    return Reading(Kind.ONE_TENSOR if len(packed) == 1 else Kind.UNCLEAR, Confidence.UNSURE, reason)


def _rot(evidence: _Evidence) -> Reading | None:
    if any(one.status is Status.RETYPED for one, _ in evidence.changed):
        return None
    bits, changed = evidence.total(lambda one: one.bits), evidence.total(lambda one: one.changed)
    elements = sum(one.place.elements for one in evidence.every)
    if bits > ROT_BITS_AN_ELEMENT * changed or (changed > 1 and changed > max(ROT_SHARE * elements, 1)):
        return None
    width = min(8 * _width(one) for one, _ in evidence.changed)
    # Chance that a rewritten element differs in one bit only; that all of them do shrinks with each.
    chance = (width / 2**width) ** evidence.total(lambda one: one.single_bits)
    high = evidence.total(lambda one: one.sign_bits + one.exponent_bits)
    where = _names([one for one, _ in evidence.changed])
    reason = (
        f"{_count(int(bits), 'bit differs', 'bits differ')} in {_count(int(changed), 'element', 'elements')} "
        f"of {where}, {int(high)} of them in a sign or exponent; a deliberate flip looks the same"
    )
    return Reading(Kind.ROT, Confidence.LIKELY if chance < 1e-3 else Confidence.UNSURE, reason)  # noqa: PLR2004


def _width(one: TensorChange) -> int:
    dtype = one.place.dtype
    return {"F64": 8, "I64": 8, "U64": 8, "C128": 8, "F32": 4, "I32": 4, "U32": 4, "C64": 4}.get(
        dtype, 2 if "16" in dtype else 1
    )


def _quantised(evidence: _Evidence) -> Reading | None:
    """Most of what changed takes fewer values than before and still points the same way."""
    every = evidence.weights
    rounded = [pair for pair in every if _is_rounded(*pair)]
    whole, part = (sum(measures.elements for _, measures in pairs) for pairs in (every, rounded))
    if not rounded or part < OTHER_SHARE * whole:
        return None
    cosine = _lowest_cosine(rounded)
    kinds = sorted({_grid(*pair) for pair in rounded})
    reason = (
        f"{_count(len(rounded), 'tensor was', 'tensors were')} rounded ({', '.join(kinds)}) and still "
        f"{'points' if len(rounded) == 1 else 'point'} the same way (cosine at least {cosine:.4f})"
    )
    sure = cosine >= _CERTAIN_COSINE and part > 0.9 * whole
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


def _pruned(evidence: _Evidence) -> Reading | None:
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
        reason = f"{_percent(zeroed / elements)} of the elements were set to zero ({how}), the others are the same"
        return Reading(Kind.PRUNED, Confidence.LIKELY, f"{reason}; {_percent(sparse)} are zero now")
    if more < PRUNED_MORE_ZEROS * elements:
        return None
    reason = f"{_percent(more / elements)} more of the elements are zero ({_percent(sparse)} now), and others moved too"
    return Reading(Kind.PRUNED, Confidence.UNSURE, reason)


def _low_rank(evidence: _Evidence) -> Reading | None:
    """Every matrix that changed did so by a product of two thin factors that takes at most half of its room."""
    matrices = evidence.matrices
    if not matrices or not all(_is_low_rank(measures) for _, measures in matrices):
        return None
    if len(matrices) < len(evidence.changed):  # vectors moved as well
        share = sum(m.elements for _, m in matrices) / sum(m.elements for _, m in evidence.changed)
        if share < 0.9:  # noqa: PLR2004
            return None
    ranks = [measures.rank_exact or 0 for _, measures in matrices]
    rank = f"rank {ranks[0]}" if min(ranks) == max(ranks) else f"ranks {min(ranks)} to {max(ranks)}"
    widest = max((measures for _, measures in matrices), key=lambda one: one.rows * one.columns)
    reason = (
        f"the difference of {_names([one for one, _ in matrices])} has {rank} only, though up to {widest.rows} x "
        f"{widest.columns} elements moved: an adapter (LoRA) was merged, or facts were edited (ROME)"
    )
    sure = len(matrices) == len(evidence.changed)
    return Reading(Kind.LOW_RANK, Confidence.LIKELY if sure else Confidence.UNSURE, reason)


def _is_low_rank(measures: Measures) -> bool:
    """Fewer numbers in two factors than half of the rows and columns that changed hold: no chance, a construction."""
    if measures.rank_exact is None:
        return False
    room = measures.rows * measures.columns
    return 2 * measures.rank_exact * (measures.rows + measures.columns) <= room


def _one_tensor(evidence: _Evidence) -> Reading | None:
    if len(evidence.changed) != 1 or len(evidence.every) == 1:
        return None
    ((change, measures),) = evidence.changed
    lines = ""
    if measures.rows and measures.rows < change.place.shape[0]:
        lines = f", in {measures.rows} of {change.place.shape[0]} rows"
    reason = (
        f"{_percent(measures.share)} of the elements of {shown(change.name)} differ{lines}; "
        f"the other {len(evidence.every) - 1} tensors are the same"
    )
    return Reading(Kind.ONE_TENSOR, Confidence.CERTAIN, reason)


def _trained(evidence: _Evidence) -> Reading | None:
    """How much of the old weights is left decides between trained on and trained anew."""
    pairs = [(measures.correlation, measures.elements) for _, measures in evidence.weights]
    known = [(value, count) for value, count in pairs if value is not None]
    if not known:
        return None
    whole = sum(count for _, count in known)
    related = sum(value * count for value, count in known) / whole
    moved = len(evidence.changed)
    tensors = f"{moved} of {len(evidence.every)} tensors moved"
    where = "" if moved > _FEW else f" ({_names([one for one, _ in evidence.changed])})"
    chance = max(UNRELATED, 4 / math.sqrt(whole))
    if related < chance:
        reason = f"{tensors}{where}, and nothing of the old weights is left in them (correlation {related:.2f})"
        return Reading(Kind.RETRAINED, Confidence.LIKELY if whole >= _SURE_ELEMENTS else Confidence.UNSURE, reason)
    reason = f"{tensors}{where} and kept their direction (correlation {related:.3f})"
    if related < RELATED:
        reason = f"{tensors}{where} and kept little of their direction (correlation {related:.2f})"
    sure = related >= _CERTAIN_COSINE
    return Reading(Kind.FINE_TUNED, Confidence.LIKELY if sure else Confidence.UNSURE, reason)


def _unclear(evidence: _Evidence) -> Reading:
    return Reading(Kind.UNCLEAR, Confidence.UNSURE, f"{len(evidence.changed)} tensors differ, as no rule here explains")


_RULES: tuple[Callable[[_Evidence], Reading | None], ...] = (
    _opaque,
    _rot,
    _quantised,
    _pruned,
    _low_rank,
    _one_tensor,
    _trained,
    _unclear,
)


def _lowest_cosine(pairs: Sequence[tuple[TensorChange, Measures]]) -> float:
    return min(measures.cosine or 0.0 for _, measures in pairs)


def _remarks(changes: Sequence[TensorChange], beside: Sequence[str]) -> str:
    odd = sum(one.status in {Status.ADDED, Status.REMOVED, Status.RESHAPED} for one in changes)
    remarks = [_count(odd, "tensor has no counterpart", "tensors have no counterpart")] if odd else []
    remarks += [_count(len(beside), "other file differs too", "other files differ too")] if beside else []
    return "".join(f"; {remark}" for remark in remarks)


def _names(changes: Sequence[TensorChange]) -> str:
    """Few names; those that differ in the layer's number only are one."""
    names = list(dict.fromkeys(shown(kind_of(one.name)[0]) for one in changes))
    if len(changes) == 1:
        names = [shown(changes[0].name)]
    more = len(names) - _FEW
    text = ", ".join(names[:_FEW]) + (f" and {more} more kinds" if more > 0 else "")
    return text if len(changes) <= _FEW else f"{len(changes)} tensors ({text})"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _percent(share: float) -> str:
    if 0 < share < 0.001:  # noqa: PLR2004
        return "less than 0.1 %"
    return f"{100 * share:.1f} %" if share < 1 else "100 %"
