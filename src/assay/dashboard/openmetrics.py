"""Numbers of a project as OpenMetrics text, for Prometheus and for files that a node exporter collects.

References:
    OpenMetrics 1.0, https://prometheus.io/docs/specs/om/open_metrics_spec/. All are gauges, without timestamps, so that
    the text is also valid in the older format of Prometheus (0.0.4), which takes lines with ``#`` that it does not
    know for comments.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from assay.errors import StorageError
from assay.project.metrics import Family

OPEN: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"


def text(families: Iterable[Family]) -> str:
    """The whole exposition, with its end."""
    lines: list[str] = []
    for family in families:
        name = "_".join([family.name.replace(".", "_"), *([family.unit] if family.unit else [])])
        lines.append(f"# TYPE {name} gauge")
        if family.unit:
            lines.append(f"# UNIT {name} {family.unit}")
        lines.append(f"# HELP {name} {_escaped(family.says, quotes=False)}")
        for labels, value in family.samples:
            said = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
            lines.append(f"{name}{{{said}}} {_number(value)}" if said else f"{name} {_number(value)}")
    return "\n".join([*lines, "# EOF"]) + "\n"


def write(path: Path, families: Iterable[Family]) -> None:
    """Write it as a file that is never seen half written, readable by the collector.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
            draft.write(text(families))
        Path(draft.name).chmod(0o644)
        os.replace(draft.name, path)  # noqa: PTH105 - beside the line that made the name
    except OSError as err:
        raise StorageError(f"{path} cannot be written: {err.strerror or err}") from err


def content_type(accept: str) -> str:
    """Which of the two formats was asked for."""
    return OPEN if "application/openmetrics-text" in accept else PLAIN


def _escaped(word: str, *, quotes: bool = True) -> str:
    word = word.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", " ")
    return word.replace('"', '\\"') if quotes else word


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))  # noqa: PLR2004 - exact
