from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import containers

from assay.errors import FormatError
from assay.formats import json_text, lightgbm
from assay.formats.base import Part, ViewContent
from assay.formats.json_text import JsonText
from assay.formats.lightgbm import LightGbm
from assay.formats.ubjson import Ubjson
from assay.formats.xgboost import XgboostJson, XgboostUbj

TEXT = containers.lightgbm_file()
BOOSTERS = ["gbtree", "gblinear", "dart"]


def content(raw: bytes) -> ViewContent:
    return ViewContent(memoryview(raw))


def sections(raw: bytes) -> dict[str, Part]:
    return {part.name: part for part in LightGbm().parts(content(raw))}


@pytest.mark.parametrize("raw", [TEXT, containers.lightgbm_text()])
def test_sections_cover_every_byte_of_a_lightgbm_model(raw: bytes) -> None:
    found = sections(raw)
    assert list(found) == [
        "header",
        *(f"Tree={index}" for index in range(5)),
        "end of trees",
        "feature_importances",
        "parameters",
        "pandas_categorical",
    ]
    assert b"".join(raw[part.start : part.end] for part in found.values()) == raw
    assert b"".join(LightGbm().elements(content(raw), found["Tree=1"])).startswith(b"Tree=1\n")


def test_marks_at_the_edge_of_a_piece_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sections(TEXT)
    for size in (1, 7, 64, 100):
        monkeypatch.setattr(lightgbm, "_PIECE_BYTES", size)
        assert sections(TEXT) == whole


@pytest.mark.parametrize(
    ("flaw", "raw", "words"),
    [
        ("missing_tree", TEXT.replace(b"\nTree=1\n", b"\nTrio=1\n"), "numbered one by one"),
        ("tree_after_trees", TEXT.replace(b"\nparameters:\n", b"\nTree=5\n"), "numbered one by one"),
        ("no_end", TEXT.replace(b"end of trees", b"end of texts"), "after the trees"),
        ("sections_turned", TEXT.replace(b"\nend of trees", b"\nparameters:\nend of trees"), "after the trees"),
        ("other_sizes", TEXT.replace(b"tree_sizes=", b"tree_sizes=1 "), "not as long as"),
        ("sizes_twice", TEXT.replace(b"\ntree_sizes=", b"\ntree_sizes=1\ntree_sizes="), "twice"),
        ("cut", TEXT[:-1], "does not end with a line"),
        ("empty", b"", "after the trees"),
    ],
)
def test_a_lightgbm_model_that_can_be_read_in_two_ways_is_refused(flaw: str, raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        LightGbm().parts(content(raw))
    assert flaw


def test_models_that_only_cost_time_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm, "MAX_HEADER_BYTES", 10)
    with pytest.raises(FormatError, match="its header has"):
        sections(TEXT)
    monkeypatch.setattr(lightgbm, "MAX_TREES", 3)
    with pytest.raises(FormatError, match="more than 3"):
        sections(TEXT)


@pytest.mark.parametrize("booster", BOOSTERS)
def test_pieces_of_an_xgboost_model_are_values_of_its_json(booster: str) -> None:
    raw = containers.xgboost_model("json", booster)
    found = {part.name: json.loads(raw[part.start : part.end]) for part in XgboostJson().parts(content(raw))}
    for name, value in found.items():
        there = json.loads(raw)
        for key in name.split("."):
            there = there[int(key) if isinstance(there, list) else key]
        assert value == there
    assert len([name for name in found if ".trees." in name]) == (0 if booster == "gblinear" else 4)


@pytest.mark.parametrize("booster", BOOSTERS)
def test_both_forms_of_an_xgboost_model_have_the_same_pieces(booster: str) -> None:
    text, binary = (containers.xgboost_model(kind, booster) for kind in ("json", "ubj"))
    names = [part.name for part in XgboostJson().parts(content(text))]
    found = XgboostUbj().parts(content(binary))
    assert [part.name for part in found] == names
    assert b"".join(XgboostUbj().elements(content(binary), found[0])) == binary[found[0].start : found[0].end]


def test_other_json_is_no_xgboost_model() -> None:
    for raw in (b'{"classes": 2}', b'{"version": "1", "learner": {}}', b"[]", b'{"x": {"learner": 1}}'):
        assert not XgboostJson().accepts(content(raw))
    assert XgboostJson().accepts(content(b' {"version": [3, 2, 0], "learner": {}}'))
    assert not XgboostUbj().accepts(content(b"{i\x01a}"))
    assert XgboostUbj().accepts(content(containers.SOUND[".ubj"]()))


