"""TensorFlow SavedModel: operators that run Python or touch files. Source: node_def.proto (op is field 2)."""

from __future__ import annotations

import re

from assay.artifacts.scan.trouble import Inside, Trouble
from assay.findings import Severity
from assay.formats.base import Content

READ_BYTES = 64 * 1024 * 1024
PYTHON = (b"PyFunc", b"PyFuncStateless", b"EagerPyFunc")
FILES = (b"ReadFile", b"WriteFile", b"MatchingFiles", b"WholeFileReaderV2", b"DebugIdentityV3", b"ImmutableConst")


def _pattern(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    # Field 2 of a NodeDef, its length, its letters.
    return re.compile(b"|".join(b"\\x12" + re.escape(bytes([len(name)])) + name for name in names))


_PYTHON, _FILES = _pattern(PYTHON), _pattern(FILES)


def inside_saved_model(content: Content) -> Inside:
    """Which operators of a SavedModel's graph reach out of it."""
    inside = Inside()
    data = content.read(0, READ_BYTES)
    for pattern, severity, words in (
        (_PYTHON, Severity.CRITICAL, "runs Python"),
        (_FILES, Severity.WARNING, "reads or writes files"),
    ):
        for name in sorted({match[0][2:].decode("ascii") for match in pattern.finditer(data)}):
            detail = f"it has the operator {name}, which {words}"
            inside.troubles.append(Trouble("scan.custom-operator", severity, detail))
    if content.size > READ_BYTES:
        detail = f"its graph is longer than the {READ_BYTES} bytes that are read"
        inside.troubles.append(Trouble("scan.incomplete", Severity.ERROR, detail))
    return inside
