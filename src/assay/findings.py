"""The one answer every examiner gives: a list of findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Number = float | int | str


class Severity(StrEnum):
    """How soon a person must look."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position from 0 (``info``) to 3 (``critical``), to sort and compare by."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing an examiner saw.

    Attributes:
        rule: Stable dotted name, part of the public API: ``artifact.changed``.
        subject: The file, tensor, column or signal it is about, as the examined thing names it.
        severity: How soon a person must look.
        detail: One sentence for that person. Never a secret, never a record's values.
        numbers: What was measured, by name; units are in the names.
    """

    rule: str
    subject: str
    severity: Severity
    detail: str
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The finding as the ``--json`` output of every verb prints it."""
        return {
            "rule": self.rule,
            "subject": self.subject,
            "severity": self.severity.value,
            "detail": self.detail,
            "numbers": dict(self.numbers),
        }
