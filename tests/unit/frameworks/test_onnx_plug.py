from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from assay.artifacts.snapshot import Snapshot
from assay.errors import LoadError, TableError
from assay.frameworks.onnx import Onnx

WEIGHTS = np.arange(6, dtype="f4").reshape(3, 2)
TABLE = pa.table({"a": [1.0, 0.0], "b": [0, 0], "c": [True, False]})


def graph(*, location: str | None = None, softmax: bool = False) -> bytes:
    weights = numpy_helper.from_array(WEIGHTS, "W")
    if location is not None:
        set_external_data(weights, location, 0, WEIGHTS.nbytes)
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
    nodes = [helper.make_node("MatMul", ["X", "W"], ["M"])]
    nodes.append(helper.make_node("Softmax" if softmax else "Identity", ["M"], ["Y"]))
    return model(
        nodes,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 2])],
        [weights],
    )


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
) -> bytes:
    made = helper.make_graph(nodes, "g", inputs, outputs, weights)
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(whole.SerializeToString())


def opened(root: Path, files: dict[str, bytes]) -> Snapshot:
    for name, raw in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)
    return Snapshot.of(root)


def test_scores_that_are_no_distribution_give_no_confidence(tmp_path: Path) -> None:
    with opened(tmp_path, {"model.onnx": graph()}) as files:
        found = Onnx().open(files).predict(TABLE)
    assert found.scores is not None
    assert found.scores.tolist() == [[4.0, 6.0], [0.0, 0.0]]
    assert found.labels.tolist() == [1, 0]
    assert found.confidence is None


def test_a_softmax_gives_the_confidence(tmp_path: Path) -> None:
    with opened(tmp_path, {"model.onnx": graph(softmax=True)}) as files:
        found = Onnx().open(files).predict(TABLE)
    assert found.confidence is not None
    assert found.confidence == pytest.approx([1 / (1 + np.exp(-2)), 0.5])


def test_weights_in_a_file_of_their_own_come_from_the_sealed_copy(tmp_path: Path) -> None:
    files = {"sub/model.onnx": graph(location="w.data"), "sub/w.data": WEIGHTS.tobytes()}
    with opened(tmp_path, files) as held:
        (tmp_path / "sub/w.data").write_bytes(np.full(6, 7, dtype="f4").tobytes())
        scores = Onnx().open(held).predict(TABLE).scores
    assert scores is not None
    assert scores.tolist() == [[4.0, 6.0], [0.0, 0.0]]


@pytest.mark.parametrize("location", ["w.data", "../w.data", "{outside}/w.data"])
def test_weights_outside_the_model_are_never_read(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "w.data").write_bytes(WEIGHTS.tobytes())
    monkeypatch.chdir(outside)
    raw = graph(location=location.format(outside=outside))
    with opened(tmp_path / "m", {"model.onnx": raw}) as files, pytest.raises(LoadError, match="cannot be opened"):
        Onnx().open(files)


def test_several_inputs_are_columns_by_name(tmp_path: Path) -> None:
    raw = model(
        [helper.make_node("Add", ["a", "b"], ["Y"])],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, 1]) for name in ("a", "b")],
        [helper.make_tensor_value_info("Y", TensorProto.DOUBLE, [None, 1])],
        [],
    )
    with opened(tmp_path, {"m.onnx": raw}) as files:
        predictor = Onnx().open(files)
        found = predictor.predict(pa.table({"b": [1.0, 2.0], "x": ["", ""], "a": [10.0, 20.0]}))
        assert found.labels.tolist() == [11.0, 22.0]
        with pytest.raises(TableError, match="needs column b"):
            predictor.predict(pa.table({"a": [1.0]}))


@pytest.mark.parametrize(
    ("labels", "confidence"),
    [([1, 0], [0.75, 1.0]), ([7, 5], [0.75, 1.0]), ([5, 5], None)],
)
def test_labels_beside_scores_are_believed_when_both_agree(
    labels: list[int], confidence: list[float] | None, tmp_path: Path
) -> None:
    raw = model(
        [
            helper.make_node("Constant", [], ["L"], value=numpy_helper.from_array(np.array(labels))),
            helper.make_node("Identity", ["X"], ["P"]),
        ],
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor_value_info("L", TensorProto.INT64, [2]),
            helper.make_tensor_value_info("P", TensorProto.FLOAT, [None, 2]),
        ],
        [],
    )
    with opened(tmp_path, {"m.onnx": raw}) as files:
        found = Onnx().open(files).predict(pa.table({"p": [0.25, 1.0], "q": [0.75, 0.0]}))
    assert found.labels.tolist() == labels
    assert (None if found.confidence is None else found.confidence.tolist()) == confidence


def test_another_number_of_columns_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, {"m.onnx": graph()}) as files, pytest.raises(TableError, match="3 features, the table has 1"):
        Onnx().open(files).predict(pa.table({"a": [1.0]}))


def test_text_for_a_number_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, {"m.onnx": graph()}) as files, pytest.raises(TableError, match="holds something else"):
        Onnx().open(files).predict(pa.table({"a": ["x"], "b": ["y"], "c": ["z"]}))


@pytest.mark.parametrize(
    ("files", "words"),
    [({"m.onnx": b"damaged"}, "cannot be opened"), ({"readme": b"x"}, "no \\*.onnx file among readme")],
)
def test_what_is_no_model_is_a_load_error(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    with opened(tmp_path, files) as held, pytest.raises(LoadError, match=words):
        Onnx().open(held)
