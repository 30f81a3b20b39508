"""What every framework plug promises: it opens the bytes it is given, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
import skops.io
from onnx import TensorProto, helper
from safetensors.numpy import save
from sklearn.linear_model import LogisticRegression

from assay.artifacts.snapshot import Snapshot
from assay.errors import AssayError, LoadError
from assay.frameworks.shelf import TABLE, find

TABLE_OF_ROWS = pa.table({"a": [0.0, 1.0, 1.0], "b": [1.0, 0.0, 1.0]})


def sklearn_model() -> bytes:
    return bytes(skops.io.dumps(LogisticRegression().fit(np.array([[0, 1], [1, 0]] * 5), [0, 1] * 5)))


def onnx_model() -> bytes:
    shape = [None, 2]
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["X"], ["Y"])],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, shape)],
    )
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


# A new plug adds one line: the files of a small sound model.
SOUND: dict[str, Callable[[], Mapping[str, bytes]]] = {
    "onnx": lambda: {"model.onnx": onnx_model()},
    "safetensors": lambda: {"model.safetensors": save({"w": np.ones(2)})},
    "sklearn": lambda: {"model.skops": sklearn_model()},
}
PREDICTS = sorted(set(SOUND) - {"safetensors"})


class OnlyViews:
    """Files that exist nowhere but in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    def view(self, name: str) -> memoryview:
        return memoryview(self._files[name])

    def path(self, name: str) -> str:
        return f"/nonexistent/{name}"

    def folder(self) -> str:
        return "/nonexistent"


def test_every_plug_on_the_shelf_is_tested_here() -> None:
    assert set(SOUND) == set(TABLE)


@pytest.mark.parametrize("name", SOUND)
def test_a_plug_has_the_name_it_is_asked_for_by(name: str) -> None:
    assert find(name).name == name


@pytest.mark.parametrize("name", SOUND)
def test_a_plug_opens_what_lies_in_memory_only(name: str) -> None:
    assert find(name).open(OnlyViews(SOUND[name]())) is not None


@pytest.mark.parametrize("name", PREDICTS)
def test_a_prediction_has_one_answer_for_each_row(name: str) -> None:
    found = find(name).open(OnlyViews(SOUND[name]())).predict(TABLE_OF_ROWS)
    assert found.labels.tolist()[:2] == ([1, 0] if name == "onnx" else [0, 1])
    assert found.confidence is not None
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


@pytest.mark.parametrize("name", PREDICTS)
def test_no_rows_and_wrong_rows_are_answers_or_our_own_error(name: str) -> None:
    predictor = find(name).open(OnlyViews(SOUND[name]()))
    for table in (
        TABLE_OF_ROWS.slice(0, 0),
        TABLE_OF_ROWS.select([]),
        pa.table({"a": ["x"], "b": [None]}),
        pa.table({"a": [[1.0]], "b": [[2.0]]}),
        pa.table({"a": pa.nulls(2), "b": pa.nulls(2)}),
    ):
        try:
            found = predictor.predict(table)
        except AssayError:
            continue
        assert len(found.labels) == table.num_rows


@pytest.mark.parametrize("name", SOUND)
def test_no_model_and_damaged_models_are_load_errors(name: str) -> None:
    sound = SOUND[name]()
    for files in ({"readme": b""}, dict.fromkeys(sound, b""), {file: raw[:-7] for file, raw in sound.items()}):
        with pytest.raises(LoadError):
            find(name).open(OnlyViews(files))


@pytest.mark.parametrize("name", PREDICTS)
def test_the_sealed_bytes_are_opened_not_the_file(name: str, tmp_path: Path) -> None:
    files = SOUND[name]()
    for file, raw in files.items():
        (tmp_path / file).write_bytes(raw)
    with Snapshot.of(tmp_path) as held:
        for file in files:
            (tmp_path / file).write_bytes(b"swapped")
        assert len(find(name).open(held).predict(TABLE_OF_ROWS).labels) == 3
