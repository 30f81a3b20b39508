"""Follows a pickle as the unpickler would, with names in place of objects: nothing is imported or called."""

from __future__ import annotations

from assay.artifacts.scan.handlers import HANDLERS
from assay.artifacts.scan.state import State, Walk

_CHECK_EVERY = 1024
MAX_HELD = 4_000_000  # objects on the stack and in the memo together


def follow(state: State) -> Walk:
    """Follow the opcodes to the end, to STOP, or to what cannot be read."""
    walk, stream, step = state.walk, state.stream, state.stream.next
    count = 0
    while True:
        start = stream.at
        found = step()
        if found is None:
            break
        count += 1
        name, argument = found
        if name == "STOP":
            walk.stopped = True
            walk.opcodes = count
            state.note_result()
            break
        HANDLERS[name](state, argument, start)
        if count % _CHECK_EVERY == 0 and not _affordable(state, _CHECK_EVERY):
            break
    _affordable(state, count % _CHECK_EVERY)
    walk.opcodes, walk.end = count, stream.at
    return walk


def _affordable(state: State, opcodes: int) -> bool:
    """Pay for some opcodes; False when no more may be followed."""
    budget = state.budget
    budget.opcodes -= opcodes
    if budget.opcodes > 0 and len(state.stack) + len(state.memo) + len(state.marks) <= MAX_HELD:
        return True
    budget.spent.add("its pickle has more opcodes or objects than are followed")
    return False
