from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save

from assay.artifacts.snapshot import Snapshot
from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.safetensors import SafetensorsFiles

ARRAYS = {
    "weight": np.arange(6, dtype="f4").reshape(2, 3),
    "mask": np.array([True, False]),
    "scalar": np.array(3, dtype="i8"),
    "empty": np.zeros((0, 4), dtype="f8"),
}


def test_every_tensor_of_every_shard_is_there_and_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(save(ARRAYS))
    (tmp_path / "b.safetensors").write_bytes(save({"bias": np.ones(3, dtype="f2")}))
    with Snapshot.of(tmp_path) as files:
        found = SafetensorsFiles().open(files)
        assert set(found) == {*ARRAYS, "bias"}
        assert len(found) == 5
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
        with pytest.raises(ValueError, match="read-only"):
            found["weight"][0, 0] = 9


def test_the_sealed_bytes_are_read_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(save(ARRAYS))
    with Snapshot.of(tmp_path) as files:
        (tmp_path / "m.safetensors").write_bytes(save({"weight": np.full((2, 3), 1e9, dtype="f4")}))
        assert SafetensorsFiles().open(files)["weight"].max() == 5


def test_an_element_type_numpy_lacks_is_refused_by_name(tmp_path: Path) -> None:
    header = b'{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with Snapshot.of(tmp_path) as files, pytest.raises(LoadError, match="tensor 'w' is BF16"):
        SafetensorsFiles().open(files)["w"]


def test_weights_alone_do_not_predict(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(save(ARRAYS))
    with Snapshot.of(tmp_path) as files, pytest.raises(TableError, match="weights alone cannot predict 2 rows"):
        SafetensorsFiles().open(files).predict(pa.table({"a": [1, 2]}))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"m.safetensors": b"short"}, "not a sound safetensors file"),
        ({"readme": b"x"}, "no \\*.safetensors file among readme"),
        ({"a.safetensors": save(ARRAYS), "b.safetensors": save(ARRAYS)}, "and so does another file"),
    ],
)
def test_what_cannot_be_opened_is_a_load_error(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    with Snapshot.of(tmp_path) as held, pytest.raises(LoadError, match=words):
        SafetensorsFiles().open(held)


def written(folder: Path, dtype: str, data: bytes, shape: str) -> Path:
    folder.mkdir(exist_ok=True)
    header = f'{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{len(data)}]}}}}'.encode()
    (folder / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    return folder


def test_types_that_numpy_lacks_come_as_bits_or_for_torch(tmp_path: Path) -> None:
    numbers = torch.tensor([[1.0, -2.5], [0.0, 3.0]])
    for word, dtype in (("BF16", torch.bfloat16), ("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        stored = numbers.to(dtype)
        width = stored.element_size()
        data = stored.view(torch.uint8).numpy().tobytes()
        with Snapshot.of(written(tmp_path / word, word, data, "[2,2]")) as files:
            found = SafetensorsFiles().open(files)
            bits = found.raw("w")
            assert (bits.shape, bits.itemsize, bits.tobytes()) == ((2, 2), width, data)
            assert torch.equal(found.torch("w").float(), stored.float())
            assert torch.equal(found.state_dict()["w"].float(), stored.float())
            assert found.part("w").dtype == word
            with pytest.raises(LoadError, match=r"take \.torch"):
                found.arrays()


def test_narrow_types_come_as_bytes_and_torch_says_what_it_lacks(tmp_path: Path) -> None:
    with Snapshot.of(written(tmp_path / "m", "F4", b"\x12\x34", "[4]")) as files:
        found = SafetensorsFiles().open(files)
        assert found.raw("w").tolist() == [0x12, 0x34]
        with pytest.raises(LoadError, match="F4, which the installed PyTorch does not have"):
            found.torch("w")


def test_torch_gets_memory_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(save(ARRAYS))
    with Snapshot.of(tmp_path) as files:
        found = SafetensorsFiles().open(files)
        tensor = found.torch("weight")
        tensor[0, 0] = 9  # into the sealed copy, this would end the process
        assert found["weight"][0, 0] == 0
        assert found.torch("empty").shape == (0, 4)
        assert {name: tuple(one.shape) for name, one in found.state_dict().items()} == {
            name: array.shape for name, array in ARRAYS.items()
        }


def test_a_tensor_that_begins_anywhere_is_aligned(tmp_path: Path) -> None:
    header = (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    )
    data = b"\7" + np.array([1.5, -2], dtype="<f4").tobytes()
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    with Snapshot.of(tmp_path) as files:
        found = SafetensorsFiles().open(files)
        assert found["w"].flags.aligned
        assert not found["w"].flags.writeable
        assert found.arrays()["w"].tolist() == found.torch("w").tolist() == [1.5, -2.0]


def test_without_torch_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.safetensors").write_bytes(save(ARRAYS))
    monkeypatch.setitem(sys.modules, "torch", None)
    with Snapshot.of(tmp_path) as files, pytest.raises(MissingExtraError, match=r"assay\[torch\]"):
        SafetensorsFiles().open(files).state_dict()
