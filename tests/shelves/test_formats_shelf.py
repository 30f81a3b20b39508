"""What every container format promises."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from sklearn.linear_model import LogisticRegression

from assay.errors import FormatError
from assay.formats.base import Part, ViewContent
from assay.formats.shelf import TABLE, find

ARRAYS = {"x": np.arange(12, dtype="f4").reshape(3, 4), "y": np.ones(5, dtype="i8")}


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, ARRAYS["x"])
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **ARRAYS)  # type: ignore[arg-type]  # numpy's stub takes the keywords for its own flag
    return buffer.getvalue()


def skops_model() -> bytes:
    return bytes(skops.io.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))


# A new format adds one line: its ending and how a sound file of it is made.
SOUND: dict[str, Callable[[], bytes]] = {
    ".safetensors": lambda: save(ARRAYS),
    ".npy": npy,
    ".npz": npz,
    ".skops": skops_model,
}
RAW = {ending: make() for ending, make in SOUND.items()}


def parts(ending: str, raw: bytes) -> tuple[Part, ...]:
    content = ViewContent(memoryview(raw))
    container = find(f"model{ending}", content)
    assert container is not None
    return container.parts(content)


def test_every_format_on_the_shelf_is_tested_here() -> None:
    assert set(SOUND) == set(TABLE)


def test_a_file_of_no_known_format_has_no_parts() -> None:
    nothing = ViewContent(memoryview(b""))
    assert find("model.bin", nothing) is None
    assert find("safetensors", nothing) is None


@pytest.mark.parametrize("ending", SOUND)
def test_a_format_recognises_its_own_name_in_any_case(ending: str) -> None:
    for name in (f"a/b{ending}", f"A{ending.upper()}"):
        container = find(name, ViewContent(memoryview(RAW[ending])))
        assert container is not None
        assert container.recognises(name)
        assert not container.recognises("model.bin")
        assert container.name


@pytest.mark.parametrize("ending", SOUND)
def test_parts_are_in_order_inside_the_file_and_never_overlap(ending: str) -> None:
    found = parts(ending, RAW[ending])
    assert found
    assert len({part.name for part in found}) == len(found)
    assert found[0].start >= 0
    assert found[-1].end <= len(RAW[ending])
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize("ending", SOUND)
def test_trailing_and_missing_bytes_are_refused(ending: str) -> None:
    for raw in (RAW[ending] + b"\0", RAW[ending][:-1], b""):
        with pytest.raises(FormatError):
            parts(ending, raw)


@pytest.mark.parametrize("ending", SOUND)
@settings(max_examples=50)
@given(raw=st.binary(max_size=200))
def test_any_bytes_lead_to_parts_or_a_format_error(ending: str, raw: bytes) -> None:
    try:
        found = parts(ending, raw)
    except FormatError:
        return
    assert all(0 <= part.start <= part.end <= len(raw) for part in found)


@pytest.mark.parametrize("ending", SOUND)
@settings(max_examples=100)
@given(at=st.integers(0, 1_000_000), flip=st.integers(1, 255))
def test_one_changed_byte_leads_to_parts_or_a_format_error(ending: str, at: int, flip: int) -> None:
    raw = bytearray(RAW[ending])
    raw[at % len(raw)] ^= flip
    try:
        found = parts(ending, bytes(raw))
    except FormatError:
        return
    assert all(0 <= part.start <= part.end <= len(raw) for part in found)
