"""What a reader of one container saw: troubles, and what lies inside to be looked at next. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.findings import Number, Severity
from assay.formats.base import Content


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something a person should know of; the examiner says in which file.

    Attributes:
        rule: Stable dotted name: ``scan.zip-confusion``.
        severity: How soon a person must look.
        detail: One sentence without the file's name.
        numbers: What was measured.
    """

    rule: str
    severity: Severity
    detail: str
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inner:
    """Something that lies in a container.

    Attributes:
        name: As the container calls it; empty for what only wraps.
        content: Its bytes.
        raw: Whether it is known to be numbers only, so that its start is looked at and no more.
    """

    name: str
    content: Content
    raw: bool = False


@dataclass(slots=True)
class Inside:
    """What a container holds.

    Attributes:
        inners: To be looked at.
        troubles: Seen on the way.
        names: Globals that it names outside pickles, as (module, name).
    """

    inners: list[Inner] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
