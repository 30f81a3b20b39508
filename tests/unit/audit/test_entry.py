from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.audit.entry import MAX_BYTES, Entry
from assay.errors import LogError

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=4), st.datetimes(timezones=st.just(UTC)))
def test_an_entry_comes_back_from_its_bytes(subject: str, actor: str, data: dict[str, object], time: datetime) -> None:
    entry = Entry("model.signed", subject, time, actor, data)
    again = Entry.parse(entry.canonical())
    assert again.canonical() == entry.canonical()
    assert (again.subject, again.actor, again.time) == (subject, actor, time)


def test_the_bytes_are_those_of_rfc_8785() -> None:
    entry = Entry("model.signed", "spam", NOW, "anna", {"b": 1.0, "a": ("x", None)})
    assert entry.canonical() == (
        b'{"actor":"anna","data":{"a":["x",null],"b":1},"kind":"model.signed","subject":"spam",'
        b'"time":"2026-03-01T09:30:00.000000Z","version":1}'
    )


def test_a_float_beyond_the_whole_numbers_comes_back() -> None:
    entry = Entry("model.signed", "spam", NOW, "anna", {"rate": 1e17, "neg": -(2.0**53)})
    assert Entry.parse(entry.canonical()).data == entry.data


def test_data_changed_by_the_caller_later_is_not_changed_in_the_entry() -> None:
    inner = ["x"]
    entry = Entry("model.signed", "spam", NOW, "anna", {"files": inner})
    before = entry.canonical()
    inner.append("y")
    assert entry.canonical() == before


@pytest.mark.parametrize("kind", ["", "signed", "Model.signed", "model.", "model signed", "model.signed\n"])
def test_a_kind_without_dotted_words_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        Entry(kind, "spam", NOW, "anna", {})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"x": float("nan")}, "JSON"),
        ({"x": 2**60}, "JSON"),
        ({"x": object()}, "object"),
        ({"x": b"raw"}, "bytes"),
        ({"x": [{1: 2}]}, "no text"),
        ({"x": "\ud800"}, "surrogate|JSON"),
        ({"x": "y" * MAX_BYTES}, "longer"),
    ],
)
def test_data_that_json_cannot_carry_is_refused(data: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Entry("model.signed", "spam", NOW, "anna", data)


def test_data_nested_without_end_is_refused() -> None:
    loop: dict[str, object] = {}
    loop["again"] = loop
    with pytest.raises(ValueError, match="deeper"):
        Entry("model.signed", "spam", NOW, "anna", loop)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        Entry("model.signed", "spam", datetime(2026, 3, 1), "anna", {})  # noqa: DTZ001 the attack


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_our_error(body: bytes) -> None:
    with pytest.raises(LogError):
        Entry.parse(body)


def fields() -> dict[str, object]:
    found: dict[str, object] = json.loads(Entry("model.signed", "spam", NOW, "anna", {"a": 1}).canonical())
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kind": None},
        {"kind": "Signed"},
        {"time": "yesterday"},
        {"time": "2026-03-01T09:30:00Z"},
        {"data": []},
        {"extra": 1},
    ],
)
def test_bent_fields_are_refused(change: dict[str, object]) -> None:
    body = json.dumps(fields() | change, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(LogError):
        Entry.parse(body)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(fields()).encode(),  # spaces
        json.dumps(fields(), separators=(",", ":"), sort_keys=True)
        .encode()
        .replace(b'{"actor"', b'{"actor":"x","actor"'),
        b"[" * 100_000,
        b"{" + b" " * MAX_BYTES + b"}",
    ],
)
def test_another_spelling_of_an_entry_is_refused(body: bytes) -> None:
    with pytest.raises(LogError):
        Entry.parse(body)


def test_the_printed_entry_has_documented_keys() -> None:
    assert Entry("model.signed", "spam", NOW, "anna", {"a": 1}).as_json() == {
        "kind": "model.signed",
        "subject": "spam",
        "time": "2026-03-01T09:30:00.000000Z",
        "actor": "anna",
        "data": {"a": 1},
    }
