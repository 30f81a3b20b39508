"""What a pickle would build, written down instead of built.

The opcodes are read with :mod:`pickletools`; nothing is imported, called or looked up. Calls,
classes and persistent ids stay symbols. Source: the opcode descriptions of CPython's pickletools.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from assay.errors import FormatError

MAX_PICKLE_BYTES = 64 * 1024 * 1024
MAX_OPCODES = 2_000_000  # bounds memory to about 300 MB; 40,000 tensors need so many


# What a pickle of more opcodes is described as: it may be sound all the same.
TOO_LARGE = object()


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function by name, never looked up.

    Attributes:
        name: Module and name, joined by a dot.
    """

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """An object that lies outside the pickle.

    Attributes:
        identity: What says which one.
    """

    identity: object


@dataclass(slots=True, eq=False)
class Listed:
    """A list or a set.

    Attributes:
        items: What is in it.
    """

    items: list[object] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapped:
    """A dictionary.

    Attributes:
        pairs: Keys and values in order; a key may stand twice.
    """

    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Made:
    """What a call would have made.

    Attributes:
        function: What would have been called.
        arguments: With what; usually a tuple.
        state: What it would have been given afterwards.
        items: What would have been appended.
        pairs: What would have been set by key.
    """

    function: object
    arguments: object
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: list[tuple[object, object]] = field(default_factory=list)


_MARK = object()


class _Machine:
    """The stack and the memo."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def pop(self) -> object:
        value = self.top()
        self.stack.pop()
        return value

    def top(self) -> object:
        if not self.stack or self.stack[-1] is _MARK:
            raise FormatError("the pickle takes a value that is not there")
        return self.stack[-1]

    def marked(self) -> list[object]:
        """Everything above the last mark; the mark goes too."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                found = self.stack[index + 1 :]
                del self.stack[index:]
                return found
        raise FormatError("the pickle takes values up to a mark that is not there")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def append(self, items: list[object]) -> None:
        into = self.top()
        if isinstance(into, Listed | Made):
            into.items.extend(items)
        else:
            raise FormatError("the pickle appends to something that is no list")

    def set(self, flat: list[object]) -> None:
        into = self.top()
        if len(flat) % 2 or not isinstance(into, Mapped | Made):
            raise FormatError("the pickle sets keys of something that is no dictionary, or a key without value")
        into.pairs.extend(zip(flat[::2], flat[1::2], strict=True))

    def build(self, state: object) -> None:
        into = self.pop()
        if isinstance(into, Made) and into.state is None:
            into.state = state
            self.push(into)
        else:
            self.push(Made(Global("state"), (into, state)))

    def remember(self, key: object) -> None:
        if not isinstance(key, int):
            raise FormatError("the pickle remembers under something that is no number")
        self.memo[key] = self.top()

    def recall(self, key: object) -> None:
        if not isinstance(key, int) or key not in self.memo:
            raise FormatError("the pickle recalls what it never remembered")
        self.push(self.memo[key])


def _tuple(count: int) -> Callable[[_Machine, object], None]:
    def make(machine: _Machine, _: object) -> None:
        machine.push(tuple([machine.pop() for _ in range(count)][::-1]))

    return make


def _made(machine: _Machine, *, named: int) -> None:
    """A call whose function and ``named`` arguments lie on the stack."""
    arguments = [machine.pop() for _ in range(named)][::-1]
    machine.push(Made(machine.pop(), arguments[0] if named == 1 else tuple(arguments)))


def _object(machine: _Machine, _: object) -> None:
    found = machine.marked()
    if not found:
        raise FormatError("the pickle makes an object of no class")
    machine.push(Made(found[0], tuple(found[1:])))


def _stack_global(machine: _Machine, _: object) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise FormatError("the pickle names a class by something that is no text")
    machine.push(Global(f"{module}.{name}"))


def _frozen_list(machine: _Machine, _: object) -> None:
    machine.push(Listed(machine.marked()))


def _dictionary(machine: _Machine, _: object) -> None:
    found = machine.marked()
    machine.push(Mapped())
    machine.set(found)


