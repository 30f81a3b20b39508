"""What stands on the symbolic stack: only as much of each object as a verdict needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.artifacts.scan.opcodes import Blob

_SHOWN = 6
_DEEP = 2


@dataclass(frozen=True, slots=True)
class Named:
    """Something imported by name.

    Attributes:
        module: As the pickle says it.
        name: As the pickle says it; dots lead to attributes.
        offset: Where the opcode that imports it begins.
    """

    module: str
    name: str
    offset: int

    @property
    def path(self) -> str:
        """Module and name in one."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Made:
    """The result of a call.

    Attributes:
        target: What was called.
        arguments: What it was called with.
        state: What was set on it afterwards.
    """

    target: object
    arguments: object
    state: object = None


@dataclass(slots=True)
class Table:
    """A dictionary; only entries with a text as key, the first few."""

    entries: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plain:
    """Something that neither names nor runs anything.

    Attributes:
        word: What it is.
    """

    word: str


@dataclass(frozen=True, slots=True)
class Registered:
    """Something named by a number of the ``copyreg`` extension registry of whoever unpickles.

    Attributes:
        code: The number.
    """

    code: int


NONE, NUMBER, LIST, SET, TEXT = Plain("None"), Plain("number"), Plain("list"), Plain("set"), Plain("str")
BYTES, PERSISTENT, LOST = Plain("bytes"), Plain("persistent object"), Plain("unknown object")
FLAGS = {True: Plain("True"), False: Plain("False")}


def shape(value: object, depth: int = 0) -> str:
    """What kind of value it is and how large, never what it says: a model may hold secrets."""
    if isinstance(value, Named):
        return value.path
    if isinstance(value, tuple):
        inside = ", ".join(shape(one, depth + 1) for one in value[:_SHOWN]) if depth < _DEEP else len(value)
        return f"({inside}{', …' if len(value) > _SHOWN else ''})"
    if isinstance(value, Made):
        return f"result of {shape(value.target, depth + 1)}" if depth < _DEEP else "result"
    return _word(value)


def _word(value: object) -> str:
    if isinstance(value, str):
        return f"str[{len(value)}]"
    if isinstance(value, Blob):
        return f"{'str' if value.text else 'bytes'}[{value.length}]"
    if isinstance(value, Plain):
        return value.word
    return "int" if isinstance(value, int) else "dict" if isinstance(value, Table) else "object"
