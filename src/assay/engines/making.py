"""The SQL that makes numbers of texts, vectors and queries: subqueries around a table, one layer on another.

Each layer names what the next one uses more than once, so that no engine computes a thing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import log2
from typing import Final

from assay.engines.base import Number, Text
from assay.engines.lists import ELEMENT, Lists
from assay.engines.made import (
    CLIP,
    DEPTH,
    HEAD,
    MOST_RELEVANT,
    NO_TOKEN,
    UNIT,
    VARIETY_HEAD,
    Along,
    DrawnToken,
    Made,
    OfQuery,
    TextFigure,
)
from assay.engines.sql import Columns, double, micros, number, text

_UPPER: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ALONE: Final = (
    r"\x{2E80}-\x{312F}\x{31A0}-\x{9FFF}\x{F900}-\x{FAFF}\x{0E00}-\x{0EFF}\x{1000}-\x{109F}\x{20000}-\x{3FFFF}"
)
"""Scripts that are written without spaces: each sign is a token."""
_JOINED: Final = (
    r"A-Za-z\x{AA}\x{B5}\x{BA}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{DFF}\x{F00}-\x{FFF}\x{10A0}-\x{1FFF}\x{2C00}-\x{2DFF}"
    r"\x{3130}-\x{319F}\x{A000}-\x{D7FF}\x{FB00}-\x{FDFF}\x{FE70}-\x{FEFE}\x{10000}-\x{1EFFF}"
)
"""Blocks of letters and marks of all other scripts, whole: what is assigned in them later changes nothing."""
LETTERS: Final = f"[{_ALONE}{_JOINED}]"
TOKENS: Final = f"[{_ALONE}]|[0-9{_JOINED}]+"
LEARNED_FROM: Final = "0"
"""First digit of the MD5 of those texts, one in sixteen, that vocabularies are made of and never judged by."""
CLASSES: Final = {
    "letters": LETTERS,
    "digits": "[0-9]",
    "spaces": r"[\t\n\x0b\f\r ]",
    "beyond-ascii": r"[^\x{00}-\x{7F}]",
}
DISCOUNTS: Final = tuple(round(2**20 / log2(place + 1)) for place in range(1, DEPTH + 1))
"""``1 / log2(place + 1)`` in steps of 2^-20: whole numbers add up to the same in any order."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A table with what was made of its rows.

    Attributes:
        table: What stands after FROM.
        columns: Its columns; what was made is in `Columns.made`.
    """

    table: str
    columns: Columns


def with_made(table: str, columns: Columns, wanted: Iterable[object]) -> Opened:
    """A table with everything that must be made for these quantities; the table itself where nothing must.

    Raises:
        TableError: When a column is missing.
    """
    made = [one for one in dict.fromkeys(wanted) if isinstance(one, Made)]
    if not made:
        return Opened(table, columns)
    prefix, lists = _prefix(columns.families), columns.dialect.lists
    layers: list[dict[str, str]] = [{} for _ in range(5)]
    names: dict[object, str] = {}
    for one in made:
        names[one] = f"{prefix}{len(names)}"
        if isinstance(one, Along):
            layers[4][names[one]] = _vector(columns, lists, one, prefix, layers)
        elif isinstance(one, OfQuery):
            layers[4][names[one]] = _query(columns, lists, one, prefix, layers)
        else:
            layers[4][names[one]] = _text(columns, lists, one, prefix, layers)
    for depth, layer in enumerate(layers):
        if layer:
            shown = ", ".join(f"{value} AS {name}" for name, value in layer.items())
            table = f"(SELECT *, {shown} FROM {table}) AS {prefix}layer{depth}"
    return Opened(table, replace(columns, made=names))


def _prefix(taken: Mapping[str, object]) -> str:
    """What no column begins with, in any case."""
    folded, prefix = [name.casefold() for name in taken], "made"
    while any(name.startswith(prefix) for name in folded):
        prefix += "_"
    return prefix


def _place(column: str, columns: Columns) -> int:
    columns.family(column)
    return list(columns.families).index(column)


def _text(  # noqa: PLR0911 - a table of cases
    columns: Columns, lists: Lists, one: TextFigure | DrawnToken, prefix: str, layers: list[dict[str, str]]
) -> str:
    """A figure of a text or a drawn token. Layers: the text, its head, what is in it."""
    at = f"{prefix}t{_place(one.column, columns)}"
    if columns.family(one.column) != "text":
        return "NULL::DOUBLE" if isinstance(one, TextFigure) else f"NULL::{columns.dialect.string}"
    x, head, size, tokens = f"{at}x", f"{at}h", f"{at}l", f"{at}w"
    layers[0][x] = text(columns, Text(one.column))
    if isinstance(one, TextFigure) and one.figure == "length":
        return f"length({x})::DOUBLE"
    layers[1][head] = f"substr({x}, 1, {HEAD})"
    layers[2][size] = f"length({head})"
    if isinstance(one, TextFigure) and one.figure in CLASSES:
        rest = f"length({lists.without(head, CLASSES[one.figure])})"
        return f"(CASE WHEN {size} = 0 THEN 0.0::DOUBLE ELSE ({size} - {rest})::DOUBLE / {size}::DOUBLE END)"
    if isinstance(one, TextFigure) and one.figure == "variety":
        part = f"{at}v"
        layers[2][part] = f"substr({head}, 1, {VARIETY_HEAD})"
        layers[3][f"{at}s"] = f"(CASE WHEN {part} <> '' THEN {lists.squares(lists.characters(part))} ELSE 1 END)"
        return f"(CASE WHEN {part} IS NOT NULL THEN (length({part}) * length({part}))::DOUBLE / {at}s::DOUBLE END)"
    layers[2][tokens] = lists.found(f"translate({head}, '{_UPPER}', '{_UPPER.lower()}')", TOKENS)
    number_of = lists.size(tokens)
    if isinstance(one, DrawnToken):
        # The draw depends on the text alone: the same text gives the same token, in any engine and order.
        drawn = lists.item(tokens, f"({lists.hashed(x, 7)} % {number_of} + 1)::INTEGER")
        bucket = f"substr(md5({drawn}), 1, 1)"
        return f"(CASE WHEN {x} IS NULL THEN NULL WHEN {number_of} = 0 THEN '{NO_TOKEN}' ELSE {bucket} END)"
    if one.figure == "tokens":
        return f"(CASE WHEN {x} IS NOT NULL THEN {number_of}::DOUBLE END)"
    new = lists.size(lists.kept(tokens, f"NOT ({lists.bit(one.seen, lists.hashed(ELEMENT, 4))})"))
    share = f"{new}::DOUBLE / {number_of}::DOUBLE"
    judged = f"substr(md5({x}), 1, 1) <> '{LEARNED_FROM}'"
    return f"(CASE WHEN NOT {judged} THEN NULL WHEN {number_of} = 0 THEN 0.0::DOUBLE ELSE {share} END)"


def _vector(columns: Columns, lists: Lists, one: Along, prefix: str, layers: list[dict[str, str]]) -> str:
    """A length along a direction, or the norm. Layers: the list, whether it is sound, its steps."""
    if columns.family(one.column) != "vector":
        return "NULL::DOUBLE"
    at = f"{prefix}v{_place(one.column, columns)}_{len(one.direction)}_{one.scale.hex().split('p')[1].lstrip('+')}"
    at = at.replace("-", "m")
    v, sound, steps = f"{at}v", f"{at}f", f"{at}q"
    column = columns.dialect.quoted(one.column)
    layers[0][v] = f"(CASE WHEN {lists.size(column)} = {len(one.direction)} THEN {lists.doubles(column)} END)"
    holes = lists.size(lists.kept(v, f"{ELEMENT} IS NULL OR isnan({ELEMENT})"))
    infinite = lists.size(lists.kept(v, columns.dialect.infinite.replace("{x}", ELEMENT)))
    layers[1][sound] = (
        f"(CASE WHEN {v} IS NULL THEN NULL WHEN {holes} > 0 THEN 'NaN'::DOUBLE "
        f"WHEN {infinite} > 0 THEN 'Infinity'::DOUBLE ELSE 0.0::DOUBLE END)"
    )
    clipped = f"greatest(least(coalesce({ELEMENT}, 0) * {double(one.scale)}, {double(CLIP)}), {double(-CLIP)})"
    # Zeros instead of NULL: DuckDB's product refuses lists that are not there.
    zeros = lists.whole_numbers([0] * len(one.direction))
    layers[2][steps] = f"(CASE WHEN {sound} = 0 THEN {lists.each(v, f'floor({clipped})::DOUBLE')} ELSE {zeros} END)"
    if any(one.direction):
        reach = f"{lists.dot(steps, lists.whole_numbers(one.direction))} / {double(one.scale * UNIT)}"
    else:
        reach = f"sqrt({lists.dot(steps, steps)}) / {double(one.scale)}"
    return f"(CASE WHEN {sound} = 0 THEN {reach} ELSE {sound} END)"


def _query(columns: Columns, lists: Lists, one: OfQuery, prefix: str, layers: list[dict[str, str]]) -> str:
    """A figure of a query. Layers: what is known of a row, its places, the sums over its query."""
    at = prefix + "_".join(str(_place(c, columns)) for c in (one.query, one.score, one.label))
    query, score, gain, came, known = (f"{at}{letter}" for letter in "qsgcy")
    x, relevance = number(columns, Number(one.score)), number(columns, Number(one.label))
    clock, whole = (
        micros(columns, one.time),
        f"floor(least(greatest({relevance}, 0.0::DOUBLE), {double(MOST_RELEVANT)}))",
    )
    layers[0] |= {
        query: text(columns, Text(one.query)),
        score: f"(CASE WHEN NOT isnan({x}) THEN {x} END)",
        gain: f"(CASE WHEN NOT isnan({relevance}) THEN {_item(lists, _gains(), f'({whole})::INTEGER + 1')} END)",
        known: f"({text(columns, Text(one.label))} IS NOT NULL)",
        came: clock if one.label_time is None else f"greatest({clock}, {micros(columns, one.label_time)})",
    }
    place, ideal, last = f"{at}p", f"{at}i", f"{at}n"
    layers[1] |= {
        place: f"count({score}) OVER (PARTITION BY {query} ORDER BY {score} DESC NULLS LAST)",
        ideal: f"row_number() OVER (PARTITION BY {query} ORDER BY {gain} DESC NULLS LAST)",
        last: f"row_number() OVER (PARTITION BY {query} ORDER BY CASE WHEN {known} THEN {came} END DESC NULLS LAST)",
    }

    def discount(where: str) -> str:
        return (
            f"(CASE WHEN {where} BETWEEN 1 AND {DEPTH} THEN {_item(lists, DISCOUNTS, f'{where}::INTEGER')} ELSE 0 END)"
        )

    counted = f"{score} IS NOT NULL AND {gain} IS NOT NULL"
    layers[2] |= {
        f"{at}d": f"(CASE WHEN {counted} THEN {gain} * {discount(place)} ELSE 0 END)",
        f"{at}b": f"(CASE WHEN {gain} IS NOT NULL THEN {gain} * {discount(ideal)} ELSE 0 END)",
        f"{at}r": f"(CASE WHEN {counted} AND {gain} > 0 THEN 1.0::DOUBLE / {place}::DOUBLE END)",
    }
    over = f"OVER (PARTITION BY {query})"
    told = f"{query} IS NOT NULL AND {last} = 1 AND {known}"
    if one.figure == "mrr":
        layers[3][f"{at}mrr"] = f"coalesce(max({at}r) {over}, 0.0::DOUBLE)"
        return f"(CASE WHEN {told} THEN {at}mrr END)"
    layers[3] |= {f"{at}sd": f"(sum({at}d) {over})::DOUBLE", f"{at}sb": f"(sum({at}b) {over})::DOUBLE"}
    return f"(CASE WHEN {told} AND {at}sb > 0 THEN {at}sd / {at}sb END)"


def _gains() -> tuple[int, ...]:
    return tuple(2**relevance - 1 for relevance in range(MOST_RELEVANT + 1))


def _item(lists: Lists, numbers: Iterable[int], place: str) -> str:
    return f"{lists.item(lists.whole_numbers(numbers), place)}"
