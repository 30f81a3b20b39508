"""How engines write about lists and digests: the same answers, bit for bit, in two sets of words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

ELEMENT: Final = "made_e"
"""What an element is called inside a condition or a value."""

_WORD_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Lists:
    """How an engine writes about lists. Inside a condition or a value the element is called `ELEMENT`.

    Attributes:
        characters: A text's code points.
        found: All matches of a pattern in a text.
        without: A text without the matches of a pattern.
        size: How many elements.
        item: The element at a place from 1.
        each: A value of each element.
        kept: The elements that meet a condition.
        squares: Of texts: the sum of the squares of how often each occurs.
        dot: The sum of products of a list and another.
        whole_numbers: A list of numbers as written.
        hashed: The first hexadecimal digits of a text's MD5, so many, as a whole number.
        bit: Whether a vocabulary in hexadecimal has the bit at a place, as a condition.
        doubles: A column of lists of numbers as a list of doubles.
    """

    characters: Callable[[str], str]
    found: Callable[[str, str], str]
    without: Callable[[str, str], str]
    size: Callable[[str], str]
    item: Callable[[str, str], str]
    each: Callable[[str, str], str]
    kept: Callable[[str, str], str]
    squares: Callable[[str], str]
    dot: Callable[[str, str], str]
    whole_numbers: Callable[[Iterable[int]], str]
    hashed: Callable[[str, int], str]
    bit: Callable[[str, str], str]
    doubles: Callable[[str], str]


def duckdb_lists(literal: Callable[[str], str]) -> Lists:
    """How DuckDB writes it."""
    return Lists(
        characters=lambda x: f"string_split({x}, '')",
        found=lambda x, pattern: f"regexp_extract_all({x}, {literal(pattern)})",
        without=lambda x, pattern: f"regexp_replace({x}, {literal(pattern)}, '', 'g')",
        size=lambda x: f"len({x})",
        item=lambda x, place: f"({x})[{place}]",
        each=lambda x, value: f"[{value} FOR {ELEMENT} IN {x}]",
        kept=lambda x, said: f"[{ELEMENT} FOR {ELEMENT} IN {x} IF {said}]",
        squares=lambda x: f"list_sum([{ELEMENT} * {ELEMENT} FOR {ELEMENT} IN map_values(list_histogram({x}))])",
        dot=lambda x, y: f"list_dot_product({x}, {y})",
        whole_numbers=lambda numbers: f"[{', '.join(map(str, numbers))}]::DOUBLE[]",
        hashed=lambda x, digits: f"('0x' || substr(md5({x}), 1, {digits}))::BIGINT",
        bit=lambda seen, place: f"get_bit('{int(seen, 16):0{4 * len(seen)}b}'::BIT, ({place})::INTEGER) = 1",
        doubles=lambda x: f"{x}::DOUBLE[]",
    )


def spark_lists(literal: Callable[[str], str]) -> Lists:
    """How Spark writes it."""

    def found(x: str, pattern: str) -> str:
        return f"regexp_extract_all({x}, {literal(pattern)}, 0)"

    def bit(seen: str, place: str) -> str:
        words = (int(seen[i : i + _WORD_BITS // 4], 16) for i in range(0, len(seen), _WORD_BITS // 4))
        word = f"element_at(array({', '.join(f'{w}L' for w in words)}), (({place}) DIV {_WORD_BITS}L + 1)::INTEGER)"
        return f"(shiftright({word}, {_WORD_BITS - 1} - (({place}) % {_WORD_BITS}L)::INTEGER) & 1L) = 1L"

    def squares(x: str) -> str:  # runs of equal characters in a sorted text
        runs = found(f"array_join(sort_array({x}), '')", r"(?s)(.)\1*")
        return f"aggregate({runs}, 0L, (made_s, made_r) -> made_s + length(made_r)::BIGINT * length(made_r)::BIGINT)"

    return Lists(
        characters=lambda x: found(x, "(?s)."),
        found=found,
        without=lambda x, pattern: f"regexp_replace({x}, {literal(pattern)}, '')",
        size=lambda x: f"size({x})",
        item=lambda x, place: f"element_at({x}, {place})",
        each=lambda x, value: f"transform({x}, {ELEMENT} -> {value})",
        kept=lambda x, said: f"filter({x}, {ELEMENT} -> {said})",
        squares=squares,
        dot=lambda x, y: (
            f"aggregate(zip_with({x}, {y}, (made_a, made_b) -> made_a * made_b), 0.0D, "
            "(made_s, made_p) -> made_s + made_p)"
        ),
        whole_numbers=lambda numbers: f"array({', '.join(f'{n}D' for n in numbers)})",
        hashed=lambda x, digits: f"conv(substr(md5({x}), 1, {digits}), 16, 10)::BIGINT",
        bit=bit,
        doubles=lambda x: f"{x}::ARRAY<DOUBLE>",
    )
