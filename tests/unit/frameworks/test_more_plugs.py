"""What the plugs for torch, xgboost, lightgbm, transformers and Keras weights open, and what they refuse."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import lightgbm
import numpy as np
import pyarrow as pa
import pytest
import torch
import xgboost

from assay.artifacts.snapshot import Snapshot
from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.shelf import find
from assay.frameworks.torch import Checkpoint
from assay.frameworks.viewing import ViewFile

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 20)
TABLE = pa.table({"b": [1.0, 0.0], "a": [0.0, 1.0], "other": ["x", "y"]})


def opened(framework: str, folder: Path, files: Mapping[str, bytes]) -> object:
    folder.mkdir(exist_ok=True)
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    with Snapshot.of(folder) as held:
        return find(framework).open(held)


def saved(thing: object, **how: bool) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file, **how)
    return file.getvalue()


@pytest.mark.parametrize("archive", [True, False])
def test_a_state_dict_gives_its_tensors(archive: bool, tmp_path: Path) -> None:
    stored = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    raw = saved(stored, _use_new_zipfile_serialization=archive)
    found = opened("torch", tmp_path / "m", {"net.pth": raw})
    assert isinstance(found, Checkpoint)
    assert set(found) == {"w", "b"}
    assert len(found) == 2
    assert torch.equal(found["w"], stored["w"])  # the copy is gone by now: nothing maps it
    with pytest.raises(TableError, match="weights alone cannot predict 2 rows"):
        found.predict(TABLE)


class Anything:
    pass


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (torch.nn.Linear(2, 2), "cannot be opened as weights"),
        ({"w": Anything()}, "cannot be opened as weights"),
        ([torch.ones(2)], "holds a list, not tensors by name"),
        ({1: torch.ones(2)}, "not tensors by name"),
    ],
    ids=["a module", "an object", "a list", "numbered"],
)
def test_a_checkpoint_that_is_more_or_less_than_tensors_is_refused(stored: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=words):
        opened("torch", tmp_path / "m", {"model.pt": saved(stored)})


def test_torchscript_answers_with_numbers_or_refuses(tmp_path: Path) -> None:
    def script(module: torch.nn.Module) -> bytes:
        file = io.BytesIO()
        torch.jit.save(torch.jit.trace(module, torch.zeros(3, 2)), file)  # type: ignore[no-untyped-call]  # torch has none
        return file.getvalue()

    class Pair(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return rows, rows

    table = TABLE.select(["a", "b"])
    linear = opened("torch", tmp_path / "m", {"model.pt": script(torch.nn.Linear(2, 1))})
    assert len(linear.predict(table).labels) == 2  # type: ignore[attr-defined]  # a TorchScript
    pair = opened("torch", tmp_path / "p", {"model.pt": script(Pair())})
    with pytest.raises(TableError, match="does not answer with one tensor"):
        pair.predict(table)  # type: ignore[attr-defined]  # a TorchScript


def booster(objective: str, labels: np.ndarray, **settings: object) -> bytes:
    names = settings.pop("names", None)
    data = xgboost.DMatrix(ROWS, labels, feature_names=names)
    trained = xgboost.train({"objective": objective, "nthread": 1, **settings}, data, num_boost_round=5)
    return bytes(trained.save_raw("ubj"))


def test_xgboost_takes_columns_by_name_and_answers_as_it_was_trained(tmp_path: Path) -> None:
    binary = opened("xgboost", tmp_path / "a", {"m.ubj": booster("binary:logistic", ROWS[:, 1], names=["a", "b"])})
    found = binary.predict(TABLE)  # type: ignore[attr-defined]  # a Predictor
    assert found.labels.tolist() == [1, 0]
    assert found.confidence is not None
    assert (found.confidence > 0.5).all()
    classes = np.array([0, 1, 2] * 20)
    many = opened("xgboost", tmp_path / "b", {"m.ubj": booster("multi:softprob", classes, num_class=3)})
    found = many.predict(TABLE.select(["a", "b"]))  # type: ignore[attr-defined]  # a Predictor
    assert found.classes == (0, 1, 2)
    assert found.labels.tolist() == [0, 1]
    number = opened("xgboost", tmp_path / "c", {"m.ubj": booster("reg:squarederror", ROWS[:, 0] * 10)})
    assert number.predict(TABLE.select(["a", "b"])).labels[1] > 5  # type: ignore[attr-defined]  # a Predictor
    with pytest.raises(TableError, match="2 features, the table has 3 columns"):
        number.predict(TABLE)  # type: ignore[attr-defined]  # a Predictor
    with pytest.raises(TableError, match="needs column a, b"):
        binary.predict(TABLE.select(["other"]))  # type: ignore[attr-defined]  # a Predictor


def trees(objective: str, labels: np.ndarray, **settings: object) -> str:
    how = {"objective": objective, "min_data_in_leaf": 1, "verbosity": -1, "num_threads": 1, **settings}
    return str(lightgbm.train(how, lightgbm.Dataset(ROWS, labels), num_boost_round=20).model_to_string())


def test_lightgbm_answers_as_it_was_trained_beside_other_text_files(tmp_path: Path) -> None:
    text = trees("binary", ROWS[:, 1]).encode()
    binary = opened("lightgbm", tmp_path / "a", {"trees.txt": text, "labels.txt": b"no\nyes\n"})
    table = TABLE.select(["a", "b"])
    assert binary.predict(table).labels.tolist() == [1, 0]  # type: ignore[attr-defined]  # a Predictor
    many = opened(
        "lightgbm", tmp_path / "b", {"model.txt": trees("multiclass", np.array([0, 1, 2] * 20), num_class=3).encode()}
    )
    assert many.predict(table).labels.tolist() == [0, 1]  # type: ignore[attr-defined]  # a Predictor
    with pytest.raises(TableError, match="2 features, the table has"):
        many.predict(TABLE)  # type: ignore[attr-defined]  # a Predictor
    with pytest.raises(LoadError, match=r"which of one\.txt, two\.txt is the model"):
        opened("lightgbm", tmp_path / "c", {"one.txt": text, "two.txt": text})
    with pytest.raises(LoadError, match="it was cut"):
        opened("lightgbm", tmp_path / "d", {"model.txt": text[: len(text) // 2]})


def test_lightgbm_with_columns_of_words_says_what_to_do(tmp_path: Path) -> None:
    text = trees("binary", ROWS[:, 1]).replace("pandas_categorical:null", 'pandas_categorical:[["x", "y"]]')
    model = opened("lightgbm", tmp_path / "m", {"model.txt": text.encode()})
    with pytest.raises(TableError, match="codes by pandas"):
        model.predict(TABLE.select(["a", "b"]))  # type: ignore[attr-defined]  # a Predictor


def hdf5(write: Callable[[h5py.File], None]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened_file:
        write(opened_file)
    return file.getvalue()


def keras_file(inner: bytes, *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Lambda"}))
        archive.writestr("model.weights.h5", inner)
    return file.getvalue()


def two_layers(file: h5py.File) -> None:
    file["layers/dense/vars/0"] = np.eye(3, dtype="f4")
    file.create_dataset("layers/dense/vars/1", data=np.arange(3.0), chunks=(1,), compression="gzip")
    file["again"] = file["layers"]  # a hard link: the same group by another name


def test_keras_weights_come_by_path_from_both_containers(tmp_path: Path) -> None:
    for index, files in enumerate(({"m.weights.h5": hdf5(two_layers)}, {"m.keras": keras_file(hdf5(two_layers))})):
        found = opened("keras", tmp_path / str(index), files)
        assert isinstance(found, Mapping)
        assert len(found) == 2
        (first, second) = sorted(found)
        assert first.endswith("dense/vars/0")
        assert np.array_equal(found[first], np.eye(3))
        assert np.array_equal(found[second], np.arange(3.0))


def soft(file: h5py.File) -> None:
    file["w"] = h5py.SoftLink("/elsewhere")


def external(file: h5py.File) -> None:
    file["w"] = h5py.ExternalLink("/etc/passwd.h5", "/w")


def outside(file: h5py.File) -> None:
    file.create_dataset("w", shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="u1")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "w", shape=(4,))  # noqa: S108  it is never opened
    file.create_virtual_dataset("w", layout)


@pytest.mark.parametrize("flaw", [soft, external, outside, virtual], ids=lambda flaw: flaw.__name__)
def test_hdf5_that_leads_to_another_file_is_refused(flaw: Callable[[h5py.File], None], tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"could lead to another file|in another file, which was not verified"):
        opened("keras", tmp_path / "m", {"model.h5": hdf5(flaw)})


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (keras_file(hdf5(two_layers), compressed=True), "is compressed, which Keras does not write"),
        (keras_file(b"no hdf5"), "not a sound HDF5 file"),
        (b"PK\3\4", "not a sound Keras file"),
    ],
    ids=["compressed", "inner", "cut"],
)
def test_a_keras_file_that_is_none_is_refused(raw: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=words):
        opened("keras", tmp_path / "m", {"model.keras": raw})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b""}, "weights in a pickle are not opened"),
        ({"config.json": b'{"auto_map": {"AutoModel": "own.Model"}}', "m.safetensors": b""}, "code that lies in"),
        ({"config.json": b'{"architectures": [7]}', "m.safetensors": b""}, "names no architecture"),
        ({"config.json": b"[]", "m.safetensors": b""}, "not the JSON object"),
        ({"config.json": b"[" * 100_000, "m.safetensors": b""}, "not the JSON object"),
        ({"m.safetensors": b""}, "no config.json among"),
        ({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"}, "cannot be opened by the installed"),
    ],
    ids=["pickle", "code", "number", "list", "deep", "none", "damaged"],
)
def test_a_transformers_folder_that_cannot_be_opened_safely_is_refused(
    files: dict[str, bytes], words: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=words):
        opened("transformers", tmp_path / "m", files)


@pytest.mark.parametrize(
    ("framework", "package", "files"),
    [
        ("torch", "torch", {"m.pt": b""}),
        ("xgboost", "xgboost", {"m.json": b"{}"}),
        ("lightgbm", "lightgbm", {"m.txt": b"tree\n\npandas_categorical:null\n"}),
        ("keras", "h5py", {"m.h5": b""}),
        ("transformers", "transformers", {"config.json": b"{}", "m.safetensors": b""}),
    ],
)
def test_a_missing_package_names_its_extra(
    framework: str, package: str, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"assay\[{framework}\]"):
        opened(framework, tmp_path / "m", files)


def test_bytes_as_a_file_are_read_like_a_file() -> None:
    file = ViewFile(memoryview(b"0123456789"))
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    assert file.read(3) == b"012"
    assert file.seek(-2, io.SEEK_END) == 8
    assert file.read() == b"89"
    assert file.seek(20) == file.tell() == 20
    assert file.read(1) == b""
    file.seek(2)
    assert file.seek(1, io.SEEK_CUR) == 3
    with pytest.raises(ValueError, match="before the first byte"):
        file.seek(-1)
