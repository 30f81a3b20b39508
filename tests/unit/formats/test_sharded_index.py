from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import FormatError
from assay.formats import sharded
from assay.formats.base import ViewContent
from assay.formats.sharded import disagreements, is_index, read_index

SHARDS = {"m/one.safetensors": {"a", "b"}, "m/two.safetensors": {"c"}, "other.safetensors": {"x"}}
MAP = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}


def index(weight_map: object) -> ViewContent:
    return ViewContent(memoryview(json.dumps({"metadata": {}, "weight_map": weight_map}).encode()))


def told(weight_map: object) -> dict[str, str]:
    found = disagreements("m/model.safetensors.index.json", index(weight_map), SHARDS)
    return {one.tensor: one.what for one in found}


def test_an_index_that_agrees_says_nothing() -> None:
    assert told(MAP) == {}
    assert is_index("a/Model.safetensors.INDEX.json")
    assert not is_index("a/model.json")


def test_a_tensor_that_is_not_where_the_index_says_is_named() -> None:
    assert "has no such tensor" in told({**MAP, "ghost": "one.safetensors"})["ghost"]
    assert "does not list it" in told({"a": "one.safetensors", "c": "two.safetensors"})["b"]
    assert set(told({**MAP, "b": "two.safetensors"})) == {"b"}
    assert "'d' and 1 more into 'm/three.safetensors', which is no file" in told(
        {**MAP, "d": "three.safetensors", "e": "three.safetensors"}
    ).get("d", "")


def test_a_shard_that_cannot_be_read_is_told_of_elsewhere() -> None:
    shards = {"one.safetensors": None, "two.safetensors": {"c"}}
    assert disagreements("model.safetensors.index.json", index(MAP), shards) == ()


@pytest.mark.parametrize("file", ["", "/etc/x", "../x", "a/../b", "./x", "a//b", "a\\b", "c:x", "x\0", 3, None])
def test_a_path_out_of_the_folder_is_refused(file: object) -> None:
    with pytest.raises(FormatError, match="no name of a file beside it"):
        read_index(index({"a": file}))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": {}}', b"[" * 100_000])
def test_what_is_no_index_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        read_index(ViewContent(memoryview(raw)))


def test_a_name_twice_and_an_endless_index_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="twice"):
        read_index(ViewContent(memoryview(b'{"weight_map": {"a": "x", "a": "y"}}')))
    monkeypatch.setattr(sharded, "MAX_INDEX_BYTES", 10)
    with pytest.raises(FormatError, match="at most 10"):
        read_index(index(MAP))


@given(st.binary(max_size=100))
def test_any_bytes_are_an_index_or_a_format_error(raw: bytes) -> None:
    for whole in (raw, b'{"weight_map":' + raw + b"}"):
        try:
            disagreements("i", ViewContent(memoryview(whole)), SHARDS)
        except FormatError:
            continue
