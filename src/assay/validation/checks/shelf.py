"""The shelf of checks: from the kind of a check to its class."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from assay.errors import SuiteError
from assay.validation.checks.base import Check

# Built in; a check is imported when it is asked for.
TABLE: dict[str, str] = {
    "directional": "assay.validation.checks.perturbation:Directional",
    "edge": "assay.validation.checks.edge:EdgeCases",
    "fairness": "assay.validation.checks.fairness:Fairness",
    "golden": "assay.validation.checks.regression:Golden",
    "mean-error": "assay.validation.checks.regression:MeanError",
    "metric": "assay.validation.checks.regression:Metric",
    "perturbation": "assay.validation.checks.perturbation:Perturbation",
}


def find(kind: str) -> type[Check]:
    """The class of this kind.

    Args:
        kind: One of the table, or the name of an entry point in the group ``assay.checks``.

    Raises:
        SuiteError: There is none.
    """
    if kind in TABLE:
        module, attribute = TABLE[kind].split(":")
        return cast("type[Check]", getattr(import_module(module), attribute))
    from importlib.metadata import entry_points

    for point in entry_points(group="assay.checks", name=kind):
        return cast("type[Check]", point.load())
    raise SuiteError(f"no check {kind!a}; there are {', '.join(sorted(TABLE))}")
