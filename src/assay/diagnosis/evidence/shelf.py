"""The table of the shelf: every piece of evidence by name, in order of force, imported when gathered."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from assay.diagnosis.evidence.base import Gatherer

EVIDENCE: dict[str, str] = {
    "bytes": "assay.diagnosis.evidence.bytes:gather",
    "replay": "assay.diagnosis.evidence.replay:gather",
    "surrogate": "assay.diagnosis.evidence.surrogate:gather",
    "mimic": "assay.diagnosis.evidence.mimic:gather",
    "stamp": "assay.diagnosis.evidence.stamp:gather",
    "trigger": "assay.diagnosis.evidence.trigger:gather",
    "inputs": "assay.diagnosis.evidence.inputs:gather",
    "pipeline": "assay.diagnosis.evidence.pipeline:gather",
    "labels": "assay.diagnosis.evidence.labels:gather",
    "concept": "assay.diagnosis.evidence.concept:gather",
    "uniformity": "assay.diagnosis.evidence.uniformity:gather",
    "retraining": "assay.diagnosis.evidence.concept:gather_retraining",
    "onset": "assay.diagnosis.evidence.onset:gather",
    "outputs": "assay.diagnosis.evidence.outputs:gather",
}

CAN_SHOW: dict[str, frozenset[str]] = {
    "bytes": frozenset({"model-tampering", "unrecorded-deployment"}),
    "replay": frozenset({"model-tampering", "unrecorded-deployment"}),
    "surrogate": frozenset({"model-tampering", "backdoor", "concept-drift"}),
    "mimic": frozenset({"model-tampering", "backdoor"}),
    "stamp": frozenset({"backdoor"}),
    "trigger": frozenset({"backdoor"}),
    "inputs": frozenset({"covariate-drift", "data-fault"}),
    "pipeline": frozenset({"data-fault"}),
    "labels": frozenset({"concept-drift", "data-fault"}),
    "concept": frozenset({"intact", "concept-drift", "covariate-drift"}),
    "uniformity": frozenset(),
    "retraining": frozenset({"concept-drift"}),
    "onset": frozenset(),
    "outputs": frozenset({"covariate-drift", "model-tampering", "backdoor"}),
}
"""What a person may be told that each speaks for, by what it looks at.

Where causes compete, a measure also raises those that it only does not speak against (a broken column that of a
backdoor): that is weighed, and not said."""


def gatherers() -> Iterator[tuple[str, Gatherer]]:
    """Every plug: the built-in ones in order of force, then those of other packages (group ``assay.evidence``)."""
    for name, where in EVIDENCE.items():
        module, attribute = where.split(":")
        yield name, cast("Gatherer", getattr(import_module(module), attribute))
    for entry in entry_points(group="assay.evidence"):
        if entry.name not in EVIDENCE:
            yield entry.name, cast("Gatherer", entry.load())
