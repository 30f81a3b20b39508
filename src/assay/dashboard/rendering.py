"""Templates of pages and files: everything is escaped, times are written for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from jinja2 import ChainableUndefined, Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape


def environment(clock: Callable[[], datetime]) -> Environment:
    """The templates, with the present that ages are told from."""
    made = Environment(
        loader=PackageLoader("assay.dashboard"),
        autoescape=select_autoescape(default=True),
        undefined=ChainableUndefined,  # a check's body has what its kind has
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["moment"] = lambda time: f"{time:%Y-%m-%d %H:%M} UTC" if time else "never"
    made.filters["day"] = lambda time: f"{time:%Y-%m-%d}" if time else "never"
    made.filters["commands"] = commands
    made.filters["age"] = lambda time: _age(time, clock())
    return made


def commands(sentence: object) -> Markup:
    """A sentence with what stands between backquotes, commands to type, set as such; all else is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 - escaped just before


def _age(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "never"
    seconds = (now - time).total_seconds()
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        count = round(seconds / size)
        if seconds >= size:
            return f"{count} {word}{'' if count == 1 else 's'} ago"
    return "just now"
