"""Supporting: how the answers and their confidence moved. Needs no labels."""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence


def gather(comparison: Comparison) -> Evidence:
    """Total variation of the shares of answers, and the change of mean confidence."""
    if not comparison.encoder.classified:
        return Evidence("outputs", missing=comparison.lacking)
    old = comparison.before if (comparison.before.served >= 0).sum() >= FEWEST else comparison.reference
    new = comparison.recent
    rows, recent = old.served >= 0, new.served >= 0
    if rows.sum() < FEWEST or not recent.any():
        return Evidence(
            "outputs", missing="no served outputs from trusted times: log predictions, or fill them in the reference"
        )
    k = len(comparison.classes)
    share, was = (
        np.bincount(frame.served[mask], minlength=k) / mask.sum() for frame, mask in ((new, recent), (old, rows))
    )
    moved = 0.5 * float(np.abs(share - was).sum())
    numbers = {"moved": moved}
    told = ""
    if np.isfinite(new.confidence).sum() >= FEWEST and np.isfinite(old.confidence).sum() >= FEWEST:
        now, then = float(np.nanmean(new.confidence)), float(np.nanmean(old.confidence))
        numbers["confidence"] = now - then
        told = f", mean confidence went from {then:.2f} to {now:.2f}"
    return Evidence(
        "outputs",
        value=moved,
        unit="total variation of the shares of answers",
        detail=f"the shares of answers moved by {moved:.0%}{told}.",
        numbers=numbers,
    )
