"""Which tensor of OLD is which of NEW. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from assay.artifacts.diff.weights import Stored

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Matched:
    """The tensors of two models, put together.

    Attributes:
        pairs: Those of one name, however its parts are joined (``layers.0``, ``layers/0``).
        renamed: Those of other names with the same type, shape and bytes.
        removed: Those only OLD has.
        added: Those only NEW has.
        prefix: What every name of one model has in front and the other has not (``module.``); empty for nothing.
    """

    pairs: tuple[tuple[Stored, Stored], ...]
    renamed: tuple[tuple[Stored, Stored], ...]
    removed: tuple[Stored, ...]
    added: tuple[Stored, ...]
    prefix: str = ""


def match(
    old: Sequence[Stored],
    new: Sequence[Stored],
    digest_old: Callable[[Stored], str],
    digest_new: Callable[[Stored], str],
) -> Matched:
    """Match by name, else by file and name where a name is not the only one of its kind, else by equal bytes.

    Args:
        old: Tensors of OLD.
        new: Tensors of NEW.
        digest_old: Digest of the elements of a tensor of OLD; asked only of those that no name matches.
        digest_new: The same of NEW.
    """
    pairs, removed, added = _joined(old, new, _place, _place)
    by_name, removed, added = _joined(removed, added, _name, _name)
    pairs += by_name
    respelled, removed, added = _joined(removed, added, _spelled, _spelled)
    pairs += respelled
    prefix = ""
    if not pairs:
        prefix = _prefix(removed, added) or _prefix(added, removed)
        pairs, removed, added = _joined(removed, added, _without(prefix), _without(prefix))
    kinds = {(one.dtype, one.shape) for one in removed} & {(one.dtype, one.shape) for one in added}
    likely_old = [one for one in removed if (one.dtype, one.shape) in kinds]
    likely_new = [one for one in added if (one.dtype, one.shape) in kinds]
    contents = {id(one): (one.dtype, one.shape, digest_old(one)) for one in likely_old}
    contents |= {id(one): (one.dtype, one.shape, digest_new(one)) for one in likely_new}
    renamed, _, _ = _joined(likely_old, likely_new, lambda one: contents[id(one)], lambda one: contents[id(one)])
    done = {id(one) for pair in renamed for one in pair}
    return Matched(
        tuple(pairs),
        tuple(renamed),
        tuple(one for one in removed if id(one) not in done),
        tuple(one for one in added if id(one) not in done),
        prefix,
    )


def _place(one: Stored) -> tuple[str, str]:
    return (one.file, one.name)


def _name(one: Stored) -> str:
    return one.name


def _spelled(one: Stored) -> str:
    """The name as most containers spell it; HDF5 has slashes between folders."""
    return one.name.replace("/", ".")


def _without(prefix: str) -> Callable[[Stored], str]:
    return lambda one: one.name.removeprefix(prefix)


def _prefix(short: Sequence[Stored], long: Sequence[Stored]) -> str:
    """What every name of ``long`` has in front of a name of ``short``; wrappers add such (``module.``)."""
    if not short or not long:
        return ""
    ends = [one.name for one in long if one.name.endswith(f".{short[0].name}")]
    if not ends:
        return ""
    prefix = min(ends, key=len).removesuffix(short[0].name)
    return prefix if all(one.name.startswith(prefix) for one in long) else ""


def _joined(
    old: Sequence[Stored],
    new: Sequence[Stored],
    key_old: Callable[[Stored], _Key],
    key_new: Callable[[Stored], _Key],
) -> tuple[list[tuple[Stored, Stored]], list[Stored], list[Stored]]:
    """Pair what has the same key; of several with one key the first with the first, when both sides have as many."""
    counts = Counter(map(key_old, old)), Counter(map(key_new, new))
    sides: dict[_Key, list[Stored]] = {}
    for one in new:
        sides.setdefault(key_new(one), []).append(one)
    pairs: list[tuple[Stored, Stored]] = []
    removed: list[Stored] = []
    for one in old:
        key = key_old(one)
        if counts[0][key] == counts[1][key]:
            pairs.append((one, sides[key].pop(0)))
        else:
            removed.append(one)
    taken = {id(one) for _, one in pairs}
    return pairs, removed, [one for one in new if id(one) not in taken]
