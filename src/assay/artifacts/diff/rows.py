"""A changed tensor as a row of a table: the same words at a prompt and on a page. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from assay.artifacts.diff.change import Measures, Status, TensorChange
from assay.artifacts.names import shown

COLUMNS = ("tensor", "changed", "L2 rel.", "max", "cosine", "rank", "bits", "zeros", "values", "type", "shape")
NARROW_COLUMNS = ("tensor", "changed", "L2 rel.", "rank")
NOTHING = "\u2013"

_ORDER = (Status.CHANGED, Status.RETYPED, Status.RESHAPED, Status.ADDED, Status.REMOVED, Status.RENAMED, Status.SAME)


def most_changed(changes: Sequence[TensorChange]) -> tuple[TensorChange, ...]:
    """Those with numbers first, by their change relative to the tensor; then the others by what happened to them."""
    return tuple(sorted(changes, key=_weight))


def _weight(one: TensorChange) -> tuple[int, float]:
    if one.measures is None:
        return _ORDER.index(one.status), 0.0
    relative = one.measures.relative
    return 0, -(one.measures.share if relative is None else relative)


def row(one: TensorChange) -> tuple[str, ...]:
    """The cells of one tensor, one for each of :data:`COLUMNS`."""
    place = one.place
    kind, shape = shown(place.dtype), _shape(place.shape)
    if one.old is not None and one.new is not None:
        if one.old.dtype != one.new.dtype:
            kind = f"{shown(one.old.dtype)} \u2192 {shown(one.new.dtype)}"
        if one.old.shape != one.new.shape:
            shape = f"{_shape(one.old.shape)} \u2192 {_shape(one.new.shape)}"
    name = shown(one.name)
    if one.status is Status.RENAMED and one.old is not None:
        name = f"{name} (was {shown(one.old.name)})"
    if one.measures is None:
        return (name, one.status.value, *(NOTHING,) * 7, kind, shape)
    return (name, *_numbers(one.measures), kind, shape)


def _numbers(found: Measures) -> tuple[str, ...]:
    share = _percent(found.share)
    if not found.exact:
        return (f"{share} of bytes", NOTHING, NOTHING, NOTHING, NOTHING, f"{found.bits:,}", NOTHING, NOTHING)
    elements = found.elements or 1
    zeros = _pair(_percent(found.zeros_old / elements), _percent(found.zeros_new / elements))
    values = _pair(_many(found.distinct_old), _many(found.distinct_new))
    return (
        share,
        NOTHING if found.relative is None else _percent(found.relative),
        f"{found.max_change:.3g}",
        NOTHING if found.cosine is None else _cosine(found.cosine),
        rank(found),
        f"{found.bits:,}" if found.bits else NOTHING,
        zeros,
        values,
    )


def rank(found: Measures) -> str:
    """The rank as a person reads it: that which rounding leaves, else that of 99 % of the energy."""
    side = min(found.rows, found.columns)
    if found.thin:
        return str(found.rank_exact)
    if found.rank is not None:
        return f"{found.rank} of {side}"
    return f"> {found.rank_beyond}" if found.rank_beyond else NOTHING


def _cosine(value: float) -> str:
    return f"{value:.4f}" if value < 0.99995 else "1.0000"  # noqa: PLR2004 - what rounds to it anyway


def _pair(old: str, new: str) -> str:
    return old if old == new else f"{old} \u2192 {new}"


def _many(count: int | None) -> str:
    return "many" if count is None else f"{count:,}"


def _shape(shape: Sequence[int]) -> str:
    return "\u00d7".join(str(size) for size in shape) or "scalar"


def _percent(share: float) -> str:
    if share == 0:
        return "0 %"
    if share < 0.0001:  # noqa: PLR2004 - shares
        return "<0.01 %"
    if share < 0.1:  # noqa: PLR2004
        return f"{100 * share:.2f} %"
    return f"{100 * share:.0f} %" if share < 1000 else f"{100 * share:.1e} %"  # noqa: PLR2004
