"""The symbolic unpickler's stack, memo and marks, and what it has seen.

What the unpickler would refuse (an empty stack, a mark that is not there) is followed further here:
more is seen than could run, never less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from assay.artifacts.scan.opcodes import Blob, Stream
from assay.artifacts.scan.source import Budget
from assay.artifacts.scan.values import LOST, PERSISTENT, Made, Named, Registered, shape
from assay.formats.base import Content

MAX_SIGHTINGS = 20_000
MAX_BLOBS = 2_000  # that are looked into
# The registry's own helpers call what they are given.
_CALLERS = frozenset(
    {"copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__", "copy_reg._reconstructor"}
)

# These unpickle the bytes they are given: fine as long as those lie open, and were looked into.
UNPACKERS = frozenset({"torch.storage._load_from_bytes"})
_AS_BYTES = "_codecs.encode"
_SHORT = 4  # opcodes of a pickle of one number


@dataclass(slots=True)
class Sighting:
    """One use of something that is imported or called.

    Attributes:
        kind: ``global``; or ``unresolvable``, ``extension``, ``indirect``, ``patched``, ``framed``,
            ``unmeasured`` (see the rules in ``verdicts``).
        module: Of the global; empty for the other kinds.
        name: Of the global, or what is called in words.
        offset: Of the opcode, from the start of the pickle's file or member.
        called: Whether it is called, not only named.
        arguments: The shape of the call's arguments.
        doubtful: Seen in bytes that most likely are no pickle; only what is dangerous counts there.
    """

    kind: str
    module: str
    name: str
    offset: int
    called: bool = False
    arguments: str = ""
    doubtful: bool = False


@dataclass(slots=True)
class Walk:
    """What following one pickle showed.

    Attributes:
        start: Where it begins.
        end: One past its last opcode that could be read.
        stopped: Whether it ends as a pickle does.
        marked: Whether it begins with a protocol number.
        refused: Whether the unpickler would have stopped before, for want of an object or of something to call.
        sightings: What it imports and calls, in order; each name once, as called where it is.
        blobs: Bytes and long texts in it, which may hold another pickle.
        opcodes: How many were followed.
        magic: The number a first pickle consists of, if it does: old torch files begin so.
    """

    start: int
    end: int = 0
    stopped: bool = False
    marked: bool = False
    refused: bool = False
    sightings: list[Sighting] = field(default_factory=list)
    blobs: list[Blob | str] = field(default_factory=list)
    opcodes: int = 0
    magic: int | None = None


class State:
    """The symbolic unpickler.

    Args:
        content: What the pickle lies in.
        at: Where it begins.
        budget: Bounds how far it is followed.
    """

    def __init__(self, content: Content, at: int, budget: Budget) -> None:
        self.content = content
        self.stream = Stream(content, at)
        self.budget = budget
        self.walk = Walk(at)
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.frame_end = 0
        self.ghost = False  # follows a second reading of bytes that are most likely something else
        self.depth = 0  # of pickles in arrays in pickles
        self.on_built: Callable[[State], None] | None = None  # joblib reads arrays after some objects
        self._seen: dict[tuple[str, str], Sighting] = {}

    def fork(self, at: int) -> State:
        """The same state, reading on elsewhere; costs what is copied."""
        other = State(self.content, at, self.budget)
        other.stack, other.marks, other.memo = list(self.stack), list(self.marks), dict(self.memo)
        self.budget.opcodes -= len(other.stack) + len(other.memo)
        return other

    def note_result(self) -> None:
        """Remember the number that a short pickle consists of."""
        if len(self.stack) == 1 and self.walk.opcodes <= _SHORT and isinstance(self.stack[0], int):
            self.walk.magic = self.stack[0]

    def pop(self) -> object:
        """The top of the stack, or LOST where the unpickler would refuse."""
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) > floor:
            return self.stack.pop()
        self.walk.refused = True
        return LOST

    def pop_mark(self) -> list[object]:
        """Everything above the last mark."""
        self.walk.refused |= not self.marks
        at = self.marks.pop() if self.marks else 0
        taken = self.stack[at:]
        del self.stack[at:]
        return taken

    def top(self) -> object:
        """The top of the stack, left there."""
        return self.stack[-1] if self.stack else LOST

    def see(self, sighting: Sighting) -> None:
        """Note a use; a name that was seen is noted again only when it is called for the first time."""
        key = (sighting.kind + sighting.module, sighting.name)
        known = self._seen.get(key)
        if known is None:
            if len(self.walk.sightings) >= MAX_SIGHTINGS:
                self.budget.spent.add("its pickle names more than is kept")
                return
            self._seen[key] = sighting
            self.walk.sightings.append(sighting)
        elif known.doubtful and not sighting.doubtful:
            known.doubtful, known.called, known.arguments = False, sighting.called, sighting.arguments
            known.offset = sighting.offset
        elif sighting.called and not known.called:
            known.called, known.arguments = True, sighting.arguments
            known.offset = sighting.offset

    def name(self, module: object, name: object, start: int) -> Named | object:
        """Import something by name."""
        if not isinstance(module, str) or not isinstance(name, str) or not module or not name:
            detail = f"{shape(module)} and {shape(name)}"
            self.see(Sighting("unresolvable", "", detail, start))
            return LOST
        self.see(Sighting("global", module, name, start))
        return Named(module, name, start)

    def call(self, target: object, arguments: object, start: int) -> object:
        """Call something."""
        made = Made(target, arguments)
        if isinstance(target, Named):
            self._called(target, arguments, start)
            inner = arguments[0] if isinstance(arguments, tuple) and arguments else None
            if target.path in _CALLERS and isinstance(inner, Named):
                self._called(inner, arguments, start)
            elif target.path == _AS_BYTES and isinstance(inner, str):
                self.keep(inner)  # how protocols 0 to 2 carry bytes
            elif target.path in UNPACKERS and not _lies_open(inner):
                self.see(Sighting("unresolvable", "", f"what {target.path} unpickles", start))
        elif isinstance(target, Made):
            self.see(Sighting("indirect", "", shape(target), start, called=True, arguments=shape(arguments)))
        elif target is LOST or target is PERSISTENT:
            what = f"a call of {shape(target)}"
            self.see(Sighting("unresolvable", "", what, start, called=True, arguments=shape(arguments)))
        elif not isinstance(target, Registered):
            self.walk.refused = True  # a number or a text cannot be called
        return made

    def _called(self, target: Named, arguments: object, start: int) -> None:
        known = self._seen.get((f"global{target.module}", target.name))
        if known is None or not known.called:
            text = shape(arguments)
            self.see(Sighting("global", target.module, target.name, start, called=True, arguments=text))

    def keep(self, blob: Blob | str) -> None:
        """Remember bytes to look into."""
        if len(self.walk.blobs) < MAX_BLOBS:
            self.walk.blobs.append(blob)
        else:
            self.budget.spent.add("its pickle holds more byte strings than are looked into")


def _lies_open(value: object) -> bool:
    """Whether the bytes are there to be looked into, as they are or as Python 2 wrote them."""
    if isinstance(value, Made):
        # Any other encoding (rot13, to name one) hides what the bytes are.
        plainly = isinstance(value.target, Named) and value.target.path == _AS_BYTES
        given = value.arguments if isinstance(value.arguments, tuple) else ()
        return plainly and given[1:] in {("latin1",), ("latin-1",)} and isinstance(given[0], Blob | str)
    return isinstance(value, Blob | str)
