from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save

from assay.artifacts.snapshot import Snapshot
from assay.errors import LoadError, TableError
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
