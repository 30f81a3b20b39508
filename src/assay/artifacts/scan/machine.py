"""Follows a pickle as the unpickler would, with names in place of objects: nothing is imported or called."""

from __future__ import annotations

from assay.artifacts.scan.handlers import HANDLERS
from assay.artifacts.scan.state import State, Walk

MAX_HELD = 4_000_000  # objects on the stack and in the memo together


def follow(state: State) -> Walk:
    """Follow the opcodes to the end, to STOP, or to what cannot be read."""
    walk, stream, budget = state.walk, state.stream, state.budget
    stack, memo, marks = state.stack, state.memo, state.marks
    while True:
        start = stream.at
        found = stream.next()
        if found is None:
            break
        name, argument = found
        walk.opcodes += 1
        if name == "STOP":
            walk.stopped = True
            state.note_result()
            break
        budget.opcodes -= 1
        if budget.opcodes <= 0 or len(stack) + len(memo) + len(marks) > MAX_HELD:
            budget.spent.add("its pickle has more opcodes or objects than are followed")
            break
        HANDLERS[name](state, argument, start)
    walk.end = stream.at
    return walk
