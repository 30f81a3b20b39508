"""Counts small files of plain columns as a statement would, and says None where only a statement can.

What a code is stands in `assay.engines.sql`; here is the same of arrays, for those values alone about which no two
databases differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from assay.engines.base import (
    MISSING,
    Bins,
    Code,
    CountQuery,
    Distance,
    Failed,
    Gap,
    Number,
    Oddities,
    Quantity,
    Question,
    Tally,
    Text,
    Values,
)
from assay.engines.binning import UNDATED, Codes, Doubles, Longs, bins, edges_of
from assay.engines.made import Difference
from assay.engines.plain import Mask, Plain, Texts, read
from assay.engines.tallying import Counting
from assay.engines.times import to_micros

_NO_FAILURE: Final = frozenset({"", "false", "0"})


class _Unsaid(Exception):  # noqa: N818 - no error: a statement answers
    """Only a statement can say it."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one file, each column of texts made once."""

    of: Plain
    made: dict[str, Texts]

    def doubles(self, column: str) -> tuple[Doubles, Mask]:
        found = self.of.columns[column].doubles()
        if found is None:
            raise _Unsaid
        return found, self.of.columns[column].there

    def texts(self, column: str) -> Texts:
        if column not in self.made:
            found = self.of.columns[column].texts()
            if found is None:
                raise _Unsaid
            self.made[column] = found
        return self.made[column]

    def said(self, column: str) -> Mask:
        found = self.of.columns[column].said()
        if found is None:
            raise _Unsaid
        return found

    def micros(self, column: str) -> Longs:
        found = self.of.columns[column].micros()
        if found is None:
            raise _Unsaid
        return found

    def agree(self, left: str, right: str) -> Codes:
        """1 where two columns are the same as texts, 0 where not, `MISSING` where either is none."""
        one, other = self.texts(left), self.texts(right)
        places = {word: place for place, word in enumerate(one.words)}
        same = np.array([places.get(word, -2) for word in other.words] or [-2], dtype=np.int64)
        found = (one.which == same[other.which]).astype(np.int32)
        return np.where((one.which < 0) | (other.which < 0), np.int32(MISSING), found)

    def code(self, asked: Code) -> Codes:
        if isinstance(asked, Bins):
            x, there, known = self.number(asked.of)
            if there.all():
                return bins(edges_of(asked.edges), x, None, known)
            return bins(edges_of(asked.edges), np.where(there, x, np.nan), there, known)
        if isinstance(asked, Values):
            if not isinstance(asked.of, Text):
                raise _Unsaid
            found = self.texts(asked.of.column)
            places: dict[str, int] = {}
            for place, value in enumerate(asked.values):
                places.setdefault(value, place)
            codes = [places.get(word, len(asked.values)) for word in found.words]
            return np.array([*codes, MISSING], dtype=np.int32)[found.which]
        if isinstance(asked, Failed):
            return self.failed(asked.column)
        same = self.agree(asked.prediction, asked.label)
        return np.where(same == MISSING, same, 1 - same)

    def failed(self, column: str) -> Codes:
        one = self.of.columns[column]
        if one.family != "text":
            x, there = self.doubles(column)
            failed: Mask = (x != 0) & there
            return failed.astype(np.int32)
        found = self.texts(column)
        if not all(word.isascii() for word in found.words):
            raise _Unsaid  # which signs are spaces is told by a table of Unicode
        said = [int(word.strip(" ").lower() not in _NO_FAILURE) for word in found.words]
        return np.array([*said, 0], dtype=np.int32)[found.which]

    def number(self, of: Quantity) -> tuple[Doubles, Mask, Mask | None]:
        """A quantity, where it is one, and where its columns have values; None for just there."""
        if isinstance(of, Number):
            return *self.doubles(of.column), None
        if isinstance(of, Distance | Difference):
            (left, there), (right, too) = self.doubles(of.left), self.doubles(of.right)
            with np.errstate(over="ignore", invalid="ignore"):
                apart = left - right
            return np.abs(apart) if isinstance(of, Distance) else apart, there & too, None
        if isinstance(of, Gap):
            said, there = self.doubles(of.confidence)
            same = self.agree(of.prediction, of.label)
            known = there & self.of.columns[of.prediction].there & self.of.columns[of.label].there
            return np.abs(said - same), there & (same != MISSING), known
        raise _Unsaid


