from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assay.artifacts.snapshot import Snapshot
from assay.errors import LoadError, TableError
from assay.frameworks.base import Framework
from assay.frameworks.shelf import find

TABLE = pa.table({"a": [1.0, 2.0]})
CODE = """
import numpy as np
from assay.frameworks.base import Prediction

def labels(files, table):
    return [bytes(files.view("m.bin")).decode()] * table.num_rows

def scores(files, table):
    return np.array([[0.25, 0.75]] * table.num_rows)

def whole(files, table):
    return Prediction(np.zeros(table.num_rows), confidence=np.ones(table.num_rows))

def short(files, table):
    return [1]

def broken(files, table):
    raise RuntimeError("row 17 of Ms Miller")

constant = 3
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshot]:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "plug_for_tests.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    (tmp_path / "m.bin").write_bytes(b"spam")
    with Snapshot.of(tmp_path / "m.bin") as held:
        yield held


def plug(name: str) -> Framework:
    return find(f"plug_for_tests:{name}")


def test_an_array_is_labels(files: Snapshot) -> None:
    assert plug("labels").open(files).predict(TABLE).labels.tolist() == ["spam", "spam"]


def test_a_matrix_is_scores(files: Snapshot) -> None:
    found = plug("scores").open(files).predict(TABLE)
    assert found.labels.tolist() == [1, 1]
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.75, 0.75]


def test_a_prediction_is_taken_as_it_is(files: Snapshot) -> None:
    found = plug("whole").open(files).predict(TABLE)
    assert found.confidence is not None
    assert np.array_equal(found.confidence, [1, 1])


def test_answers_for_other_rows_are_refused(files: Snapshot) -> None:
    with pytest.raises(TableError, match="answered for 1 of 2 rows"):
        plug("short").open(files).predict(TABLE)


def test_a_failure_is_an_error_without_the_rows_values(files: Snapshot) -> None:
    with pytest.raises(TableError, match=r"failed on these rows \(RuntimeError\)") as caught:
        plug("broken").open(files).predict(TABLE)
    assert "Miller" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plug_for_tests:nothing", "cannot be imported"),
        ("no_such_package_here:f", "cannot be imported"),
        ("plug_for_tests:constant", "of type int, not a function"),
        ("../evil:f", "is not of the form"),
        ("plug_for_tests:", "is not of the form"),
    ],
)
def test_what_is_no_function_is_a_load_error(name: str, words: str, files: Snapshot) -> None:
    with pytest.raises(LoadError, match=words):
        find(name).open(files)


def test_an_unknown_framework_names_the_known_ones() -> None:
    known = "http, keras, lightgbm, onnx, safetensors, sklearn, torch, transformers, xgboost"
    with pytest.raises(LoadError, match=f"no framework 'tensorflow'; there are {known}"):
        find("tensorflow")
