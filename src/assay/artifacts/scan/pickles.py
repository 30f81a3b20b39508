"""Pickles in content of any kind: one, several in a row, behind junk, cut off, broken, inside each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.artifacts.scan.inline import read_array
from assay.artifacts.scan.machine import follow
from assay.artifacts.scan.opcodes import KINDS, Blob
from assay.artifacts.scan.source import Budget
from assay.artifacts.scan.state import Sighting, State, Walk
from assay.artifacts.scan.verdicts import Verdict, judge
from assay.formats.base import Content

MAX_PICKLES = 1000  # in a row
TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py: what old files begin with
TORCH_PICKLES = 5  # magic, protocol, system, the object, the keys of its storages
SWEPT_BYTES = 64 * 1024 * 1024  # of what is no pickle, searched for one
SWEPT_BEHIND_TORCH = 1024 * 1024
MAX_PROBES = 5000  # 64 MB of random bytes begin so about 500 times
MAX_STRAY_OPCODES = 400_000
_SWEEP_BYTES, _OVERLAP = 1024 * 1024, 512

# A protocol number, then an opcode that a pickler writes next.
_BEGINNING = re.compile(rb"\x80[\x00-\x05][\x8c\x95cX(}\]\x8e\x8dI\x8aKNU)]")
_IDENTIFIER = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
# GLOBAL and INST in letters, wherever they stand.
_LETTERS = re.compile(rb"(?=[ci]([A-Za-z_][\w.]{1,80})\n([A-Za-z_][\w.]{0,80})\n)")
_LEAST = 2


@dataclass(slots=True)
class Pickled:
    """The pickles found in some content.

    Attributes:
        walks: One for each, in order.
        certain: Whether the content is a pickle beyond doubt, so that unknown names count too.
        stray: Dangerous names found in what is no pickle by itself, with their places.
    """

    walks: list[Walk] = field(default_factory=list)
    certain: bool = False
    stray: list[Sighting] = field(default_factory=list)

    @property
    def legacy_torch(self) -> bool:
        """Whether it begins as old torch files do."""
        return bool(self.walks) and self.walks[0].magic == TORCH_MAGIC


def find_pickles(content: Content, budget: Budget, *, expected: bool = False, raw: bool = False) -> Pickled:
    """Follow every pickle there is.

    Args:
        content: Any bytes.
        budget: Bounds the work.
        expected: Whether the name promises a pickle.
        raw: Whether these are known to be numbers: then only the beginning is tried.
    """
    found = Pickled()
    at = sure = 0
    while len(found.walks) < MAX_PICKLES:
        walk = _walk(content, at, budget)
        if walk is None or not (walk.sightings or walk.stopped or walk.marked):
            break
        found.walks.append(walk)
        if not walk.stopped or walk.refused:
            break  # it may have swallowed what is none of it: that is searched again
        at = max(walk.end, at + 1)
        if walk.marked and sure == walk.start:  # without a mark anything may look like a pickle of one number
            sure = at
        if found.legacy_torch and len(found.walks) == TORCH_PICKLES:
            break
    found.certain = _certain(found, expected=expected)
    if not raw:
        limit = SWEPT_BEHIND_TORCH if found.legacy_torch else SWEPT_BYTES
        found.stray = list(_sweep(content, sure, limit, budget))
    return found


def _walk(content: Content, at: int, budget: Budget) -> Walk | None:
    head = content.read(at, 1)
    if not head or head[0] not in KINDS:
        return None
    state = State(content, at, budget)
    state.on_built = read_array
    return follow(state)


def _certain(found: Pickled, *, expected: bool) -> bool:
    """Whether what was followed is a pickle: a text may begin like one, too."""
    if not found.walks:
        return False
    first = found.walks[0]
    if first.marked and first.opcodes > _LEAST:
        return True
    names = [one for one in first.sightings if one.kind == "global"]
    sound = all(_IDENTIFIER.match(one.module) and _IDENTIFIER.match(one.name) for one in names)
    calls = any(one.called for one in first.sightings)
    return (first.stopped and first.opcodes > _LEAST and (sound or expected)) or (
        bool(names) and sound and (calls or expected)
    )


def _sweep(content: Content, start: int, limit: int, budget: Budget) -> Iterator[Sighting]:
    """Search what is no pickle for the beginnings of one, and for dangerous names written in letters."""
    probes, at, seen = 0, start, 0
    stray = Budget(opcodes=MAX_STRAY_OPCODES)
    while at < start + limit:
        window = content.read(at, _SWEEP_BYTES + _OVERLAP)
        if not window:
            return
        for match in _LETTERS.finditer(window):
            module, name = match[1].decode("ascii"), match[2].decode("ascii")
            if match.start() < _SWEEP_BYTES and judge(module, name) is Verdict.DANGEROUS:
                yield Sighting("global", module, name, at + match.start())
        for match in _BEGINNING.finditer(window):
            place = at + match.start()
            if match.start() >= _SWEEP_BYTES or place < seen:
                continue
            probes += 1
            if probes > MAX_PROBES or stray.spent:
                budget.spent.add("more in it begins like a pickle than is followed")
                return
            walk = _walk(content, place, stray)
            if walk is not None:
                seen = walk.end if walk.stopped else place + 1
                yield from (one for one in walk.sightings if _is_dangerous(one))
        if len(window) <= _SWEEP_BYTES:
            return
        at += _SWEEP_BYTES


def _is_dangerous(sighting: Sighting) -> bool:
    return sighting.kind == "global" and judge(sighting.module, sighting.name) is Verdict.DANGEROUS


def nested(content: Content, blob: Blob | str) -> bytes | None:
    """The bytes of a byte string of a pickle that may be a pickle or a container itself, or None.

    Args:
        content: What the outer pickle lies in.
        blob: Where they lie, or a text that Python 2 wrote bytes as.
    """
    if isinstance(blob, str):
        return _as_bytes(blob)
    head = content.read(blob.start, min(blob.length, _OVERLAP))
    if len(head) <= _LEAST:
        return None
    if blob.text:
        whole = content.read(blob.start, min(blob.length, _SWEEP_BYTES))
        return _as_bytes(whole.decode("utf-8", "replace"))
    return head


def _as_bytes(text: str) -> bytes | None:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None