@pytest.mark.parametrize("window", [1 << 20, 100, 65])
def test_windows_do_not_change_what_is_read(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.dumps(json.loads(containers.SOUND[".json"]()), indent=1).encode()
    whole = XgboostJson().parts(content(raw))
    monkeypatch.setattr(json_text, "_WINDOW_BYTES", window)
    assert XgboostJson().parts(content(raw)) == whole


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "ends before"),
        (b"[]", "no object"),
        (b"1", "no object"),
        (b"{", "ends before"),
        (b'{"learner": {}', "ends before"),
        (b'{"learner": {}}}', "something follows"),
        (b'{"learner": {}, "learner": {}}', "twice"),
        (b'{"learner": {"a": 1, "\\u0061": 2}}', "twice"),
        (b'{"learner": {"a": 1}, "learner.a": 2}', "one name"),
        (b'{"a": [1}', "do not match"),
        (b'{"a": [[1]', "within brackets"),
        (b'{"a": "x', "within a string"),
        (b'{"a": }', "no value"),
        (b'{"a" 1}', "should be :"),
        (b'{"a": 1 2}', "should be ,"),
        (b"{1: 2}", "should begin a key"),
        (b'{"\\x": 2}', "is malformed"),
        (b'{"a": 1,}', "should begin a key"),
        (b'{"' + b"k" * 70_000 + b'": 1}', "too long"),
        (b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}", "nested more"),
        (b'{"learner": {"gradient_booster": {"model": {"trees": [1 2]}}}}', "should be ,"),
    ],
)
def test_json_that_can_be_read_in_two_ways_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        XgboostJson().parts(content(raw))


def key(name: bytes) -> bytes:
    return b"L" + len(name).to_bytes(8, "big") + name


def test_every_kind_of_binary_value_is_read_over() -> None:
    values = [b"Z", b"T", b"i\x01", b"I\0\1", b"l\0\0\0\1", b"D" + bytes(8), b"Si\x02ab", b"Hi\x011", b"Cx"]
    lists = [b"[" + b"".join(values) + b"]", b"[#i\x02TF", b"[$d#i\x02" + bytes(8), b"[$Z#U\xff", b"{i\x01a{}}", b"[]"]
    raw = b"{" + b"".join(key(b"%d" % index) + one for index, one in enumerate([*values, *lists])) + b"}"
    found = XgboostUbj().parts(content(raw))
    assert [raw[part.start : part.end] for part in found] == [*values, *lists]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "are wanted"),
        (b"[]", "no object"),
        (b"{", "are wanted"),
        (b"{}x", "bytes follow"),
        (b"{" + (key(b"a") + b"T") * 2 + b"}", "twice"),
        (b"{" + key(b"a") + b"q}", "no value"),
        (b"{" + key(b"a") + b"Si\xff}", "is negative"),
        (b"{" + key(b"a") + b"Sd}", "no whole number"),
        (b"{" + key(b"a") + b"[$d]}", "no numbers or no length"),
        (b"{" + key(b"a") + b"[$S#i\x01i\x01a}", "no numbers or no length"),
        (b"{" + key(b"a") + b"[" * 1000 + b"]" * 1000 + b"}", "nested more"),
        (b"{L" + (1 << 40).to_bytes(8, "big"), "a key claims"),
        (b"{" + key(b"\xff") + b"T}", "not UTF-8"),
        (b"{" + key(b"learner") + b"[#L" + (1 << 60).to_bytes(8, "big") + b"T}", "no value|are wanted"),
    ],
)
def test_binary_json_that_can_be_read_in_two_ways_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        XgboostUbj().parts(content(raw))


def test_an_array_where_an_object_should_be_is_refused() -> None:
    with pytest.raises(FormatError, match="should begin with"):
        list(Ubjson(content(b"[]")).members())
    with pytest.raises(FormatError, match=r"should be \{"):
        list(JsonText(content(b"[]")).members())
    assert list(JsonText(content(b"[]")).items()) == []


class Shrunk:
    """Content that claims more bytes than it has."""

    size = 1000

    def read(self, start: int, length: int) -> bytes:
        return b'{"a": [1'[start : start + length]


def test_a_file_that_shrinks_while_it_is_read_ends() -> None:
    with pytest.raises(FormatError):
        XgboostJson().parts(Shrunk())
    reader = JsonText(Shrunk())
    reader.at = 900
    with pytest.raises(FormatError):
        reader.finish()


@given(st.binary(max_size=100))
def test_any_bytes_are_pieces_or_a_format_error(raw: bytes) -> None:
    for found in (XgboostJson(), XgboostUbj(), LightGbm()):
        for whole in (raw, b'{"learner":' + raw, b"{" + key(b"learner") + raw, b"tree\nversion=v4" + raw):
            try:
                parts = found.parts(content(whole))
            except FormatError:
                continue
            assert all(part.end <= len(whole) for part in parts)
