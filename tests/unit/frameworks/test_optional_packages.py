from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assay.artifacts.snapshot import Snapshot
from assay.errors import MissingExtraError, TableError
from assay.frameworks import columns
from assay.frameworks.base import ModelFiles
from assay.frameworks.function import FunctionModel
from assay.frameworks.onnx import OnnxModel
from assay.frameworks.shelf import find

# What stands in for an onnxruntime session here is what it answers with: converters make such outputs, and no
# package in the test environment can write them.


class Answers:
    def __init__(self, *answers: object, shape: tuple[int | None, ...] = (None, 2)) -> None:
        self._answers, self._shape = answers, shape

    def get_inputs(self) -> list[Answers.Input]:
        return [Answers.Input("X", self._shape, "tensor(float)")]

    def run(self, _outputs: None, _feed: object) -> list[object]:
        return list(self._answers)

    class Input:
        def __init__(self, name: str, shape: tuple[int | None, ...], kind: str) -> None:
            self.name, self.shape, self.type = name, shape, kind


TABLE = pa.table({"a": [0.0, 1.0], "b": [0.0, 1.0]})


@pytest.mark.parametrize(
    ("framework", "package", "file"),
    [("sklearn", "skops", "m.skops"), ("sklearn", "joblib", "m.joblib"), ("onnx", "onnxruntime", "m.onnx")],
)
def test_a_missing_package_names_the_extra_that_brings_it(
    framework: str, package: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "m").mkdir()
    # The opened file is never read: the package is missed before.
    (tmp_path / "m" / file).write_bytes(b"")
    with Snapshot.of(tmp_path / "m") as files, pytest.raises(MissingExtraError, match=rf"assay\[{framework}\]"):
        find(framework).open(files)


def test_without_pandas_a_model_gets_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "find_spec", lambda _: None)
    assert isinstance(columns.frame(TABLE), np.ndarray)


class OwnPlug:
    name = "own"

    def open(self, files: ModelFiles) -> FunctionModel:
        return FunctionModel("own", files, lambda _, table: [1] * table.num_rows)


def test_a_plug_of_somebody_else_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("own", f"{__name__}:OwnPlug", "assay.frameworks")
    monkeypatch.setattr(metadata, "entry_points", lambda **wanted: [point] if wanted["name"] == "own" else [])
    assert find("own").name == "own"


def test_a_converted_classifier_answers_with_a_probability_by_name() -> None:
    rows = [{"no": 0.25, "yes": 0.75}, {"no": 1.0, "yes": 0.0}]
    found = OnnxModel(Answers(np.array(["yes", "no"]), rows), {}).predict(TABLE)
    assert found.classes == ("no", "yes")
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.75, 1.0]


def test_a_second_output_that_is_no_matrix_of_scores_is_left_alone() -> None:
    found = OnnxModel(Answers(np.array([1, 0]), np.array([0.5, 0.5])), {}).predict(TABLE)
    assert (found.confidence, found.scores) == (None, None)


def test_an_input_that_no_column_can_be_is_refused() -> None:
    session = Answers(np.array([1, 0]))
    session.get_inputs = lambda: [Answers.Input("X", (None, 2), "sequence(map(string,float))")]  # type: ignore[method-assign]  # another model
    with pytest.raises(TableError, match="which no table column can be"):
        OnnxModel(session, {}).predict(TABLE)


def test_a_session_that_fails_is_our_own_error() -> None:
    class Failing(Answers):
        def run(self, _outputs: None, _feed: object) -> list[object]:
            raise RuntimeError("row 17")

    with pytest.raises(TableError, match=r"cannot take these rows \(RuntimeError\)"):
        OnnxModel(Failing(), {}).predict(TABLE)
