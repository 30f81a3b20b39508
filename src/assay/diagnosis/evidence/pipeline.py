"""Evidence 5b, pipeline: columns that are missing, empty, stuck, rescaled, out of range or moved."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from assay.diagnosis.columns import ColumnFault, find_faults
from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.findings import Finding, Severity

# Some faults have hardly any lawful reason, others the world brings about too: each kind has its own weight.
KINDS = {
    "emptied": ("missing", "nulls", "retyped"),
    "stuck": ("stuck",),
    "rescaled": ("rescaled",),
    "outside": ("outside",),
}


def gather(comparison: Comparison) -> Evidence:
    """What is wrong with single columns, beyond what any trusted stretch of the same length shows."""
    trusted, recent = comparison.trusted, comparison.recent
    if len(trusted) < FEWEST:
        return Evidence(
            "pipeline", missing="no trusted rows to compare columns with: give a reference or rows from before"
        )
    inputs = comparison.inputs
    faults, match = find_faults(comparison.names, trusted.x, recent.x, comparison.blocks, inputs)
    faults = (*_retyped(comparison), *faults)
    worst = max((fault.size for fault in faults), default=0.0)
    return Evidence(
        "pipeline",
        value=worst,
        unit="worst fault of a column, 0 to 1",
        detail=_detail(faults),
        numbers={
            "fault": worst,
            "faulty_columns": float(np.log1p(len({fault.column for fault in faults}))),
            **{name: max((f.size for f in faults if f.kind in kinds), default=0.0) for name, kinds in KINDS.items()},
            "moved": float(np.log1p(sum(fault.kind == "moved" for fault in faults))),
            "structure": float(inputs.structure.max()),
            "structure_share": float((inputs.structure > np.log(1.5)).mean()),
        },
        findings=tuple(_finding(fault) for fault in faults),
        notes={
            "moved": {fault.column: fault.source for fault in faults if fault.kind == "moved"},
            "cost_in_place": round(float(match.in_place.mean()), 4),
            "cost_matched": round(float(match.matched.mean()), 4),
        },
    )


def _retyped(comparison: Comparison) -> tuple[ColumnFault, ...]:
    case = comparison.case
    known = case.before if case.before.num_rows else case.reference
    faults = []
    for name in comparison.names:
        if name not in case.recent.column_names or name not in known.column_names:
            continue
        was, now = known.schema.field(name).type, case.recent.schema.field(name).type
        if _family(was) != _family(now) and "null" not in (_family(was), _family(now)):
            faults.append(ColumnFault(name, "retyped", 1.0, f"{name!r} was {was} and is {now} now"))
    return tuple(faults)


def _family(kind: pa.DataType) -> str:
    if pa.types.is_null(kind):
        return "null"
    if pa.types.is_temporal(kind):
        return "time"
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return "number" if any(test(kind) for test in numeric) else "text"


def _finding(fault: ColumnFault) -> Finding:
    numbers: dict[str, float | int | str] = {"size": round(fault.size, 4)}
    if fault.source is not None:
        numbers["source"] = fault.source
    severity = Severity.ERROR if fault.size >= 0.5 else Severity.WARNING  # noqa: PLR2004 - half of the worst
    return Finding(f"diagnosis.column-{fault.kind}", fault.column, severity, fault.detail, numbers)


def _detail(faults: tuple[ColumnFault, ...]) -> str:
    if not faults:
        return "every column has the values, the type and the company it had."
    moved = [fault for fault in faults if fault.kind == "moved"]
    if moved:
        told = "; ".join(fault.detail for fault in moved[:8])
        return f"{len(moved)} columns moved: {told}."
    more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""  # noqa: PLR2004 - three fit a sentence
    return "; ".join(fault.detail for fault in faults[:3]) + more + "."
