"""JSON beside and inside models: what it makes a loader import, run or fetch."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping

from assay.artifacts.scan.templates import template_troubles
from assay.artifacts.scan.trouble import Inside, Trouble
from assay.findings import Severity
from assay.formats.base import Content

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_NODES = 1_000_000
MAX_REMOTE = 20
_TEMPLATES = frozenset({"chat_template", "prompt_template", "template"})
# Keras 3 imports what "module" says, and calls it (CVE-2025-1550 and later).
_KERAS = re.compile(
    r"(?:tf_)?keras(?:\.src)?(?:\.(?:layers|initializers|optimizers|losses|metrics|regularizers|constraints|models"
    r"|activations|ops|dtype_policies|random|engine|backend)(?:\.[a-z0-9_]+)*)?\Z"
)
_KERAS_FUNCTIONS = frozenset({"builtins"})  # with "class_name": "function": looked up among Keras' own by name
_LAMBDA = frozenset({"Lambda", "__lambda__"})
_MARSHALLED = re.compile(r"[A-Za-z0-9+/=\s]{16,}\Z")
# What a marshalled code object begins with: the type letter, with or without the reference flag.
_CODE = (b"c", b"\xe3")


def read_json(content: Content) -> object | None:
    """The JSON a file holds, None when it holds none."""
    try:
        found: object = json.loads(content.read(0, content.size))
    except (ValueError, RecursionError):
        return None
    return found


def inside_json(value: object) -> Inside:
    """What some JSON names, wherever in it."""
    inside = Inside()
    seen = 0
    stack: list[object] = [value]
    while stack:
        one = stack.pop()
        seen += 1
        if seen > MAX_NODES:
            detail = f"it has more than {MAX_NODES} values, of which the rest was not looked at"
            inside.troubles.append(Trouble("scan.incomplete", Severity.ERROR, detail))
            break
        if isinstance(one, dict):
            stack += one.values()
            _look(one, inside)
        elif isinstance(one, list):
            stack += one
    return inside


def _look(one: Mapping[str, object], inside: Inside) -> None:
    inside.troubles += _keras(one, inside)
    inside.troubles += _remote(one)
    for key in _TEMPLATES.intersection(one):
        text = one[key]
        if isinstance(text, str) and ("{{" in text or "{%" in text):
            inside.troubles += template_troubles(text, f"key {key}")
    module, name = one.get("__module__"), one.get("__class__")
    if isinstance(module, str) and isinstance(name, str) and "__loader__" in one:  # skops
        inside.names.append((module, name))


def _keras(one: Mapping[str, object], inside: Inside) -> Iterator[Trouble]:
    name, module = one.get("class_name"), one.get("module")
    if not isinstance(name, str) or "config" not in one:
        return
    if name in _LAMBDA or (isinstance(module, str) and name.endswith("Lambda")):
        code = "that holds compiled code" if _holds_code(one.get("config")) else "that names a function"
        yield Trouble("scan.keras-lambda", Severity.CRITICAL, f"it has a Keras layer {name} {code}")
    if name == "TorchModuleWrapper":
        yield Trouble("scan.keras-lambda", Severity.CRITICAL, "it has a Keras layer that unpickles a torch module")
    if not isinstance(module, str) or (module in _KERAS_FUNCTIONS and name == "function"):
        return
    # A function is named by its config, a class by its name.
    called = one["config"] if name == "function" and isinstance(one["config"], str) else name
    if not _KERAS.match(module):
        inside.names.append((module, called))


def _holds_code(config: object, depth: int = 0) -> bool:
    if isinstance(config, str) and _MARSHALLED.match(config):
        try:
            return base64.b64decode(config).startswith(_CODE)
        except (binascii.Error, ValueError):
            return False
    if depth < 4:  # noqa: PLR2004 - a lambda's code lies at most so deep
        inner = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
        return any(_holds_code(one, depth + 1) for one in inner)
    return False


def _remote(one: Mapping[str, object]) -> Iterator[Trouble]:
    """Code that ``transformers`` and ``diffusers`` run with trust_remote_code."""
    for key in ("auto_map", "custom_pipelines"):
        table = one.get(key)
        if not isinstance(table, dict):
            continue
        names = [text for value in table.values() for text in _strings(value)][:MAX_REMOTE]
        for text in names:
            elsewhere = "--" in text
            where = "of another repository" if elsewhere else "beside the model"
            yield Trouble(
                "scan.remote-code",
                Severity.ERROR if elsewhere else Severity.WARNING,
                f"its {key} names {text[:120]!a} {where}: that is run where trust_remote_code is set",
            )
    if one.get("trust_remote_code") is True:
        yield Trouble("scan.remote-code", Severity.WARNING, "it sets trust_remote_code")


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    return [text for text in inner if isinstance(text, str)]


_OBJECT = re.compile(rb'\{\s*"(?:class_name|config|module|registered_name|name|build_config)"\s*:')
_WINDOW_BYTES = 16 * 1024 * 1024
MAX_DECODED_BYTES = 128 * 1024 * 1024


def inside_hdf5(content: Content) -> Inside:
    """Keras configurations in an HDF5 file: attributes are texts that lie there in one piece, unpacked.

    The library that reads HDF5 is not asked: it would take hostile bytes, and is not always there.
    """
    inside = Inside()
    size = content.size
    spans = [(0, _WINDOW_BYTES)] if size <= _WINDOW_BYTES else [(0, _WINDOW_BYTES), (size - _WINDOW_BYTES, size)]
    left = MAX_DECODED_BYTES
    for start, end in spans:
        text = content.read(start, min(end, size) - start)
        at = 0
        while (found := _OBJECT.search(text, at)) is not None:
            stop = text.find(b"\0", found.end())
            piece = text[found.start() : stop if stop >= 0 else len(text)]
            left -= len(piece)
            if left < 0:
                detail = "it holds more texts that look like configurations than are read"
                inside.troubles.append(Trouble("scan.incomplete", Severity.ERROR, detail))
                return inside
            length = _decode(piece, inside)
            at = found.start() + length if length else found.end()
    return inside


def _decode(piece: bytes, inside: Inside) -> int:
    """Look into the JSON that a text begins with; its length in bytes, 0 when it begins with none."""
    letters = piece.decode("utf-8", "replace")
    try:
        value, length = json.JSONDecoder().raw_decode(letters)
    except (ValueError, RecursionError):
        return 0
    below = inside_json(value)
    inside.troubles += below.troubles
    inside.names += below.names
    return len(letters[:length].encode("utf-8"))
