"""Reads the log for the desk, and does not stop where somebody damaged it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from assay.audit.entry import Logged
from assay.audit.log import AuditLog
from assay.errors import LogError
from assay.findings import Finding, Severity

BATCH = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """Some entries in order, and what is wrong with the log there.

    Attributes:
        entries: Those whose bytes are what was logged.
        findings: Entries that are gone or were edited.
        last: Position that reading goes on behind.
    """

    entries: tuple[Logged, ...]
    findings: tuple[Finding, ...]
    last: int


def batches(log: AuditLog, after: int) -> Iterator[Batch]:
    """Read everything behind a position.

    One edited entry must not silence those behind it: it becomes a finding, and reading goes on.

    Args:
        log: The log.
        after: Position of the last entry that was read; -1 for none.
    """
    end = log.size() - 1
    while after < end:
        last = min(after + BATCH, end)
        try:
            found = log.entries(after, limit=BATCH)
            damaged: list[Finding] = []
        except LogError:
            found, damaged = _one_by_one(log, after, last)
        found = [logged for logged in found if logged.position <= last]
        there = {logged.position for logged in found}
        known = {finding.subject for finding in damaged}
        gone = [
            _finding("log.entry-missing", position, f"entry {position} of the log is gone")
            for position in range(after + 1, last + 1)
            if position not in there and f"entry {position}" not in known
        ]
        yield Batch(tuple(found), (*damaged, *gone), last)
        after = last


def _one_by_one(log: AuditLog, after: int, last: int) -> tuple[list[Logged], list[Finding]]:
    found: list[Logged] = []
    damaged: list[Finding] = []
    for position in range(after + 1, last + 1):
        try:
            found += [logged for logged in log.entries(position - 1, limit=1) if logged.position == position]
        except LogError as err:
            damaged.append(_finding("log.entry-edited", position, err.message))
    unique = {finding.subject: finding for finding in damaged}
    return found, list(unique.values())


def _finding(rule: str, position: int, detail: str) -> Finding:
    return Finding(rule, f"entry {position}", Severity.CRITICAL, detail)
