"""The shelf of container formats: which one a file's name and first bytes ask for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from assay.formats.base import Content, Format

# Built in, by the ending of the file name; imported when first asked for.
TABLE: dict[str, str] = {
    ".safetensors": "assay.formats.safetensors:Safetensors",
    ".onnx": "assay.formats.onnx:Onnx",
    ".pt": "assay.formats.torch:TorchZip",
    ".pth": "assay.formats.torch:TorchZip",
    ".bin": "assay.formats.torch:TorchZip",
    ".ckpt": "assay.formats.torch:TorchZip",
    ".h5": "assay.formats.hdf5:Hdf5",
    ".hdf5": "assay.formats.hdf5:Hdf5",
    ".keras": "assay.formats.keras:Keras",
    ".txt": "assay.formats.lightgbm:LightGbm",
    ".json": "assay.formats.xgboost:XgboostJson",
    ".ubj": "assay.formats.xgboost:XgboostUbj",
    ".gguf": "assay.formats.gguf:Gguf",
    ".npy": "assay.formats.npy:Npy",
    ".npz": "assay.formats.npz:Npz",
    ".skops": "assay.formats.skops:Skops",
}


def find(name: str, content: Content) -> Format | None:
    """The format this file must have, or None for a file without parts.

    Args:
        name: The file's name or path.
        content: Its bytes. Where an ending is used by other files too (``.json``, ``.bin``), the
            first of them decide.
    """
    ending = _ending(name)
    if ending not in TABLE:
        return None
    container = _made(TABLE[ending])
    return container if container.accepts(content) else None


def may_be(name: str) -> bool:
    """Whether a file of this name may be a container; if not, its bytes need not be looked at.

    Args:
        name: The file's name or path.
    """
    return _ending(name) in TABLE


def _ending(name: str) -> str:
    """From the last full stop of the last part on, in lower case; empty without one."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > name.rfind("/") else ""


@cache
def _made(place: str) -> Format:
    module, attribute = place.split(":")
    return cast("Format", getattr(import_module(module), attribute)())
