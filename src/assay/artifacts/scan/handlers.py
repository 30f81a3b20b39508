"""What each pickle opcode does to the symbolic stack.

Source: the semantics of CPython's ``Modules/_pickle.c`` and ``Lib/pickletools.py``, protocols 0 to 5.
"""

from __future__ import annotations

from collections.abc import Callable

from assay.artifacts.scan.opcodes import Argument, Blob
from assay.artifacts.scan.state import Sighting, State
from assay.artifacts.scan.values import (
    BYTES,
    FLAGS,
    LIST,
    LOST,
    NONE,
    NUMBER,
    PERSISTENT,
    SET,
    Made,
    Named,
    Registered,
    Table,
)

MAX_ENTRIES = 64  # of a dictionary that are remembered
_SHORTEST = 8  # bytes of a pickle that does anything

Handler = Callable[[State, Argument, int], None]


def _push(value: object) -> Handler:
    def handler(state: State, argument: Argument, start: int) -> None:  # noqa: ARG001 - as all handlers
        state.stack.append(value)

    return handler


def _ignore(state: State, argument: Argument, start: int) -> None:
    """Nothing that matters to names."""


def _argument(state: State, argument: Argument, start: int) -> None:
    """Push the argument itself: a number, a text, or where bytes lie."""
    del start
    if isinstance(argument, Blob):
        state.keep(argument)
    state.stack.append(NUMBER if argument is None else argument)


def _old_text(state: State, argument: Argument, start: int) -> None:
    """A text of Python 2, or the bytes it wrote: looked into as both."""
    if isinstance(argument, str) and len(argument) > _SHORTEST:
        state.keep(argument)
    _argument(state, argument, start)


def _quoted(state: State, argument: Argument, start: int) -> None:
    """STRING: a quoted text with escapes."""
    if isinstance(argument, str) and len(argument) >= 2 and argument[0] in "'\"":  # noqa: PLR2004
        raw = argument[1:-1].encode("utf-8", "surrogateescape")
        try:
            argument = raw.decode("unicode_escape", "replace") if b"\\" in raw else argument[1:-1]
        except UnicodeDecodeError:
            argument = "\ufffd"
    _old_text(state, argument, start)


def _escaped(state: State, argument: Argument, start: int) -> None:
    """UNICODE: a text with escapes by number."""
    if isinstance(argument, str) and "\\" in argument:
        argument = argument.encode("utf-8", "surrogateescape").decode("raw_unicode_escape", "replace")
    _argument(state, argument, start)


def _number(state: State, argument: Argument, start: int) -> None:
    """INT and LONG: a number in letters."""
    del start
    text = argument.rstrip("L").strip() if isinstance(argument, str) else ""
    if text in {"00", "01"}:
        state.stack.append(FLAGS[text == "01"])
    elif len(text) < 20 and text.lstrip("-").isdecimal():  # noqa: PLR2004 - no shape or size is longer
        state.stack.append(int(text))
    else:
        state.stack.append(NUMBER)


def _index(argument: Argument) -> int:
    if isinstance(argument, int):
        return argument
    text = argument.strip() if isinstance(argument, str) else ""
    try:
        return int(text)
    except ValueError:
        return -1


def _put(state: State, argument: Argument, start: int) -> None:
    del start
    state.memo[_index(argument)] = state.top()


