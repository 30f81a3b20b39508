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

from assay.artifacts.diff.change import Status, TensorChange
from assay.artifacts.diff.fewer import pruned, quantised
from assay.artifacts.diff.flips import hidden, rotten
from assay.artifacts.diff.reading import MOST_NAMES, Confidence, Evidence, Kind, Reading, count, names, percent
from assay.artifacts.names import shown

# More of the model without a counterpart than with one: it is no longer the same model with parts exchanged.
OTHER_SHARE = 0.5
# Unrelated weights of n elements have a correlation of about 1/sqrt(n). A share of common training data or common
# structure (dead inputs, positive embeddings) leaves some more.
UNRELATED = 0.3
RELATED = 0.5
_SURE_ELEMENTS = 1000
_CERTAIN_COSINE = 0.9


def read_change(changes: Sequence[TensorChange], files: Sequence[str], *, damaged: Sequence[str] = ()) -> Reading:
    """Say what kind of change it is.

    Args:
        changes: Every tensor of both models.
        files: How each file that differs differs: ``changed``, ``added``, ``removed``,
            ``beside the tensors``, ``container``.
        damaged: Files that could not be read as what their names say: tensors that lack there say nothing.
    """
    beside = [what for what in files if what != "container"]
    settled = _without_edits(changes, files, beside) or _structure(changes)
    if settled is not None:
        return _unread(settled, damaged)
    evidence = Evidence(
        tuple(changes),
        tuple((one, one.measures) for one in changes if one.measures is not None and one.measures.exact),
    )
    reading = next(found for rule in _RULES if (found := rule(evidence)) is not None)
    extra = _remarks(changes, beside)
    if hidden(evidence):
        extra += "; only lowest bits differ: data hidden in weights looks like this"
    return Reading(reading.kind, reading.confidence, f"{reading.reason}{extra}")


def _without_edits(changes: Sequence[TensorChange], files: Sequence[str], beside: Sequence[str]) -> Reading | None:
    """Readings that need no numbers."""
    if any(one.status not in {Status.SAME, Status.RENAMED} for one in changes):
        return None
    renamed = sum(one.status is Status.RENAMED for one in changes)
    if beside:
        what = f"all {len(changes)} tensors are the same" if changes else "nothing in it can be read as tensors"
        reason = f"{what}; {count(len(beside), 'other file differs', 'other files differ')} or what lies beside tensors"
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
        count(sum(one.status is status for one in odd), f"tensor {word}", f"tensors {word}")
        for status, word in (
            (Status.ADDED, "added"),
            (Status.REMOVED, "removed"),
            (Status.RESHAPED, "of another shape"),
        )
        if any(one.status is status for one in odd)
    ]
    reason = f"{', '.join(counts)}: {percent(share)} of all elements have no counterpart"
    if share > OTHER_SHARE:
        return Reading(Kind.ARCHITECTURE, Confidence.CERTAIN, reason)
    if any(one.status in {Status.CHANGED, Status.RETYPED} for one in changes):
        return None  # what has a counterpart says more; the rest is a remark
    return Reading(Kind.ARCHITECTURE, Confidence.CERTAIN, f"{reason}; what has one is unchanged")


def _unread(reading: Reading, damaged: Sequence[str]) -> Reading:
    """Tensors that lack because a file is damaged are no other architecture."""
    if reading.kind is not Kind.ARCHITECTURE or not damaged:
        return reading
    reason = f"{', '.join(map(shown, damaged))} cannot be read, it is damaged or another format; {reading.reason}"
    return Reading(Kind.UNCLEAR, Confidence.UNSURE, reason)


def _retyped(evidence: Evidence) -> Reading | None:
    """The same values in a wider type, or in a narrower one that holds them all."""
    measured = [one for one in evidence.every if one.measures is not None]
    if any(one.status is not Status.RETYPED or one.measures is None or one.measures.changed for one in measured):
        return None
    kinds = sorted({f"{one.old.dtype} to {one.new.dtype}" for one in measured if one.old and one.new})
    return Reading(
        Kind.CONTAINER,
        Confidence.CERTAIN,
        f"every value is the same; {count(len(measured), 'tensor has', 'tensors have')} another element type "
        f"({', '.join(shown(kind) for kind in kinds)})",
    )


