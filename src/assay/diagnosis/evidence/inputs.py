"""Evidence 5a, inputs: can recent rows be told from trusted rows, and by what."""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.learners import Floats, Ints, auc, out_of_fold_share
from assay.findings import Finding, Severity

USUAL_ROWS = 500
NEIGHBOURS = 700
SHOWN = 5
MOVED = 0.1


def gather(comparison: Comparison) -> Evidence:
    """How far the inputs moved, beyond what trusted stretches of the same length do."""
    trusted = comparison.trusted
    if len(trusted) < FEWEST:
        return Evidence(
            "inputs", missing="no trusted rows to compare inputs with: give a reference or rows from before"
        )
    _, _, old, new = comparison.domain
    told_apart = auc(np.concatenate([old, new]), np.arange(len(old) + len(new)) >= len(old))
    usual = max(0.5, _usual(comparison))
    columns = comparison.inputs
    novel = _novel(comparison)
    order = [int(j) for j in np.argsort(-columns.excess) if columns.excess[j] > MOVED][:SHOWN]
    # Standard error of an AUC between like samples (Mann-Whitney): what small windows do by chance.
    error = float(np.sqrt((len(old) + len(new) + 1) / (12 * len(old) * len(new))))
    what = ", ".join(repr(comparison.names[j]) for j in order)
    return Evidence(
        "inputs",
        value=told_apart,
        low=max(0.0, told_apart - 1.96 * error),
        high=min(1.0, told_apart + 1.96 * error),
        unit="chance that a recent row looks more recent than a trusted one",
        detail=(
            f"recent rows are told from trusted ones with AUC {told_apart:.2f} "
            f"(usual for such a stretch: up to {usual:.2f})" + (f"; most moved: {what}." if what else ".")
        ),
        numbers={
            "told_apart": max(0.0, told_apart - 0.5 - error),
            "unusual": told_apart - usual,
            "novel": novel,
            "largest_move": float(columns.excess.max()),
            "moved_share": float((columns.excess > MOVED).mean()),
        },
        findings=tuple(
            Finding(
                "diagnosis.column-drifted",
                comparison.names[j],
                Severity.INFO,
                f"the distribution of {comparison.names[j]!r} moved by {columns.drift[j]:.2f} "
                "(Kolmogorov-Smirnov distance), "
                f"{columns.excess[j]:.2f} more than in any trusted stretch as long",
                {"distance": round(float(columns.drift[j]), 4), "excess": round(float(columns.excess[j]), 4)},
            )
            for j in order
        ),
    )


def _usual(comparison: Comparison) -> float:
    trusted, blocks = comparison.trusted, comparison.blocks
    values = [0.5]
    for block in blocks[:: max(1, len(blocks) // 3)][:3]:
        inside = np.zeros(len(trusted), dtype=bool)
        inside[block] = True
        rows = np.sort(np.concatenate([_some(np.flatnonzero(inside)), _some(np.flatnonzero(~inside))]))
        share = out_of_fold_share(trusted.filled[rows], inside[rows], seed=comparison.seed, k=2, trees=25)
        values.append(auc(share, inside[rows]))
    return max(values)


def _some(rows: Ints) -> Ints:
    return rows[:: max(1, len(rows) // USUAL_ROWS)]


def _novel(comparison: Comparison) -> float:
    """Share of recent rows farther from every trusted row than 95 % of trusted rows are from the others, less 5 %."""
    old = comparison.sample(comparison.trusted, NEIGHBOURS).filled
    new = comparison.sample(comparison.recent, NEIGHBOURS).filled
    spread = np.subtract(*np.percentile(old, [95, 5], axis=0))
    keep = spread > 0
    if not keep.any():
        return 0.0
    old, new = (np.clip((x[:, keep] - np.median(old[:, keep], axis=0)) / spread[keep], -3, 3) for x in (old, new))
    own = _nearest(old, old, skip=1)
    return float((_nearest(new, old, skip=0) > np.percentile(own, 95)).mean() - 0.05)


def _nearest(x: Floats, among: Floats, *, skip: int) -> Floats:
    square = (x**2).sum(axis=1)[:, None] + (among**2).sum(axis=1)[None, :] - 2 * x @ among.T
    return np.asarray(np.sqrt(np.maximum(np.partition(square, skip, axis=1)[:, skip], 0.0)), dtype=np.float64)