def counts(
    files: Sequence[str], query: CountQuery, asked: Sequence[Question]
) -> tuple[list[Mapping[tuple[int, ...], int]], Tally] | None:
    """Count every question; see `assay.engines.streaming.counts`. None where a statement must.

    Args:
        files: CSV and Parquet files.
        query: The windows and the clocks.
        asked: The questions, each once.
    """
    codes = list(dict.fromkeys(code for question in asked for code in question.codes))
    by_label = any(question.clock == "label" for question in asked)
    wanted = {query.time, *(name for code in codes for name in _columns(code))}
    wanted |= {name for name in (query.label, query.label_time) if by_label and name is not None}
    tables = read(files, sorted(wanted))
    if tables is None:
        return None
    counting = Counting(query, asked, codes)
    try:
        for table in tables:
            rows = _Rows(table, {})
            clocks = [rows.micros(query.time)]
            if by_label:
                clocks.append(_came(rows, query, clocks[0]))
            counting.add(clocks, [rows.code(code) for code in codes])
    except _Unsaid:
        return None
    return counting.told()


def _came(rows: _Rows, query: CountQuery, clock: Longs) -> Longs:
    """When each row's label came; `UNDATED` where none did."""
    known = rows.said(query.label or "") & (clock != UNDATED)
    known &= clock >= to_micros(query.answered) if query.answered else True
    came = clock if query.label_time is None else np.maximum(clock, rows.micros(query.label_time))
    return np.where(known, came, UNDATED)


def _columns(code: Code) -> Iterable[str]:
    """The columns of a code; an empty name, which no file has, for what is not plain."""
    if isinstance(code, Failed):
        return (code.column,)
    if isinstance(code, Bins | Values):
        of = code.of
        if isinstance(of, Number | Text):
            return (of.column,)
        if isinstance(of, Distance | Difference):
            return of.left, of.right
        return (of.confidence, of.prediction, of.label) if isinstance(of, Gap) else ("",)
    return code.prediction, code.label


def oddities(
    files: Sequence[str],
    *,
    time: str,
    now: datetime,
    request_id: str | None,
    label: str | None,
    label_time: str | None,
    columns: Sequence[str],
    since: datetime | None,
) -> Oddities | None:
    """What is strange about rows; see `assay.engines.base.Engine.oddities`. None where a statement must say it."""
    wanted = {time, *columns} | {name for name in (request_id, label) if name is not None}
    wanted |= {label_time} if label is not None and label_time is not None else set()
    tables = read(files, sorted(wanted))
    if tables is None:
        return None
    found = dict.fromkeys(("rows", "undated", "backward", "future", "labelled", "with_id"), 0)
    found |= dict.fromkeys(("early_labels", "future_labels"), 0)
    ids: set[str] = set()
    told = dict.fromkeys(columns, 0)
    try:
        for table in tables:
            rows = _Rows(table, {})
            clock = rows.micros(time)
            dated = clock != UNDATED
            keep = ~dated | (clock >= to_micros(since)) if since is not None else np.ones(table.rows, dtype=np.bool_)
            before = np.concatenate([np.full(1, UNDATED), clock])[: table.rows]
            masks = {
                "rows": keep,
                "undated": ~dated,
                "backward": dated & (before != UNDATED) & (clock < before),
                "future": dated & (clock > to_micros(now)),
            }
            if request_id is not None:
                said = rows.texts(request_id)
                masks["with_id"] = said.which >= 0
                ids |= said.told(keep)
            if label is not None:
                masks["labelled"] = rows.said(label)
                if label_time is not None:
                    came = rows.micros(label_time)
                    masks["early_labels"] = masks["labelled"] & dated & (came != UNDATED) & (came < clock)
                    masks["future_labels"] = masks["labelled"] & (came > to_micros(now))
            for name, mask in masks.items():
                found[name] += int((keep & mask).sum())
            kept = int(keep.sum())
            for name in columns:
                one = table.columns[name]
                told[name] += kept if one.full else int((keep & one.there).sum())
    except _Unsaid:
        return None
    known = found.pop("with_id")
    repeated, without = (known - len(ids), found["rows"] - known) if request_id is not None else (0, 0)
    return Oddities(**found, repeated_ids=repeated, without_id=without, counts=told)
