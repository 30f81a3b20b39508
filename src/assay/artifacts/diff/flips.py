"""Readings of flipped bits: rot, or data hidden in the lowest bits. Pure."""

from __future__ import annotations

from assay.artifacts.diff.change import Status, TensorChange
from assay.artifacts.diff.reading import Confidence, Evidence, Kind, Reading, count, names

# An element that is computed anew agrees in each bit by chance: half of its bits differ. One or two flipped bits in an
# element are what noise in memory, on a disk or on a wire leaves.
ROT_BITS_AN_ELEMENT = 1.5
# Beyond one element in a hundred no machine would have kept running: an edit explains it better.
ROT_SHARE = 0.01
# Of flips anywhere in 32 bits 28 % hit a sign or an exponent; beyond that share only such a mixture speaks for rot.
ROT_MIXED = (0.1, 0.6)
# Data hidden in weights goes into their lowest bits; of so many flips anywhere, one would lie higher.
HIDDEN_BITS = 8
HIDDEN_LEAST = 32
_REWRITTEN = 1e-3  # chance that rewritten elements look like flips, from which on rot is likely


def rotten(evidence: Evidence) -> Reading | None:
    """Few bits, anywhere: what memory, disks and wires do to bytes."""
    if any(one.status is Status.RETYPED for one, _ in evidence.changed):
        return None
    bits, changed = evidence.total(lambda one: one.bits), evidence.total(lambda one: one.changed)
    elements = sum(one.place.elements for one in evidence.every)
    high = evidence.total(lambda one: one.sign_bits + one.exponent_bits)
    many = changed > max(ROT_SHARE * elements, 1)
    if bits > ROT_BITS_AN_ELEMENT * changed or hidden(evidence):
        return None
    if many and not ROT_MIXED[0] <= high / bits <= ROT_MIXED[1]:
        return None
    width = min(8 * _width(one) for one, _ in evidence.changed)
    # Chance that a rewritten element differs in one bit only; that all of them do shrinks with each.
    chance = (width / 2**width) ** evidence.total(lambda one: one.single_bits)
    where = names([one for one, _ in evidence.changed])
    reason = (
        f"{count(int(bits), 'bit differs', 'bits differ')} in {count(int(changed), 'element', 'elements')} "
        f"of {where}, {int(high)} of them in a sign or exponent; a deliberate flip looks the same"
    )
    return Reading(Kind.ROT, Confidence.LIKELY if chance < _REWRITTEN and not many else Confidence.UNSURE, reason)


def hidden(evidence: Evidence) -> bool:
    """Whether nothing but low bits of wide floating-point elements differs, too often for chance."""
    return evidence.total(lambda one: one.bits) >= HIDDEN_LEAST and all(
        measures.highest_bit is not None
        and measures.highest_bit < HIDDEN_BITS < 8 * _width(change)
        and change.place.dtype.startswith(("F", "BF"))
        and not measures.exponent_bits
        for change, measures in evidence.changed
    )


def _width(one: TensorChange) -> int:
    dtype = one.place.dtype
    return {"F64": 8, "I64": 8, "U64": 8, "C128": 8, "F32": 4, "I32": 4, "U32": 4, "C64": 4}.get(
        dtype, 2 if "16" in dtype else 1
    )
