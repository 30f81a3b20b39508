"""Tell what was done to a log from its rows and its signed checkpoints. Pure: values in, findings out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from assay.audit.checkpoint import Checkpoint, NoteVerifier
from assay.audit.merkle import Node, cover, fold, node_hash
from assay.errors import VerificationError
from assay.findings import Finding, Severity

MOST = 20
"""Findings given of each rule; the rest is counted in one more."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A checkpoint note somewhere.

    Attributes:
        where: File, or ``the database``.
        note: The text found there.
        size: What the database files it under; None outside.
    """

    where: str
    note: str
    size: int | None


@dataclass(slots=True)
class Stored:
    """What the database holds, as it was read.

    Attributes:
        leaves: Position to leaf hash, recomputed from the entry's bytes.
        nodes: Stored hashes.
        checkpoints: Stored notes.
        misfiled: Position to what does not fit between an entry's bytes and its columns.
        damage: What the database says about its own file.
    """

    leaves: dict[int, bytes] = field(default_factory=dict)
    nodes: dict[Node, bytes] = field(default_factory=dict)
    checkpoints: list[Copy] = field(default_factory=list)
    misfiled: dict[int, str] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)

    def file(self, position: int, body: bytes, columns: Sequence[object]) -> None:
        """Compare an entry's kind, subject and time columns with its bytes; readers select by the columns."""
        try:
            said = json.loads(body)
            names = [said["kind"], said["subject"], said["time"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            self.misfiled[position] = "its bytes are not an entry"
            return
        for name, column, value in zip(("kind", "subject", "time"), columns, names, strict=True):
            if column != value:
                self.misfiled[position] = f"it is filed under another {name} than its bytes say"


@dataclass(frozen=True, slots=True)
class Examined:
    """What the rows and notes show.

    Attributes:
        size: Entries in the database.
        root: Recomputed root.
        witnessed: Size of the newest valid checkpoint outside; 0 without one.
        findings: Every reason.
    """

    size: int
    root: bytes
    witnessed: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Signed:
    where: str
    checkpoint: Checkpoint
    outside: bool


class _Tree:
    """The tree over the recomputed leaves; a missing entry counts with its stored hash, if there is one."""

    def __init__(self, stored: Stored) -> None:
        self.size = max(stored.leaves, default=-1) + 1
        level = [stored.leaves.get(place) or stored.nodes.get((0, place), b"") for place in range(self.size)]
        self._levels = [level]
        while len(level) > 1:
            level = [node_hash(level[place], level[place + 1]) for place in range(0, len(level) - 1, 2)]
            self._levels.append(level)

    def root(self, size: int) -> bytes:
        return fold([self._levels[level][place] for level, place in cover(0, size)])


def _without_strays(stored: Stored) -> tuple[Stored, list[Finding]]:
    """Set aside rows at places that no log of this many rows has: one row at 2**40 must not cost 2**40 steps."""
    most = len(stored.leaves) + sum(level == 0 for level, _ in stored.nodes)
    findings = [
        _entry("log.inserted", position, "was put in at a position that the log never reached")
        for position in stored.leaves
        if not 0 <= position < most
    ]
    nodes: dict[Node, bytes] = {}
    for (level, place), digest in stored.nodes.items():
        if 0 <= level < most.bit_length() and 0 <= place < most >> level:
            nodes[level, place] = digest
        else:
            detail = f"the stored hash of level {level}, place {place} is of no entries"
            findings.append(Finding("log.node-edited", "log", Severity.ERROR, detail))
    leaves = {position: leaf for position, leaf in stored.leaves.items() if 0 <= position < most}
    return replace(stored, leaves=leaves, nodes=nodes), findings


def examine(stored: Stored, copies: Sequence[Copy], verifier: NoteVerifier) -> Examined:
    """Compare the entries with the stored hashes, the stored checkpoints and the copies outside.

    Args:
        stored: What the database holds.
        copies: Checkpoints kept outside it.
        verifier: The log's public key, remembered apart from the database.
    """
    findings = [
        Finding("log.unreadable", "log", Severity.CRITICAL, f"the database file is damaged: {said}")
        for said in stored.damage
    ]
    rows = len(stored.leaves)
    stored, strays = _without_strays(stored)
    findings += strays
    tree = _Tree(stored)
    signed, forged = _signatures(stored.checkpoints, copies, verifier)
    findings += _leaves(stored, tree.size)
    findings += _misfiled(stored)
    findings += _nodes(stored, tree.size)
    findings += forged
    findings += _roots(tree, signed)
    findings += _cut(tree.size, signed)
    findings += _histories(signed)
    witnessed = max((each.checkpoint.size for each in signed if each.outside), default=0)
    findings += _witnesses(tree.size, witnessed)
    findings += _late(signed)
    return Examined(rows, tree.root(tree.size), witnessed, tuple(_bounded(findings)))


def _entry(rule: str, position: int, detail: str, severity: Severity = Severity.CRITICAL) -> Finding:
    return Finding(rule, f"entry {position}", severity, f"entry {position} {detail}", {"position": position})


def _span(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def _leaves(stored: Stored, size: int) -> list[Finding]:
    """What happened to single entries, told from the leaf hashes stored when they were appended."""
    wanted = {place: digest for (level, place), digest in stored.nodes.items() if level == 0}
    there, known = Counter(stored.leaves.values()), Counter(wanted.values())
    lost, alien = known - there, there - known
    findings: list[Finding] = []
    moved: list[int] = []
    for position in range(max(size, max(wanted, default=-1) + 1)):
        have, want = stored.leaves.get(position), wanted.get(position)
        if have == want:
            if have is None:
                findings.append(_entry("log.deleted", position, "is missing, and so is its stored hash"))
            continue
        gone, new = want in lost, have in alien
        if gone and new:
            findings.append(_entry("log.edited", position, "has other bytes than were logged"))
        elif gone:
            findings.append(_entry("log.deleted", position, "was deleted: its hash is stored, its bytes are nowhere"))
        elif new:
            findings.append(_entry("log.inserted", position, "was put in: its bytes were never logged"))
        else:
            moved.append(position)
    if moved:
        detail = f"re-ordered or renumbered: {_span(moved[0], moved[-1])} ({len(moved)} out of place)"
        numbers = {"position": moved[0], "last": moved[-1], "count": len(moved)}
        findings.append(Finding("log.reordered", _span(moved[0], moved[-1]), Severity.CRITICAL, detail, numbers))
    return findings


def _misfiled(stored: Stored) -> list[Finding]:
    return [_entry("log.edited", position, f"was changed: {why}") for position, why in stored.misfiled.items()]


def _nodes(stored: Stored, size: int) -> list[Finding]:
    """Stored hashes that do not follow from the two below: proofs made from them would not verify."""
    findings: list[Finding] = []
    expected = {(level, place) for level in range(size.bit_length()) for place in range(size >> level)}
    # A stored leaf without an entry, or the other way round, is the entry's finding.
    for level, place in sorted(node for node in expected ^ stored.nodes.keys() if node[0]):
        findings.append(_node(level, place, "is missing" if (level, place) in expected else "is of no entries"))
    for (level, place), digest in stored.nodes.items():
        left, right = stored.nodes.get((level - 1, 2 * place)), stored.nodes.get((level - 1, 2 * place + 1))
        if level and left and right and node_hash(left, right) != digest:
            findings.append(_node(level, place, "does not follow from the hashes below it"))
    return findings


def _node(level: int, place: int, what: str) -> Finding:
    first, last = place << level, ((place + 1) << level) - 1
    detail = f"the stored hash over {_span(first, last)} {what}"
    return Finding("log.node-edited", _span(first, last), Severity.ERROR, detail, {"position": first, "last": last})


def _signatures(
    inside: Iterable[Copy], outside: Iterable[Copy], verifier: NoteVerifier
) -> tuple[list[_Signed], list[Finding]]:
    signed: list[_Signed] = []
    findings: list[Finding] = []
    seen: dict[str, Checkpoint] = {}  # a note is kept in many places; its signature is checked once
    for copy in (*inside, *outside):
        try:
            found = seen[copy.note] if copy.note in seen else Checkpoint.open(copy.note, verifier)
        except VerificationError as err:
            why = f"a checkpoint in {copy.where} does not verify: {err.message}"
            findings.append(Finding("log.forged", copy.where, Severity.CRITICAL, why))
            continue
        seen[copy.note] = found
        if copy.size is not None and copy.size != found.size:
            why = f"the checkpoint that {copy.where} files under {copy.size} is of {found.size} entries"
            findings.append(Finding("log.forged", copy.where, Severity.CRITICAL, why, {"size": copy.size}))
        signed.append(_Signed(copy.where, found, copy.size is None))
    return signed, findings


def _roots(tree: _Tree, signed: Sequence[_Signed]) -> list[Finding]:
    """Entries that are not those a checkpoint was signed over."""
    good = {0}
    bad: dict[int, str] = {}
    for each in signed:
        size = each.checkpoint.size
        if size > tree.size:
            continue
        if tree.root(size) == each.checkpoint.root:
            good.add(size)
        else:
            bad.setdefault(size, each.where)
    if not bad:
        return []
    first = min(bad)
    since = max(size for size in good if size < first)
    span = _span(since, first - 1)
    detail = f"the checkpoint of {first} entries in {bad[first]} was signed over another {span}"
    numbers = {"position": since, "last": first - 1, "checkpoints": len(bad)}
    return [Finding("log.rewritten", span, Severity.CRITICAL, detail, numbers)]


def _cut(size: int, signed: Sequence[_Signed]) -> list[Finding]:
    inside = max((each.checkpoint.size for each in signed if not each.outside), default=0)
    newest = max(signed, key=lambda each: each.checkpoint.size, default=None)
    covered = newest.checkpoint.size if newest is not None else 0
    if newest is not None and covered > size:
        span = _span(size, covered - 1)
        numbers = {"position": size, "last": covered - 1}
        if covered > inside:
            rule, what = "log.rolled-back", "the database was put back to an earlier state or cut"
        else:
            rule, what = "log.truncated", "the end of the log was cut off"
        detail = f"gone: {span}; {newest.where} holds the signed checkpoint of {covered} entries; {what}"
        return [Finding(rule, span, Severity.CRITICAL, detail, numbers)]
    if covered < size:  # entries and checkpoint are committed together, so no crash leaves this
        span = _span(covered, size - 1)
        detail = f"under no signed checkpoint: {span}; put in without the log's key"
        numbers = {"position": covered, "last": size - 1}
        return [Finding("log.forged", span, Severity.CRITICAL, detail, numbers)]
    if inside < size:
        detail = (
            f"the database lacks its checkpoint of {size} entries, which is kept in {newest.where if newest else ''}"
        )
        return [Finding("log.checkpoint-deleted", "the database", Severity.ERROR, detail, {"size": size})]
    return []


def _histories(signed: Sequence[_Signed]) -> list[Finding]:
    first: dict[int, _Signed] = {}
    findings: list[Finding] = []
    for each in signed:
        other = first.setdefault(each.checkpoint.size, each)
        if other.checkpoint.root != each.checkpoint.root:
            size = each.checkpoint.size
            detail = f"{other.where} and {each.where} hold two histories of {size} entries, both signed"
            findings.append(Finding("log.split-view", f"checkpoint {size}", Severity.CRITICAL, detail, {"size": size}))
    return findings


def _witnesses(size: int, witnessed: int) -> list[Finding]:
    if not witnessed:
        detail = "no checkpoint outside the database was found, so truncation cannot be excluded"
        return [Finding("log.unwitnessed", "log", Severity.WARNING, detail, {"size": size})]
    if witnessed < size:
        span = _span(witnessed, size - 1)
        detail = f"in no checkpoint outside the database: {span}; if more followed, nobody could tell"
        numbers = {"position": witnessed, "last": size - 1}
        return [Finding("log.unwitnessed-tail", span, Severity.WARNING, detail, numbers)]
    return []


def _late(signed: Sequence[_Signed]) -> list[Finding]:
    """Whether the copies outside begin later than the log: made anew, they vouch for whatever was there by then."""
    inside = min((each.checkpoint.size for each in signed if not each.outside), default=0)
    outside = min((each.checkpoint.size for each in signed if each.outside), default=0)
    if not outside or not inside or outside <= inside:
        return []
    detail = (
        f"the checkpoints outside begin at {outside} entries: had the database been put back to an earlier state "
        "before that, nobody could tell"
    )
    return [Finding("log.witnessed-late", "log", Severity.WARNING, detail, {"size": outside})]


def _bounded(findings: Sequence[Finding]) -> list[Finding]:
    kept: list[Finding] = []
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.rule] = counts.get(finding.rule, 0) + 1
        if counts[finding.rule] <= MOST:
            kept.append(finding)
    for rule, count in counts.items():
        if count > MOST:
            worst = max((each.severity for each in findings if each.rule == rule), key=lambda each: each.rank)
            detail = f"{count - MOST} more findings like these"
            kept.append(Finding(rule, "log", worst, detail, {"count": count - MOST}))
    return kept