def _opaque(evidence: Evidence) -> Reading | None:
    """Only packed elements changed: whether they belong together cannot be told."""
    if evidence.changed:
        return None
    packed = [one for one in evidence.every if one.measures is not None]
    kinds = sorted({place.dtype for one in packed for place in (one.old, one.new) if place is not None})
    if any(one.status is Status.RETYPED for one in packed):
        return Reading(
            Kind.QUANTISED,
            Confidence.UNSURE,
            f"{count(len(packed), 'tensor has', 'tensors have')} another element type ({', '.join(kinds)}), which are "
            "compared as bytes: whether the values agree is not known",
        )
    bits = sum(one.measures.bits for one in packed if one.measures)
    if bits == 1:
        return Reading(Kind.ROT, Confidence.LIKELY, "a single bit differs")
    reason = f"packed elements ({', '.join(kinds)}) changed, which are compared as bytes: the kind cannot be told"
    return Reading(Kind.ONE_TENSOR if len(packed) == 1 else Kind.UNCLEAR, Confidence.UNSURE, reason)


def _low_rank(evidence: Evidence) -> Reading | None:
    """Every matrix that changed did so by a product of two thin factors that takes at most half of its room."""
    matrices = evidence.matrices
    if not matrices or not all(measures.thin for _, measures in matrices):
        return None
    if len(matrices) < len(evidence.changed):  # vectors moved as well
        share = sum(m.elements for _, m in matrices) / sum(m.elements for _, m in evidence.changed)
        if share < 0.9:  # noqa: PLR2004
            return None
    ranks = [measures.rank_exact or 0 for _, measures in matrices]
    rank = f"rank {ranks[0]}" if min(ranks) == max(ranks) else f"ranks {min(ranks)} to {max(ranks)}"
    widest = max((measures for _, measures in matrices), key=lambda one: one.rows * one.columns)
    reason = (
        f"the difference of {names([one for one, _ in matrices])} has {rank} only, though up to {widest.rows} x "
        f"{widest.columns} elements moved: an adapter (LoRA) was merged, or facts were edited (ROME)"
    )
    sure = len(matrices) == len(evidence.changed)
    return Reading(Kind.LOW_RANK, Confidence.LIKELY if sure else Confidence.UNSURE, reason)


def _one_tensor(evidence: Evidence) -> Reading | None:
    if len(evidence.changed) != 1 or len(evidence.every) == 1:
        return None
    ((change, measures),) = evidence.changed
    lines = ""
    if measures.rows and measures.rows < change.place.shape[0]:
        lines = f", in {measures.rows} of {change.place.shape[0]} rows"
    reason = (
        f"{percent(measures.share)} of the elements of {shown(change.name)} differ{lines}; "
        f"the other {len(evidence.every) - 1} tensors are the same"
    )
    return Reading(Kind.ONE_TENSOR, Confidence.CERTAIN, reason)


def _trained(evidence: Evidence) -> Reading | None:
    """How much of the old weights is left decides between trained on and trained anew."""
    pairs = [(measures.correlation, measures.elements) for _, measures in evidence.weights]
    known = [(value, count) for value, count in pairs if value is not None]
    if not known:
        return None
    whole = sum(count for _, count in known)
    related = sum(value * count for value, count in known) / whole
    moved = len(evidence.changed)
    tensors = f"{moved} of {len(evidence.every)} tensors moved"
    where = "" if moved > MOST_NAMES else f" ({names([one for one, _ in evidence.changed])})"
    chance = max(UNRELATED, 4 / math.sqrt(whole))
    if related < chance:
        reason = f"{tensors}{where}, and nothing of the old weights is left in them (correlation {related:.2f})"
        return Reading(Kind.RETRAINED, Confidence.LIKELY if whole >= _SURE_ELEMENTS else Confidence.UNSURE, reason)
    reason = f"{tensors}{where} and kept their direction (correlation {related:.3f})"
    if related < RELATED:
        reason = f"{tensors}{where} and kept little of their direction (correlation {related:.2f})"
    sure = related >= _CERTAIN_COSINE
    return Reading(Kind.FINE_TUNED, Confidence.LIKELY if sure else Confidence.UNSURE, reason)


def _unclear(evidence: Evidence) -> Reading:
    return Reading(Kind.UNCLEAR, Confidence.UNSURE, f"{len(evidence.changed)} tensors differ, as no rule here explains")


_RULES: tuple[Callable[[Evidence], Reading | None], ...] = (
    _retyped,
    _opaque,
    rotten,
    quantised,
    pruned,
    _low_rank,
    _one_tensor,
    _trained,
    _unclear,
)


def _remarks(changes: Sequence[TensorChange], beside: Sequence[str]) -> str:
    odd = sum(one.status in {Status.ADDED, Status.REMOVED, Status.RESHAPED} for one in changes)
    remarks = [count(odd, "tensor has no counterpart", "tensors have no counterpart")] if odd else []
    remarks += [count(len(beside), "other file differs too", "other files differ too")] if beside else []
    return "".join(f"; {remark}" for remark in remarks)
