from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import BundleError
from assay.signing import canonical

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2.0**52), 2.0**52) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_is_written_is_read_back_and_written_the_same(value: object) -> None:
    text = canonical.dumps(value)
    assert canonical.dumps(canonical.parse(text, what="note")) == text


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_bytes_are_json_or_our_error(text: bytes | str) -> None:
    try:
        canonical.parse(text, what="note")
    except BundleError as err:
        assert [finding.rule for finding in err.findings] == ["signature.malformed"]  # noqa: PT017 - both ends are right


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"b": 2, "a": 1, "a": 3}', "'a' stands twice"),
        ("[NaN]", "no JSON number"),
        ("[Infinity]", "no JSON number"),
        ("[1e999]", "too large"),
        ('["\\ud800"]', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ("[" * 65 + "]" * 65, "nested deeper"),
        ("[" * 1_000_000, "nested deeper"),
        ('{"a":' * 100_000, "nested deeper"),
        ("1" * 5000, "plain JSON"),
        (b"\xef\xbb\xbf{}", "plain JSON"),
        ('"a"'.encode("utf-16"), "plain JSON"),
        (b'"\xff"', "plain JSON"),
        ("[" + "0," * 4_000_000 + "0]", "more than 4000000 values"),
        (b" " * (canonical.MAX_BYTES + 1), "more than 67108864"),
        ("\ud800", "plain JSON"),
    ],
    ids=lambda value: str(value)[:16],
)
def test_json_that_is_huge_deep_or_ambiguous_is_refused_soon(text: str | bytes, says: str) -> None:
    start = time.thread_time()
    with pytest.raises(BundleError, match=says):
        canonical.parse(text, what="note")
    assert time.thread_time() - start < 5


def test_nothing_at_all_is_said_to_be_empty() -> None:
    for text in ("", b"", b" \n"):
        with pytest.raises(BundleError, match="it is empty"):
            canonical.parse(text, what="note")


def test_nesting_up_to_the_limit_is_read() -> None:
    text = "[" * canonical.MAX_DEPTH + "]" * canonical.MAX_DEPTH
    assert canonical.parse(text, what="note") == json.loads(text)


@pytest.mark.parametrize("value", [math.nan, 2**60, {1: 2}, b"bytes", "\ud800"])
def test_what_has_no_canonical_form_is_a_callers_error(value: object) -> None:
    with pytest.raises(ValueError, match="not canonical JSON"):
        canonical.dumps(value)


def test_what_is_exactly_as_large_as_allowed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MAX_BYTES", 12)
    monkeypatch.setattr(canonical, "MAX_NODES", 4)
    assert canonical.parse(b"[1, 2, 3]   ", what="note") == [1, 2, 3]
    assert canonical.parse(b"[1, 2, 3, 4]", what="note") == [1, 2, 3, 4]
    with pytest.raises(BundleError, match="more than 4 values"):
        canonical.parse(b"[1,2,3,4,5]", what="note")
    with pytest.raises(BundleError, match="13 bytes, more than 12"):
        canonical.parse(b"[1, 2, 3]    ", what="note")


@pytest.mark.parametrize("value", [-1, 2**53, True, 1.0, "1", None])
def test_only_whole_numbers_that_every_reader_keeps_are_taken(value: object) -> None:
    with pytest.raises(BundleError, match="whole number from 0"):
        canonical.whole(value, what="size")


def test_the_whole_numbers_at_both_ends_are_taken() -> None:
    assert [canonical.whole(value, what="size") for value in (0, 2**53 - 1)] == [0, 2**53 - 1]


def test_an_empty_string_is_taken_only_where_it_may_be() -> None:
    assert canonical.string("", what="name", empty=True) == ""
    for value, empty in (("", False), (None, True), (0, True)):
        with pytest.raises(BundleError, match="not empty was wanted"):
            canonical.string(value, what="name", empty=empty)


@pytest.mark.parametrize(
    ("value", "length"), [("abc", None), ("AB", None), ("ab", 4), ("zz", None), ("", None), (7, None)]
)
def test_only_whole_bytes_in_lower_case_are_hexadecimal(value: object, length: int | None) -> None:
    assert canonical.hexadecimal("00ff", what="digest") == canonical.hexadecimal("00ff", 4, what="digest") == "00ff"
    with pytest.raises(BundleError):
        canonical.hexadecimal(value, length, what="digest")