def _ignore(machine: _Machine, argument: object) -> None:
    del machine, argument


def _set_one(machine: _Machine, _: object) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set([key, value])


def _drop(machine: _Machine, _: object) -> None:
    if not machine.stack:
        raise FormatError("the pickle drops a value that is not there")
    machine.stack.pop()


def _named(argument: object) -> Global:
    return Global(str(argument).replace(" ", ".", 1))


_ACTIONS: Mapping[str, Callable[[_Machine, object], None]] = {
    "PROTO": _ignore,
    "FRAME": _ignore,
    "READONLY_BUFFER": _ignore,
    "NEXT_BUFFER": lambda machine, _: machine.push(Persistent("buffer")),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(value=True),
    "NEWFALSE": lambda machine, _: machine.push(value=False),
    "MARK": lambda machine, _: machine.push(_MARK),
    "POP": _drop,
    "POP_MARK": lambda machine, _: _ignore(machine, machine.marked()),
    "DUP": lambda machine, _: machine.push(machine.top()),
    "EMPTY_LIST": lambda machine, _: machine.push(Listed()),
    "EMPTY_SET": lambda machine, _: machine.push(Listed()),
    "LIST": _frozen_list,
    "FROZENSET": _frozen_list,
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "ADDITEMS": lambda machine, _: machine.append(machine.marked()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "EMPTY_DICT": lambda machine, _: machine.push(Mapped()),
    "DICT": _dictionary,
    "SETITEM": _set_one,
    "SETITEMS": lambda machine, _: machine.set(machine.marked()),
    "GLOBAL": lambda machine, argument: machine.push(_named(argument)),
    "STACK_GLOBAL": _stack_global,
    "EXT1": lambda machine, argument: machine.push(Global(f"extension.{argument}")),
    "EXT2": lambda machine, argument: machine.push(Global(f"extension.{argument}")),
    "EXT4": lambda machine, argument: machine.push(Global(f"extension.{argument}")),
    "REDUCE": lambda machine, _: _made(machine, named=1),
    "NEWOBJ": lambda machine, _: _made(machine, named=1),
    "NEWOBJ_EX": lambda machine, _: _made(machine, named=2),
    "INST": lambda machine, argument: machine.push(Made(_named(argument), tuple(machine.marked()))),
    "OBJ": _object,
    "BUILD": lambda machine, _: machine.build(machine.pop()),
    "PERSID": lambda machine, argument: machine.push(Persistent(argument)),
    "BINPERSID": lambda machine, _: machine.push(Persistent(machine.pop())),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "PUT": lambda machine, argument: machine.remember(argument),
    "BINPUT": lambda machine, argument: machine.remember(argument),
    "LONG_BINPUT": lambda machine, argument: machine.remember(argument),
    "GET": lambda machine, argument: machine.recall(argument),
    "BINGET": lambda machine, argument: machine.recall(argument),
    "LONG_BINGET": lambda machine, argument: machine.recall(argument),
}


def described(raw: bytes) -> object:
    """What the pickle would build: constants, tuples and the classes of this module, or :data:`TOO_LARGE`.

    Raises:
        FormatError: It is malformed.
    """
    if len(raw) > MAX_PICKLE_BYTES:
        return TOO_LARGE
    machine = _Machine()
    end = count = 0
    try:
        for opcode, argument, at in pickletools.genops(raw):
            count += 1
            if count > MAX_OPCODES:
                return TOO_LARGE
            end = at or 0
            if opcode.name == "STOP":
                break
            action = _ACTIONS.get(opcode.name)
            if action is None:  # the rest push their argument: numbers, text, bytes
                machine.push(argument)
            else:
                action(machine, argument)
    except (ValueError, OverflowError, IndexError) as err:  # what pickletools says of bytes that are no pickle
        raise FormatError(f"the pickle is malformed: {str(err)[:100]!a}") from err
    if end + 1 != len(raw) or len(machine.stack) != 1:
        raise FormatError("the pickle does not end where its bytes end, or leaves more than one value")
    return machine.pop()
