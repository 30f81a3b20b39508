"""Every plug that can sign, by the scheme word of a key's address."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from assay.errors import KeyFileError
from assay.keys.base import Ask, Opened

# An address without one of these words before its first colon is the path of a PEM file.
PLUGS = {
    "pem": "assay.keys.pem:open_key",
    "pkcs11": "assay.keys.pkcs11:open_key",
    "awskms": "assay.keys.kms:open_key",
    "gcpkms": "assay.keys.kms:open_key",
    "azurekms": "assay.keys.kms:open_key",
    "hv": "assay.keys.kms:open_key",
    "hashivault": "assay.keys.kms:open_key",
    "hsm": "assay.keys.kms:open_key",
    "file2": "assay.keys.kms:open_key",
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{1,31}):")


def open_key(address: str, ask: Ask) -> Opened:
    """Open the key at an address: the path of a PEM file, or ``SCHEME:…`` of a plug.

    Args:
        address: What the person wrote after ``--key``.
        ask: Answers when a passphrase or PIN is needed, and only then.

    Raises:
        KeyFileError: There is no such key, its secret is wrong, or it is of a kind we do not sign with.
        MissingExtraError: The plug's package is not installed.
    """
    return find(kind_of(address))(address, ask)


def kind_of(address: str) -> str:
    """The name of the plug that opens an address; ``pem`` for what is no address of another."""
    found = _SCHEME.match(address)
    if found is None or Path(address).exists():
        return "pem"
    return found[1] if found[1] in PLUGS or entry_points(group="assay.keys", name=found[1]) else "pem"


def find(name: str) -> Callable[[str, Ask], Opened]:
    """Give the function that opens a key of this kind.

    Args:
        name: A built-in plug, or the name of an entry point in group ``assay.keys``.

    Raises:
        KeyFileError: There is no such plug.
    """
    if name in PLUGS:
        module, attribute = PLUGS[name].split(":")
        return cast("Callable[[str, Ask], Opened]", getattr(import_module(module), attribute))
    for point in entry_points(group="assay.keys", name=name):
        return cast("Callable[[str, Ask], Opened]", point.load())
    raise KeyFileError(f"found no plug for keys of kind {name!r}; wanted one of {', '.join(sorted(PLUGS))}")
