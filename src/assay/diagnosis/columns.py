"""What is wrong with single columns: missing, empty, stuck, rescaled, outside, moved. Pure.

Each measure is the recent stretch's excess over every trusted stretch of the same length, so that a
column that is often constant for a month (the month itself) is not called stuck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.diagnosis.learners import Floats, Ints
from assay.diagnosis.matching import Match, ks, match_columns

ROWS = 1_500
MOVED_KS = 0.08  # a column whose distribution moved less than this is no suspect
NEW_NULLS = 0.05
STUCK_RISE = 0.3
SCALE = 1.6  # a unit change multiplies the spread by more than this, or divides it
WIDER, NARROWER = 2.2, 3.0  # without a shift of the middle, only a spread beyond these factors is a change of unit
APART = 0.3
FITS = 0.15  # Kolmogorov-Smirnov distance under which two distributions count as the same shape
FAR = 0.4
USUAL = 0.8


@dataclass(frozen=True, slots=True)
class ColumnFault:
    """One thing wrong with one column.

    Attributes:
        column: Its name.
        kind: ``missing``, ``nulls``, ``stuck``, ``rescaled``, ``outside``, ``retyped``, ``moved``.
        size: How bad, in [0, 1].
        detail: One sentence for the person on call.
        source: For ``moved``, the column whose contents it holds now.
    """

    column: str
    kind: str
    size: float
    detail: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """How the inputs of the recent stretch compare with the trusted ones.

    Attributes:
        drift: Kolmogorov-Smirnov distance of each column from its trusted rows.
        excess: The same beyond the largest of any trusted stretch of that length; may be negative.
        structure: Log ratio of each column's error when told from the others, beyond the trusted stretches.
    """

    drift: Floats
    excess: Floats
    structure: Floats


def compare_inputs(trusted: Floats, recent: Floats, blocks: Sequence[Ints]) -> Inputs:
    """Compare column by column.

    Args:
        trusted: Trusted rows, shape (n, d), NaN for null.
        recent: Recent rows, shape (m, d).
        blocks: Row numbers of the trusted stretches.
    """
    d = trusted.shape[1]
    drift = np.array([ks(trusted[:, j], recent[:, j]) for j in range(d)])
    usual = np.zeros(d)
    stretches = structure_of(trusted, [recent, *(trusted[block] for block in blocks)])
    for block in blocks:
        rest = np.ones(len(trusted), dtype=bool)
        rest[block] = False
        usual = np.maximum(usual, [ks(trusted[rest, j], trusted[block, j]) for j in range(d)])
    normal = np.max(stretches[1:], axis=0) if len(stretches) > 1 else np.zeros(d)
    return Inputs(drift, drift - usual, stretches[0] - np.maximum(normal, 0.0))


def structure_of(trusted: Floats, parts: Sequence[Floats]) -> list[Floats]:
    """For each part, per column: log of its mean error when told from the other columns, against the trusted mean.

    The world may move all columns together; what ties them (dew point to temperature) stays. A broken
    column breaks the tie. Each column's best linear guess from the others is read off the inverse
    covariance matrix.

    References:
        Lauritzen, S. L. (1996). Graphical Models. Oxford University Press, section 5.1.3.
    """
    middle = np.nanmedian(np.where(np.isnan(trusted).all(axis=0), 0.0, trusted), axis=0)
    low, high = np.nanpercentile(np.where(np.isnan(trusted), middle, trusted), [10, 90], axis=0)
    spread = np.where(high > low, (high - low) / 2.56, np.inf)

    def scaled(x: Floats) -> Floats:
        return np.asarray(np.clip(np.nan_to_num((x - middle) / spread), -4.0, 4.0), dtype=np.float64)

    base = scaled(trusted)
    inverse = np.linalg.inv(np.cov(base, rowvar=False).reshape(base.shape[1], -1) + 0.05 * np.eye(base.shape[1]))

    def error(x: Floats) -> Floats:
        return np.asarray(np.abs(scaled(x) @ inverse / np.diag(inverse)).mean(axis=0), dtype=np.float64)

    own = error(trusted)
    return [np.asarray(np.log((error(part) + 0.02) / (own + 0.02)), dtype=np.float64) for part in parts]


def find_faults(
    names: Sequence[str], trusted: Floats, recent: Floats, blocks: Sequence[Ints], inputs: Inputs
) -> tuple[tuple[ColumnFault, ...], Match]:
    """Everything wrong with single columns, worst first, and the pairing of columns then and now."""
    faults: list[ColumnFault] = []
    for j, name in enumerate(names):
        parts = [trusted[block, j] for block in blocks] or [trusted[:, j]]
        fault = _empty(name, parts, recent[:, j]) or _stuck(name, parts, recent[:, j])
        if fault is None:
            fault = _rescaled(name, trusted[:, j], parts, recent[:, j], float(inputs.excess[j]))
        if fault is None:
            fault = _outside(name, trusted[:, j], parts, recent[:, j])
        if fault is not None:
            faults.append(fault)
    match = _moved(trusted, recent, blocks, inputs)
    for j in match.moved:
        source = names[match.source[j]]
        faults.append(ColumnFault(names[j], "moved", 1.0, f"{names[j]!r} now holds what {source!r} held", source))
    moved = {names[j] for j in match.moved}
    # What a wrong pairing explains is not told a second time as a fault of its own.
    kept = [fault for fault in faults if fault.kind == "moved" or fault.column not in moved]
    return tuple(sorted(kept, key=lambda fault: (-fault.size, fault.kind, fault.column))), match


def _empty(name: str, parts: Sequence[Floats], recent: Floats) -> ColumnFault | None:
    share = float(np.isnan(recent).mean())
    rise = share - max(float(np.isnan(part).mean()) for part in parts)
    if rise < NEW_NULLS:
        return None
    kind = "missing" if share == 1.0 else "nulls"
    return ColumnFault(
        name,
        kind,
        min(1.0, rise / 0.2),
        f"{name!r} has no usable value in {share:.0%} of the rows, {share - rise:.0%} before",
    )


def _stuck(name: str, parts: Sequence[Floats], recent: Floats) -> ColumnFault | None:
    share = top_share(recent)
    rise = share - max(top_share(part) for part in parts)
    if rise < STUCK_RISE:
        return None
    return ColumnFault(
        name,
        "stuck",
        min(1.0, rise / 0.6),
        f"{name!r} has one and the same value in {share:.0%} of the rows, {share - rise:.0%} before",
    )


def top_share(x: Floats) -> float:
    """Share of the commonest value among those that are there."""
    x = x[~np.isnan(x)]
    return float(np.unique(x, return_counts=True)[1].max() / len(x)) if len(x) else 0.0


def _rescaled(name: str, trusted: Floats, parts: Sequence[Floats], recent: Floats, excess: float) -> ColumnFault | None:
    old, new = trusted[~np.isnan(trusted)], recent[~np.isnan(recent)]
    was, now = _spread(old), _spread(new)
    if was <= 0 or now <= 0:
        return None
    factor = now / was
    usual = [_spread(part) / was for part in parts]
    apart = float(((new < old.min()) | (new > old.max())).mean())
    # Choosing rows (a season, a region) narrows a column inside the range it had: that is no change of unit.
    far = ks(old, new) >= FAR and excess >= FAR / 2 and (factor > SCALE or (factor < 1 / SCALE and apart > APART))
    # A centred column moves little when its unit changes; its spread then tells, if no trusted stretch had the like.
    wide = factor > WIDER * max(1.0, *usual) or factor < min(1.0, *usual) / NARROWER
    if not (far or wide) or ks(old, (new - np.median(new)) / factor + np.median(old)) > FITS:
        return None
    detail = f"{name!r} has the shape it had, multiplied by about {factor:.3g}: a change of unit or scale"
    return ColumnFault(name, "rescaled", 1.0, detail)


def _spread(x: Floats) -> float:
    x = x[~np.isnan(x)]
    return float(np.subtract(*np.percentile(x, [90, 10]))) if len(x) else 0.0


def _outside(name: str, trusted: Floats, parts: Sequence[Floats], recent: Floats) -> ColumnFault | None:
    low, high = np.nanpercentile(trusted, [0.5, 99.5]) if (~np.isnan(trusted)).any() else (0.0, 0.0)

    def rise(ranges: float) -> float:
        margin = ranges * (high - low)

        def share(x: Floats) -> float:
            x = x[~np.isnan(x)]
            return float(((x < low - margin) | (x > high + margin)).mean()) if len(x) else 0.0

        return share(recent) - max(map(share, parts))

    near = rise(0.5)
    if near < NEW_NULLS:
        return None
    # The world may go half a range beyond what was seen; several ranges beyond, or -999, is a fault.
    size = max(0.4 * near, rise(3.0) if high > low else 0.0)
    return ColumnFault(
        name, "outside", min(1.0, size), f"{name!r} lies outside anything seen in {near:.0%} more of the rows"
    )


def _moved(trusted: Floats, recent: Floats, blocks: Sequence[Ints], inputs: Inputs) -> Match:
    old, new = _filled(trusted, trusted), _filled(trusted, recent)
    varies = (old.std(axis=0) > 0) | (new.std(axis=0) > 0)
    then, now = old[:: max(1, len(old) // ROWS)], new[:: max(1, len(new) // ROWS)]
    score = np.where(varies, np.maximum(inputs.excess, inputs.structure), -np.inf)
    suspects = np.flatnonzero(score > MOVED_KS)
    if len(suspects):  # a rotation also moves columns into the place of others much like them
        suspects = np.flatnonzero(varies)
    suspects = suspects[np.argsort(-score[suspects])].astype(np.int64)
    found = match_columns(then, now, suspects)
    away = found.moved
    for block in blocks[-3:] if len(away) else ():
        # A trusted stretch whose same columns pair as badly with themselves shows that the mismatch is usual.
        usual = match_columns(then, old[block], np.flatnonzero(varies).astype(np.int64))
        if usual.in_place[away].mean() >= USUAL * found.in_place[away].mean():
            return Match(np.arange(old.shape[1]), found.in_place, found.in_place)
    return found


def _filled(trusted: Floats, x: Floats) -> Floats:
    middle = np.nanmedian(np.where(np.isnan(trusted).all(axis=0), 0.0, trusted), axis=0)
    return np.where(np.isnan(x), middle, x)
