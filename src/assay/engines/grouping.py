"""The statement that counts many questions in one scan, and how its rows become answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from assay.engines.base import Code, CountQuery, Question, Text
from assay.engines.sql import Columns, code, micros, text, window
from assay.engines.times import to_micros

MOST_CODES: Final = 60
"""Codes of one statement: a row's set is told by one bit each, and by two for the clocks, in 63."""

Cell = int | float | str | None
Answer = dict[tuple[int, ...], int]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Questions of one statement.

    Attributes:
        statement: Gives the set, a window by each clock, a place by each code, and the rows that are there.
        sets: The columns of each question, in the order of its answer's keys.
    """

    statement: str
    sets: tuple[tuple[int, ...], ...]


def parts(questions: Sequence[Question], sets: int, most: int = MOST_CODES) -> Iterator[list[Question]]:
    """The questions in parts that one statement each can answer: so many sets, and no more codes than are told."""
    part: list[Question] = []
    codes: set[Code] = set()
    for question in questions:
        if part and (len(part) == sets or len(codes | set(question.codes)) > most):
            yield part
            part, codes = [], set()
        part.append(question)
        codes |= set(question.codes)
    if part:
        yield part


def distinct(questions: Iterable[Question]) -> dict[Question, list[str]]:
    """Every different question once, with the names of all that ask it."""
    found: dict[Question, list[str]] = {}
    for question in questions:
        found.setdefault(Question("", question.codes, question.clock), []).append(question.name)
    return found


def group(
    table: str, columns: Columns, query: CountQuery, questions: Sequence[Question], cuts: Sequence[int]
) -> Grouped:
    """One scan: codes first, then a grouping set per question. No code is NULL, so NULL says "not in this set"."""
    places = {asked: f"k{i}" for i, asked in enumerate(dict.fromkeys(c for one in questions for c in one.codes))}
    clock = micros(columns, query.time)
    scan = [f"{clock} AS t", *(f"{code(columns, asked)} AS {place}" for asked, place in places.items())]
    clocks = {question.clock for question in questions}
    windows = {"w_time": "t"} if "time" in clocks else {}
    if "label" in clocks:
        came = clock if query.label_time is None else f"greatest({clock}, {micros(columns, query.label_time)})"
        since = f">= {to_micros(query.answered)}" if query.answered else "IS NOT NULL"
        known = f"{text(columns, Text(cast('str', query.label)))} IS NOT NULL AND {clock} {since}"
        scan.append(f"(CASE WHEN {known} THEN {came} END) AS y")
        windows["w_label"] = "y"
    sets = [(f"w_{one.clock}", *(places[asked] for asked in one.codes)) for one in questions]
    # Spark takes grouping_id only of the columns in the order in which the sets name them first.
    names = list(dict.fromkeys(name for one in sets for name in one))
    at = {name: i for i, name in enumerate(names, start=1)}
    seen = [
        f"(CASE WHEN {when} IS NULL THEN -1 ELSE {window(columns.dialect, when, cuts)} END) AS {name}"
        for name, when in windows.items()
    ]
    rows = f"SELECT {', '.join([*seen, *places.values()])} FROM (SELECT {', '.join(scan)} FROM {table}) AS coded"
    grouping = ", ".join(f"({', '.join(dict.fromkeys(one))})" for one in sets)
    statement = (
        f"SELECT grouping_id({', '.join(names)}), {', '.join(names)}, count(*) FROM ({rows}) AS seen "
        f"GROUP BY GROUPING SETS ({grouping})"
    )
    return Grouped(statement, tuple(tuple(at[name] for name in one) for one in sets))


def read(grouped: Grouped, rows: Iterable[tuple[Cell, ...]], windows: int) -> list[Answer]:
    """The answer of each question, by window and codes, without rows outside the windows."""
    answers: list[Answer] = [{} for _ in grouped.sets]
    width = max((max(one) for one in grouped.sets), default=0)
    # A bit is set for every column that is *not* in the row's set, the first column's is the highest.
    whole = 2**width - 1
    by_set = {whole - sum(2 ** (width - at) for at in set(one)): i for i, one in enumerate(grouped.sets)}
    for row in rows:
        place = by_set[cast("int", row[0])]
        key = tuple(cast("int", row[at]) for at in grouped.sets[place])
        if 0 <= key[0] < windows:
            answers[place][key] = cast("int", row[-1])
    return answers
