"""GGUF: the chat templates in its metadata. Source: docs/gguf.md of github.com/ggml-org/ggml."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from assay.artifacts.scan.templates import MAX_TEMPLATE, template_troubles
from assay.artifacts.scan.trouble import Inside, Trouble
from assay.errors import FormatError
from assay.findings import Severity
from assay.formats.base import Content
from assay.formats.reading import Window

MAX_METADATA_BYTES = 64 * 1024 * 1024  # a vocabulary of 300,000 tokens has about 10 MB
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_MAX_DEPTH = 8


def inside_gguf(content: Content) -> Inside:
    """Every template of the metadata, judged."""
    inside = Inside()
    try:
        for key, text in _texts(Window(content, MAX_METADATA_BYTES)):
            if "template" in key and ("{{" in text or "{%" in text):
                inside.troubles += template_troubles(text, f"key {key[:100]}")
    except (FormatError, UnicodeDecodeError) as err:
        detail = f"its metadata cannot be read to the end ({err}), so templates may have been missed"
        inside.troubles.append(Trouble("scan.incomplete", Severity.ERROR, detail))
    return inside


def _texts(window: Window) -> Iterator[tuple[str, str]]:
    window.skip(4)
    version, _, keys = struct.unpack("<IQQ", window.take(20))
    if version not in {2, 3}:
        raise FormatError(f"version {version} is not read here")
    for _ in range(keys):
        key = _string(window)
        (kind,) = struct.unpack("<I", window.take(4))
        if kind == _STRING:
            yield key, _string(window)
        else:
            _skip(window, kind, 0)


def _string(window: Window) -> str:
    (length,) = struct.unpack("<Q", window.take(8))
    text = window.take(min(length, 2 * MAX_TEMPLATE)).decode("utf-8", "replace")
    window.skip(length - min(length, 2 * MAX_TEMPLATE))
    return text


def _skip(window: Window, kind: int, depth: int) -> None:
    if kind in _SIZES:
        window.skip(_SIZES[kind])
    elif kind == _STRING:
        (length,) = struct.unpack("<Q", window.take(8))
        window.skip(length)
    elif kind == _ARRAY and depth < _MAX_DEPTH:
        inner, count = struct.unpack("<IQ", window.take(12))
        if inner in _SIZES:
            window.skip(count * _SIZES[inner])
            return
        for _ in range(count):
            _skip(window, inner, depth + 1)
    else:
        raise FormatError(f"a value has type {kind}")
