"""Real files of every container format, written by the libraries that own the formats."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import h5py
import lightgbm
import numpy as np
import numpy.typing as npt
import onnx
import skops.io
import torch
import xgboost
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from sklearn.linear_model import LogisticRegression

Arrays = Mapping[str, npt.NDArray[np.generic]]

_DRAW = np.random.default_rng(7)
ARRAYS: Arrays = {
    "encoder.weight": _DRAW.normal(size=(6, 4)).astype(np.float32),
    "encoder.bias": _DRAW.normal(size=6).astype(np.float32),
    "scale": np.float32(0.5).reshape(1),
}
X = _DRAW.normal(size=(200, 4))
Y = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(np.int64)


def npz(arrays: Arrays = ARRAYS, *, packed: bool = False, columns: bool = False, big: bool = False) -> bytes:
    """An archive of arrays, optionally deflated, column by column, or big-endian."""
    found = {name: one.astype(one.dtype.newbyteorder(">")) if big else one for name, one in arrays.items()}
    if columns:
        found = {name: np.asfortranarray(one) for name, one in found.items()}
    buffer = io.BytesIO()
    save_arrays: Callable[..., None] = np.savez_compressed if packed else np.savez
    save_arrays(buffer, **found)
    return buffer.getvalue()


def npy(array: npt.NDArray[np.generic] | None = None) -> bytes:
    """One array."""
    buffer = io.BytesIO()
    np.save(buffer, ARRAYS["encoder.weight"] if array is None else array)
    return buffer.getvalue()


def torch_zip(arrays: Arrays = ARRAYS) -> bytes:
    """A state dictionary."""
    return torch_saved({name: torch.from_numpy(np.array(one)) for name, one in arrays.items()})


def torch_saved(value: object) -> bytes:
    """Anything that ``torch.save`` takes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def gguf_file(arrays: Arrays = ARRAYS, *, quantised: bool = False) -> bytes:
    """A GGUF file with a vocabulary."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_array("tokenizer.ggml.tokens", ["<s>", "a", "b"])
        writer.add_array("tokenizer.ggml.scores", [0.0, -1.0, -2.0])
        for name, one in arrays.items():
            writer.add_tensor(name, np.ascontiguousarray(one))
        if quantised:
            kind = gguf.GGMLQuantizationType.Q4_0
            writer.add_tensor("packed", gguf.quantize(np.ones((2, 64), np.float32), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def onnx_model(arrays: Arrays = ARRAYS, extra: Sequence[TensorProto] = ()) -> onnx.ModelProto:
    """A network whose output is its first weight; the checker of ONNX has passed it."""
    first = next(iter(arrays))
    node = helper.make_node("Identity", [first], ["out"])
    shape = list(arrays[first].shape)
    graph = helper.make_graph(
        [node],
        "g",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [*(numpy_helper.from_array(np.array(one), name) for name, one in arrays.items()), *extra],
    )
    model = helper.make_model(graph)
    onnx.checker.check_model(model)
    return model


def onnx_raw(arrays: Arrays = ARRAYS) -> bytes:
    """The network in one file."""
    return bytes(onnx_model(arrays).SerializeToString())


def onnx_external(folder: Path, arrays: Arrays = ARRAYS) -> None:
    """The network as ``model.onnx`` and ``weights.data``."""
    onnx.save_model(
        onnx_model(arrays),
        folder / "model.onnx",
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )


def hdf5(arrays: Arrays = ARRAYS, **how: object) -> bytes:
    """A file of datasets; ``how`` goes to ``create_dataset``."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, one in arrays.items():
            file.create_dataset(name, data=one, **how)
    return buffer.getvalue()


def keras(arrays: Arrays = ARRAYS) -> bytes:
    """A Keras archive: configuration, metadata, weights."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.10.0"}))
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": []}}))
        archive.writestr("model.weights.h5", hdf5({f"layers/{name}": one for name, one in arrays.items()}))
    return buffer.getvalue()


def lightgbm_text() -> bytes:
    """Five trees."""
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 4, "num_threads": 1}
    return str(lightgbm.train(settings, lightgbm.Dataset(X, Y), 5).model_to_string()).encode()


def lightgbm_file() -> bytes:
    """Five trees, as ``save_model`` writes them."""
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 4, "num_threads": 1}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.txt"
        lightgbm.train(settings, lightgbm.Dataset(X, Y), 5).save_model(path)
        return path.read_bytes()


def xgboost_model(kind: str, booster: str = "gbtree") -> bytes:
    """Four trees, as ``json`` or ``ubj``."""
    data = xgboost.DMatrix(X, Y, feature_names=list("abcd"))
    settings = {"objective": "binary:logistic", "booster": booster, "nthread": 1}
    return bytes(xgboost.train(settings, data, 4).save_raw(kind))


def skops_model() -> bytes:
    """A fitted classifier."""
    return bytes(skops.io.dumps(LogisticRegression().fit(X, Y)))


def sharded(folder: Path) -> None:
    """Two safetensors files and the index of both."""
    names = list(ARRAYS)
    shards = {"model-00001-of-00002.safetensors": names[:1], "model-00002-of-00002.safetensors": names[1:]}
    for file, held in shards.items():
        (folder / file).write_bytes(save({name: np.array(ARRAYS[name]) for name in held}))
    weight_map = {name: file for file, held in shards.items() for name in held}
    index = {"metadata": {"total_size": sum(one.nbytes for one in ARRAYS.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


# A sound file for each ending of the shelf.
SOUND: Mapping[str, Callable[[], bytes]] = {
    ".safetensors": lambda: save({name: np.array(one) for name, one in ARRAYS.items()}),
    ".npy": npy,
    ".npz": npz,
    ".skops": skops_model,
    ".gguf": lambda: gguf_file(quantised=True),
    ".onnx": onnx_raw,
    ".pt": torch_zip,
    ".pth": torch_zip,
    ".bin": torch_zip,
    ".ckpt": torch_zip,
    ".h5": hdf5,
    ".hdf5": lambda: hdf5(chunks=True, compression="gzip", shuffle=True),
    ".keras": keras,
    ".txt": lightgbm_file,
    ".json": lambda: xgboost_model("json"),
    ".ubj": lambda: xgboost_model("ubj"),
}
