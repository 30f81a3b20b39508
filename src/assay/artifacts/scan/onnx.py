"""ONNX models: data outside the file, and operators that only somebody's library knows.

Source: onnx.proto of github.com/onnx/onnx (field numbers below). Tensor data is stepped over, not read.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.artifacts.scan.source import Held, Window
from assay.artifacts.scan.trouble import Inside, Trouble
from assay.findings import Severity
from assay.formats.base import Content

MAX_DEPTH = 32  # of graphs in nodes in graphs
MAX_FIELDS = 2_000_000
MAX_TEXT_BYTES = 4096
# What ONNX itself and ONNX Runtime define without a library of anybody else's.
DOMAINS = frozenset(
    """
    ai.onnx ai.onnx.ml ai.onnx.training ai.onnx.preview ai.onnx.preview.training com.microsoft
    com.microsoft.nchwc com.microsoft.dml com.microsoft.experimental com.ms.internal.nhwc org.pytorch.aten
    """.split()  # noqa: SIM905 - a list for people to read
) | {""}
RUNS_PYTHON = frozenset({"PyOp", "PythonOp"})  # onnxruntime-extensions, onnxruntime-training

# Message: field number -> message below it, for the fields that are followed.
_BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function", 8: "opset"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_TEXTS: dict[str, dict[int, str]] = {
    "node": {4: "op_type", 7: "domain"},
    "function": {1: "name", 10: "domain"},
    "entry": {1: "key", 2: "value"},
}


@dataclass(slots=True)
class _Seen:
    fields: int = 0
    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[tuple[str, str]] = field(default_factory=set)
    locations: set[str] = field(default_factory=set)
    cut: bool = False


def looks_like_onnx(head: bytes) -> bool:
    """Whether it begins as ONNX models do: the IR version, a small number (ModelProto, field 1)."""
    return len(head) > 4 and head[0] == 0x08 and 1 <= head[1] <= 30 and head[2] in {0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A}  # noqa: PLR2004


def inside_onnx(content: Content) -> Inside:
    """What a model reaches for outside its own file."""
    seen = _Seen()
    _message(Window(Held(content), 0, content.size), "model", seen, 0)
    inside = Inside()
    for place in sorted(seen.locations):
        if _escapes(place):
            detail = f"it reads tensor data from {place[:200]!a}, outside the model's folder"
            inside.troubles.append(Trouble("scan.path-escape", Severity.ERROR, detail))
    strange = sorted(
        one for one in seen.operators if (one[0] not in DOMAINS and one not in seen.functions) or one[1] in RUNS_PYTHON
    )
    for domain, operator in strange[:20]:
        python = operator in RUNS_PYTHON
        detail = f"it needs the operator {operator[:80]!a} of {domain[:80]!a}, " + (
            "which runs Python" if python else "which only somebody's own library knows"
        )
        severity = Severity.CRITICAL if python else Severity.WARNING
        inside.troubles.append(Trouble("scan.custom-operator", severity, detail))
    if seen.cut:
        inside.troubles.append(Trouble("scan.incomplete", Severity.ERROR, "its graph is larger than is followed"))
    return inside


def _escapes(place: str) -> bool:
    flat = posixpath.normpath(place.replace("\\", "/"))
    return flat.startswith(("/", "../")) or flat == ".." or ":" in flat[:3] or "\0" in place


def _message(window: Window, kind: str, seen: _Seen, depth: int) -> None:
    below, texts = _BELOW.get(kind, {}), _TEXTS.get(kind, {})
    words: dict[str, str] = {}
    for number, start, length in _fields(window, seen):
        if number in texts:
            words[texts[number]] = window.read(start, min(length, MAX_TEXT_BYTES)).decode("utf-8", "replace")
        elif number in below:
            if depth >= MAX_DEPTH:
                seen.cut = True
            else:
                _message(Window(window.content, window.start + start, length), below[number], seen, depth + 1)
    if kind == "node":
        seen.operators.add((words.get("domain", ""), words.get("op_type", "")))
    elif kind == "function":
        seen.functions.add((words.get("domain", ""), words.get("name", "")))
    elif kind == "entry" and words.get("key") == "location":
        seen.locations.add(words.get("value", ""))


def _fields(window: Window, seen: _Seen) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that have a length: number, start, length."""
    at = 0
    while at < window.size:
        seen.fields += 1
        if seen.fields > MAX_FIELDS:
            seen.cut = True
            return
        head = window.read(at, 20)
        tag, used = _varint(head, 0)
        if used < 0 or not tag:
            return
        kind = tag & 7
        if kind == 2:  # noqa: PLR2004 - wire type LEN
            length, used = _varint(head, used)
            if used < 0 or length > window.size - at - used:
                return
            yield tag >> 3, at + used, length
            at += used + length
        elif kind == 0:
            _, used = _varint(head, used)
            if used < 0:
                return
            at += used
        elif kind in {1, 5}:
            at += used + (8 if kind == 1 else 4)
        else:
            return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends, -1 where there is none (Protocol Buffers encoding)."""
    value = 0
    for index in range(10):
        if at + index >= len(data):
            return 0, -1
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004
            return value, at + index + 1
    return 0, -1
