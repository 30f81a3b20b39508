"""The shelf of container formats: which one a file's name asks for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from assay.formats.base import Format

# Built in, by the ending of the file name; imported when first asked for.
TABLE: dict[str, str] = {
    ".safetensors": "assay.formats.safetensors:Safetensors",
    ".npz": "assay.formats.npz:Npz",
    ".skops": "assay.formats.skops:Skops",
}


def find(name: str) -> Format | None:
    """The format a file of this name must have, or None for a file without parts.

    Args:
        name: The file's name or path.
    """
    base = name.rpartition("/")[2].lower()
    ending = base[base.rfind(".") :] if "." in base else ""
    if ending not in TABLE:
        return None
    module, attribute = TABLE[ending].split(":")
    return cast("Format", getattr(import_module(module), attribute)())
