"""The table of channels: which address is whose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from assay.errors import AlertError
from assay.incidents.channels.base import Channel

TABLE: Mapping[str, str] = {
    "console": "assay.incidents.channels.console:ConsoleChannel",
    "file": "assay.incidents.channels.file:FileChannel",
}
EVERYTHING_ELSE = "assay.incidents.channels.apprise:AppriseChannel"
GROUP = "assay.channels"


def open_channel(url: str) -> Channel:
    """Open the channel of an address.

    Args:
        url: ``console://``, ``file:///folder/alerts.jsonl``, the scheme of an entry point of the
            group ``assay.channels``, or any address that apprise knows.

    Raises:
        AlertError: The address cannot be used. The text names its scheme only.
        MissingExtraError: It needs apprise, which is not installed.
    """
    name = scheme(url)
    if name in TABLE:
        return _load(TABLE[name])(url)
    for point in entry_points(group=GROUP, name=name):
        return cast("Callable[[str], Channel]", point.load())(url)
    return _load(EVERYTHING_ELSE)(url)


def scheme(url: str) -> str:
    """The part of an address that is no secret."""
    name, separator, _ = url.strip().partition(":")
    if not separator or not name.replace("+", "").replace("-", "").isalnum():
        raise AlertError("an alert address is no URL: write scheme://…, such as mailto://… or file:///…")
    return name.lower()


def digest_of(url: str) -> str:
    """What a channel is called where its address must not be: hex SHA-256 of the address."""
    return hashlib.sha256(url.strip().encode()).hexdigest()


def label_of(url: str) -> str:
    """What a person recognises a channel by: ``slack#1a2b3c4d``."""
    return f"{scheme(url)}#{digest_of(url)[:8]}"


def _load(where: str) -> Callable[[str], Channel]:
    module, _, name = where.partition(":")
    return cast("Callable[[str], Channel]", getattr(import_module(module), name))
