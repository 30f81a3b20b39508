from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.errors import FormatError
from assay.formats import skops as module
from assay.formats.base import Part, ViewContent
from assay.formats.skops import Skops

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])


def parts(raw: bytes) -> tuple[Part, ...]:
    return Skops().parts(ViewContent(memoryview(raw)))


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_are_named_by_the_attribute_they_are(method: int) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, [0, 1, 0, 1])
    found = {part.name: part.shape for part in parts(skops.io.dumps(model, compression=method))}
    assert found["steps.0.1.mean_"] == (2,)
    assert found["steps.1.1.coef_"] == (1, 2)
    assert "schema.json" in found


def test_a_member_that_no_attribute_holds_keeps_its_name() -> None:
    schema = b'{"content": {"a": {"file": "1.npy"}, "b": [{"file": "1.npy"}, {"file": 3}]}, "file": "2.npy"}'
    raw = zipped({"1.npy": b"", "2.npy": b"", "3.npy": b"", "schema.json": schema})
    assert [part.name for part in parts(raw)] == ["a", "2.npy", "3.npy", "schema.json"]


def test_a_schema_too_large_to_read_leaves_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SCHEMA_BYTES", 10)
    raw = zipped({"1.npy": b"", "schema.json": b'{"a": {"file": "1.npy"}}'})
    assert [part.name for part in parts(raw)] == ["1.npy", "schema.json"]


BOMB = zipped({"schema.json": b"[" * 1000}, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    ("flaw", "raw", "words"),
    [
        ("no_schema", zipped({"1.npy": b""}), "no schema.json"),
        ("no_json", zipped({"schema.json": b"{"}), "not the JSON object"),
        ("not_utf8", zipped({"schema.json": b'"\xff"'}), "not the JSON object"),
        ("deep", zipped({"schema.json": b"[" * 100_000}), "not the JSON object"),
        ("odd_packing", zipped({"schema.json": b"{}"}, zipfile.ZIP_BZIP2), "packed by method 12"),
        ("other_size", BOMB.replace((1000).to_bytes(4, "little"), (999).to_bytes(4, "little")), "more than the 999"),
        ("damaged", BOMB[:41] + b"\xff" + BOMB[42:], "are damaged"),
    ],
)
def test_a_model_without_a_sound_schema_is_refused(flaw: str, raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(raw)
    assert flaw
