"""The limits of an entry: the last that is taken, the first that is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assay.audit.entry import MAX_BYTES, MAX_DEPTH, Entry
from assay.errors import LogError

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ROOM = MAX_BYTES - len(Entry("model.signed", "spam", NOW, "anna", {"x": ""}).canonical())


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 0


def test_an_entry_of_the_longest_length_is_taken_and_read_and_a_longer_one_is_not() -> None:
    longest = Entry("model.signed", "spam", NOW, "anna", {"x": "y" * ROOM})
    assert len(longest.canonical()) == MAX_BYTES
    assert Entry.parse(longest.canonical()).data == longest.data
    with pytest.raises(ValueError, match="longer"):
        Entry("model.signed", "spam", NOW, "anna", {"x": "y" * (ROOM + 1)})


def test_bytes_that_are_too_long_are_refused_before_they_are_parsed() -> None:
    small = Entry("model.signed", "spam", NOW, "anna", {}).canonical()
    with pytest.raises(LogError, match="longer than"):
        Entry.parse(small + b" " * MAX_BYTES)


def test_data_of_the_deepest_nesting_is_taken_and_deeper_is_not() -> None:
    deepest = Entry("model.signed", "spam", NOW, "anna", {"x": nested(MAX_DEPTH - 1)})
    assert Entry.parse(deepest.canonical()).data == deepest.data
    with pytest.raises(ValueError, match="nested deeper"):
        Entry("model.signed", "spam", NOW, "anna", {"x": nested(MAX_DEPTH)})


def test_whole_numbers_up_to_the_last_exact_one_stay_whole() -> None:
    for number in (2**53 - 1, -(2**53) + 1):
        found = Entry.parse(Entry("model.signed", "spam", NOW, "anna", {"x": number}).canonical()).data["x"]
        assert (found, type(found)) == (number, int)


SMALL = Entry("model.signed", "spam", NOW, "anna", {}).canonical()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "fields of an entry"),
        (b"3", "fields of an entry"),
        (b"{}", "fields of an entry"),
        (SMALL.replace(b'"actor"', b'"Actor"'), "fields of an entry"),
        (SMALL.replace(b'{"actor"', b'{"aa":1,"actor"'), "fields of an entry"),
        (SMALL.replace(b'"version":1', b'"version":2'), "newer layout"),
        (SMALL.replace(b'"anna"', b"7"), "wrong type"),
        (SMALL.replace(b'"data":{}', b'"data":[]'), "wrong type"),
        (SMALL.replace(b'"spam"', b"null"), "wrong type"),
        (SMALL.replace(b'"model.signed"', b"1"), "wrong type"),
        (b" " + SMALL, "not canonical"),
    ],
)
def test_bytes_that_are_no_entry_say_why(body: bytes, said: str) -> None:
    with pytest.raises(LogError, match=said):
        Entry.parse(body)