def _memoize(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.memo[len(state.memo)] = state.top()


def _get(state: State, argument: Argument, start: int) -> None:
    del start
    state.stack.append(state.memo.get(_index(argument), LOST))


def _mark(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.marks.append(len(state.stack))


def _pop(state: State, argument: Argument, start: int) -> None:
    del argument, start
    # On a mark the unpickler takes the mark off.
    if state.marks and state.marks[-1] == len(state.stack):
        state.marks.pop()
    else:
        state.pop()


def _pop_mark(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.pop_mark()


def _dup(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.stack.append(state.top())


def _tuple_of(count: int) -> Handler:
    def handler(state: State, argument: Argument, start: int) -> None:
        del argument, start
        taken = [state.pop() for _ in range(count)]
        state.stack.append(tuple(reversed(taken)))

    return handler


def _tuple(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.stack.append(tuple(state.pop_mark()))


def _collected(value: object) -> Handler:
    def handler(state: State, argument: Argument, start: int) -> None:
        del argument, start
        state.pop_mark()
        state.stack.append(value)

    return handler


def _dict(state: State, argument: Argument, start: int) -> None:
    del argument, start
    table = Table()
    _fill(table, state.pop_mark())
    state.stack.append(table)


def _empty_dict(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.stack.append(Table())


def _fill(table: object, items: list[object]) -> None:
    if isinstance(table, Table):
        for key, value in zip(items[::2], items[1::2], strict=False):
            if isinstance(key, str) and (len(table.entries) < MAX_ENTRIES or key in table.entries):
                table.entries[key] = value


def _set_item(state: State, argument: Argument, start: int) -> None:
    del argument, start
    value, key = state.pop(), state.pop()
    _fill(state.top(), [key, value])


def _set_items(state: State, argument: Argument, start: int) -> None:
    del argument, start
    items = state.pop_mark()
    _fill(state.top(), items)


def _append(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.pop()


def _global(state: State, argument: Argument, start: int) -> None:
    module, name = argument if isinstance(argument, tuple) else (None, None)
    state.stack.append(state.name(module, name, start))


def _stack_global(state: State, argument: Argument, start: int) -> None:
    del argument
    name, module = state.pop(), state.pop()
    state.stack.append(state.name(module, name, start))


def _inst(state: State, argument: Argument, start: int) -> None:
    module, name = argument if isinstance(argument, tuple) else (None, None)
    arguments = tuple(state.pop_mark())
    state.stack.append(state.call(state.name(module, name, start), arguments, start))


def _obj(state: State, argument: Argument, start: int) -> None:
    del argument
    taken = state.pop_mark()
    state.stack.append(state.call(taken[0] if taken else LOST, tuple(taken[1:]), start))


def _reduce(state: State, argument: Argument, start: int) -> None:
    del argument
    arguments, target = state.pop(), state.pop()
    state.stack.append(state.call(target, arguments, start))


def _new_ex(state: State, argument: Argument, start: int) -> None:
    del argument
    named, arguments, target = state.pop(), state.pop(), state.pop()
    state.stack.append(state.call(target, (arguments, named), start))


def _build(state: State, argument: Argument, start: int) -> None:
    del argument
    attributes, target = state.pop(), state.top()
    if isinstance(target, Made):
        target.state = attributes
        if state.on_built is not None:
            state.on_built(state)
    elif isinstance(target, Named):
        # Attributes set on a class or a module, not on an instance: a method exchanged for all.
        state.see(Sighting("patched", "", target.path, start))


def _extension(state: State, argument: Argument, start: int) -> None:
    code = argument if isinstance(argument, int) else 0
    state.see(Sighting("extension", "", f"number {code} of the copyreg extension registry", start))
    state.stack.append(Registered(code))


def _persistent(state: State, argument: Argument, start: int) -> None:
    del argument, start
    state.stack.append(PERSISTENT)


def _on_stack_persistent(state: State, argument: Argument, start: int) -> None:
    del argument, start
    identity = state.pop()
    # Old torch files refer so to the classes of layers, with their source for the reader: ("module", class, ...).
    if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module" and isinstance(identity[1], Named):
        state.stack.append(identity[1])
    else:
        state.stack.append(PERSISTENT)


def _proto(state: State, argument: Argument, start: int) -> None:
    if start == state.walk.start and isinstance(argument, int) and argument <= 5:  # noqa: PLR2004 - protocols there are
        state.walk.marked = True


def _frame(state: State, argument: Argument, start: int) -> None:
    del start
    state.frame_end = state.stream.at + (argument if isinstance(argument, int) else 0)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINBYTES", "SHORT_BINBYTES"), _argument),
    **dict.fromkeys(("BINBYTES8", "BYTEARRAY8", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _argument),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _old_text),
    **dict.fromkeys(("INT", "LONG"), _number),
    "STRING": _quoted,
    "UNICODE": _escaped,
    **dict.fromkeys(("FLOAT", "BINFLOAT"), _push(NUMBER)),
    "NONE": _push(NONE),
    "NEWTRUE": _push(FLAGS[True]),
    "NEWFALSE": _push(FLAGS[False]),
    "NEXT_BUFFER": _push(BYTES),
    "READONLY_BUFFER": _ignore,
    "EMPTY_LIST": _push(LIST),
    "EMPTY_SET": _push(SET),
    "EMPTY_TUPLE": _push(()),
    "EMPTY_DICT": _empty_dict,
    "LIST": _collected(LIST),
    "FROZENSET": _collected(SET),
    "DICT": _dict,
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    **dict.fromkeys(("APPENDS", "ADDITEMS", "POP_MARK"), _pop_mark),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "MARK": _mark,
    "POP": _pop,
    "DUP": _dup,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _reduce),
    "NEWOBJ_EX": _new_ex,
    "BUILD": _build,
    "INST": _inst,
    "OBJ": _obj,
    "PERSID": _persistent,
    "BINPERSID": _on_stack_persistent,
    "PROTO": _proto,
    "FRAME": _frame,
}
