"""Every plug that can sign, by the scheme word of a key's address."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from assay.errors import KeyFileError
from assay.keys.base import Signer

PLUGS = {
    "pem": "assay.keys.pem:load_private",
}


def find(name: str) -> Callable[..., Signer]:
    """Give the function that opens a key of this kind.

    Args:
        name: A built-in plug, or the name of an entry point in group ``assay.keys``.

    Raises:
        KeyFileError: There is no such plug.
    """
    if name in PLUGS:
        module, attribute = PLUGS[name].split(":")
        return cast("Callable[..., Signer]", getattr(import_module(module), attribute))
    for point in entry_points(group="assay.keys", name=name):
        return cast("Callable[..., Signer]", point.load())
    raise KeyFileError(f"found no plug for keys of kind {name!r}; wanted one of {', '.join(sorted(PLUGS))}")
