"""What every framework plug promises: it opens the bytes it is given, and nothing else."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import lightgbm
import numpy as np
import onnx
import pyarrow as pa
import pytest
import skops.io
import torch
import transformers
import xgboost
from onnx import TensorProto, helper
from safetensors.numpy import save
from sklearn.linear_model import LogisticRegression

from assay.artifacts.snapshot import Snapshot
from assay.errors import AssayError, LoadError, TableError
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


def torchscript_model() -> bytes:
    # Source and weights that torch.jit wrote once, so that no test depends on how it traces.
    module = torch.jit.trace(torch.nn.Softmax(dim=1), torch.zeros(1, 2))  # type: ignore[no-untyped-call]  # torch has none
    raw = io.BytesIO()
    torch.jit.save(module, raw)
    return raw.getvalue()


def xgboost_model() -> bytes:
    data = xgboost.DMatrix(np.array([[0.0, 1.0], [1.0, 0.0]] * 20), [0, 1] * 20, feature_names=["a", "b"])
    settings = {"objective": "binary:logistic", "nthread": 1}
    return bytes(xgboost.train(settings, data, num_boost_round=3).save_raw("json"))


def lightgbm_model() -> bytes:
    data = lightgbm.Dataset(np.array([[0.0, 1.0], [1.0, 0.0]] * 20), [0, 1] * 20, feature_name=["a", "b"])
    settings = {"objective": "binary", "min_data_in_leaf": 1, "verbosity": -1, "num_threads": 1}
    return bytes(lightgbm.train(settings, data, num_boost_round=3).model_to_string().encode())


def keras_weights() -> bytes:
    raw = io.BytesIO()
    with h5py.File(raw, "w") as file:
        file["layers/dense/vars/0"] = np.eye(2, dtype="f4")
    return raw.getvalue()


def transformers_model() -> dict[str, bytes]:
    """What save_pretrained writes of a network of one layer, and a vocabulary of six words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad"]
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
        found = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    vocabulary = "\n".join(words).encode()
    return {**found, "vocab.txt": vocabulary, "tokenizer_config.json": b'{"tokenizer_class": "BertTokenizer"}'}


ENDPOINT = b"""url = "https://models.example.org/v1/classify"
[body]
a = "{a}"
[answer]
label = "/label"
"""

# A new plug adds one line: the files of a small sound model.
SOUND: dict[str, Callable[[], Mapping[str, bytes]]] = {
    "http": lambda: {"endpoint.toml": ENDPOINT},
    "keras": lambda: {"model.weights.h5": keras_weights()},
    "lightgbm": lambda: {"model.txt": lightgbm_model()},
    "onnx": lambda: {"model.onnx": onnx_model()},
    "safetensors": lambda: {"model.safetensors": save({"w": np.ones(2)})},
    "sklearn": lambda: {"model.skops": sklearn_model()},
    "torch": lambda: {"model.pt": torchscript_model()},
    "transformers": transformers_model,
    "xgboost": lambda: {"model.json": xgboost_model()},
}
WEIGHTS = {"keras", "safetensors"}  # they do not predict
TEXTS = {"transformers"}  # they predict texts, and open a folder
ASKS = {"http"}  # its model is elsewhere: tests/unit/frameworks/test_http_plug.py asks one
PREDICTS = sorted(set(SOUND) - WEIGHTS - TEXTS - ASKS)
FIRST = {"onnx": [1, 0], "torch": [1, 0]}  # the others learned that b means 1


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


@pytest.mark.parametrize("name", sorted(set(SOUND) - TEXTS))
def test_a_plug_opens_what_lies_in_memory_only(name: str) -> None:
    assert find(name).open(OnlyViews(SOUND[name]())) is not None


@pytest.mark.parametrize("name", PREDICTS)
def test_a_prediction_has_one_answer_for_each_row(name: str) -> None:
    found = find(name).open(OnlyViews(SOUND[name]())).predict(TABLE_OF_ROWS)
    assert found.labels.tolist()[:2] == FIRST.get(name, [0, 1])
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


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_weights_alone_say_that_they_do_not_predict(name: str) -> None:
    with pytest.raises(TableError, match="weights alone cannot predict 3 rows: name a function"):
        find(name).open(OnlyViews(SOUND[name]())).predict(TABLE_OF_ROWS)


def test_texts_are_classified_from_the_sealed_folder(tmp_path: Path) -> None:
    for file, raw in transformers_model().items():
        (tmp_path / file).write_bytes(raw)
    with Snapshot.of(tmp_path) as held:
        for file in held.names():
            (tmp_path / file).write_bytes(b"swapped")
        loaded = find("transformers").open(held)
        found = loaded.predict(pa.table({"text": ["good good", "bad"], "other": [1, 2]}))
        assert set(found.labels.tolist()) <= {"LABEL_0", "LABEL_1"}
        assert found.scores is not None
        assert np.allclose(found.scores.sum(axis=1), 1)
        assert len(loaded.predict(pa.table({"text": pa.array([], pa.string())})).labels) == 0
        for table in (pa.table({"text": ["good", None]}), pa.table({"a": [1], "b": [2]}), pa.table({"a": [1]})):
            with pytest.raises(TableError):
                loaded.predict(table)


@pytest.mark.parametrize("name", PREDICTS)
def test_the_sealed_bytes_are_opened_not_the_file(name: str, tmp_path: Path) -> None:
    files = SOUND[name]()
    for file, raw in files.items():
        (tmp_path / file).write_bytes(raw)
    with Snapshot.of(tmp_path) as held:
        for file in files:
            (tmp_path / file).write_bytes(b"swapped")
        assert len(find(name).open(held).predict(TABLE_OF_ROWS).labels) == 3
