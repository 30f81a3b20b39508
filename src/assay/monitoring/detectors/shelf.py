"""Which detectors there are. To add one: write one file, add one line, run ``tests/shelves``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from assay.errors import ConfigError
from assay.monitoring.detectors.base import Detector

DETECTORS = {
    "rate": "assay.monitoring.detectors.rate:Rate",
    "halfline": "assay.monitoring.detectors.halfline:HalfLine",
    "rank": "assay.monitoring.detectors.rank:Rank",
    "value": "assay.monitoring.detectors.value:Value",
    "volume": "assay.monitoring.detectors.volume:Volume",
    "learnedset": "assay.monitoring.detectors.learned:LearnedSet",
    "mean": "assay.monitoring.detectors.mean:Mean",
}
"""Name to where it is; entry points of the group ``assay.detectors`` add to it."""


@cache
def find(name: str) -> Detector:
    """The detector of this name.

    Raises:
        ConfigError: When nobody offers one.
    """
    if name in DETECTORS:
        module, _, attribute = DETECTORS[name].partition(":")
        return cast("Detector", getattr(import_module(module), attribute)())
    for point in entry_points(group="assay.detectors", name=name):
        return cast("Detector", point.load()())
    raise ConfigError(f"no detector is called {name}: there are {', '.join(sorted(DETECTORS))}")


def built_in() -> tuple[Detector, ...]:
    """All detectors of this package, in the order of the table."""
    return tuple(find(name) for name in DETECTORS)
