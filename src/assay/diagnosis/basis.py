"""What a verdict was computed from, as digests: the log entry of a verdict holds them. Pure."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa

from assay.diagnosis.case import Case, window_digest
from assay.diagnosis.frames import times
from assay.diagnosis.weights import Weights
from assay.storage.clock import utc_text


def basis_of(case: Case, weights: Weights, *, baseline: str) -> dict[str, object]:
    """The digests of everything a diagnosis looks at; the same ones give the same verdict.

    Args:
        case: What the diagnosis was made from.
        weights: With which coefficients.
        baseline: Digest of the baseline in force.
    """
    coefficients = json.dumps(weights.to_json(), sort_keys=True, separators=(",", ":"))
    facts = case.bytes
    return {
        "recent": _rows(case, case.recent),
        "before": _rows(case, case.before),
        "reference": _rows(case, case.reference),
        "known_good": facts.recorded_root if case.known_good is not None else None,
        "copies": sorted(case.copies),
        "bytes": {
            "recorded": facts.recorded_root,
            "live": facts.live_root,
            "signed": facts.live_signed,
            "refused": facts.refused,
            "served": list(facts.served_roots),
        },
        "deployments": [[one.root, utc_text(one.since)] for one in case.deployments],
        "baseline": baseline,
        "weights": hashlib.sha256(coefficients.encode()).hexdigest(),
    }


def _rows(case: Case, table: pa.Table) -> dict[str, object]:
    """Digest, number and time of some rows."""
    said: dict[str, object] = {"sha256": window_digest(table), "rows": table.num_rows}
    if table.num_rows and case.schema.time in table.column_names:
        at = times(table, case.schema.time)
        said |= {"first_s": float(at.min()), "last_s": float(at.max())}
    return said
