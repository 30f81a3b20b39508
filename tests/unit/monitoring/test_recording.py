"""Any function that predicts answers and raises as before, and what it is asked and answers is on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import TableError
from assay.monitoring.recorder import Recorder
from assay.monitoring.recording import last_request_ids

ROOT = "ab" * 32
OURS = ("time", "model", "request_id", "latency_s")


def rows(folder: Path) -> list[dict[str, object]]:
    """What was recorded, without what the Recorder itself knows and what is null."""
    table = DuckDb().rows(Source((str(folder / "**" / "*.parquet"),)), time="time")
    return [{k: v for k, v in row.items() if k not in OURS and v is not None} for row in table.to_pylist()]


def warm(x: object) -> object:
    """Warm above ten, row for row."""
    return ["warm" if float(one[0]) > 10 else "cold" for one in np.asarray(x)]


TWO = [{"x0": 5.0, "x1": 1.0, "prediction": "cold"}, {"x0": 15.0, "x1": 2.0, "prediction": "warm"}]
NAMED = [{"t": 5.0, "u": 1.0, "prediction": "cold"}, {"t": 15.0, "u": 2.0, "prediction": "warm"}]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (np.array([[5.0, 1.0], [15.0, 2.0]]), TWO),
        ([[5.0, 1.0], [15.0, 2.0]], TWO),
        ([(5.0, 1.0), (15.0, 2.0)], TWO),
        (pd.DataFrame({"t": [5.0, 15.0], "u": [1.0, 2.0]}, index=[7, 9]), NAMED),
        (pa.table({"t": [5.0, 15.0], "u": [1.0, 2.0]}), NAMED),
    ],
    ids=["numpy", "lists", "tuples", "pandas", "arrow"],
)
def test_tables_of_every_kind_are_recorded(tmp_path: Path, asked: object, wanted: list[dict[str, object]]) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        predict = recorder.recorded(warm)
        assert predict(asked) == ["cold", "warm"]
        assert len(set(last_request_ids())) == 2
        assert recorder.missed == 0
    assert rows(tmp_path) == wanted


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([[1.5], [2.5]]), [1.5, 2.5]),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pa.array([1, 2]), [1, 2]),
        (("a", "b"), ["a", "b"]),
    ],
    ids=["numpy", "one column", "pandas", "arrow", "tuple"],
)
def test_answers_of_every_kind_are_read(tmp_path: Path, answer: object, said: list[object]) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        assert recorder.recorded(lambda x: answer)([[1], [2]]) is answer  # noqa: ARG005 - a model
        assert recorder.missed == 0
    assert [row["prediction"] for row in rows(tmp_path)] == said


def test_one_row_is_recorded_by_what_it_is(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.recorded(lambda text: "spam")("buy now")  # noqa: ARG005 - a model
        recorder.recorded(lambda age, *, country="DE": "ham")(5)  # noqa: ARG005 - a model
        recorder.recorded(lambda row: "ham")({"x": 1.5, "y": "b"})  # noqa: ARG005 - a model
        recorder.recorded(lambda row: "ham", inputs=("a", "b"))([1, 2])  # noqa: ARG005 - a model
        assert recorder.missed == 0
    assert rows(tmp_path) == [
        {"x0": "buy now", "prediction": "spam"},
        {"age": 5, "country": "DE", "prediction": "ham"},
        {"x": 1.5, "y": "b", "prediction": "ham"},
        {"a": 1, "b": 2, "prediction": "ham"},
    ]


def test_a_table_of_any_other_package_is_read_through_arrow(tmp_path: Path) -> None:
    class Frame:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.table({"t": [5.0, 15.0]}).__arrow_c_stream__(requested_schema)

    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.recorded(lambda frame: ["a", "b"])(Frame())  # noqa: ARG005 - a model
    assert [row["t"] for row in rows(tmp_path)] == [5.0, 15.0]


def test_probabilities_give_class_and_confidence_by_the_models_own_classes(tmp_path: Path) -> None:
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = LogisticRegression().fit(x, ["no", "no", "yes", "yes"])
    with Recorder(tmp_path, model=ROOT) as recorder:
        found = recorder.recorded(model.predict_proba, inputs=("dose",))(x)
    assert [row["prediction"] for row in rows(tmp_path)] == ["no", "no", "yes", "yes"]
    assert [row["confidence"] for row in rows(tmp_path)] == found.max(axis=1).tolist()
    assert [row["dose"] for row in rows(tmp_path)] == [0.0, 1.0, 2.0, 3.0]


def test_classes_may_be_named_and_are_numbers_otherwise(tmp_path: Path) -> None:
    def proba(x: object) -> list[list[float]]:
        del x
        return [[0.2, 0.8], [0.7, 0.3]]

    with Recorder(tmp_path / "named", model=ROOT) as recorder:
        recorder.recorded(proba, classes=("ham", "spam"))([[1], [2]])
    with Recorder(tmp_path / "numbers", model=ROOT) as recorder:
        recorder.recorded(proba)([[1], [2]])
    assert [row["prediction"] for row in rows(tmp_path / "named")] == ["spam", "ham"]
    assert [(row["prediction"], row["confidence"]) for row in rows(tmp_path / "numbers")] == [(1, 0.8), (0, 0.7)]


def test_methods_and_coroutines_are_recorded_and_keep_their_names(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, model=ROOT)

    class Model:
        classes_ = ("ham", "spam")

        @recorder.recorded
        def predict_proba(self, x: object) -> np.ndarray:
            """How sure."""
            return np.array([[0.25, 0.75]] * len(np.asarray(x)))

        @recorder.recorded(inputs=("length",))
        async def predict(self, x: list[list[int]]) -> list[str]:
            await asyncio.sleep(0.02)
            return ["spam" for _ in x]

    assert Model.predict_proba.__doc__ == "How sure."
    assert Model().predict_proba([[1]]).tolist() == [[0.25, 0.75]]
    assert asyncio.run(Model().predict([[4], [5]])) == ["spam", "spam"]
    recorder.close()
    assert recorder.missed == 0
    assert rows(tmp_path) == [
        {"x0": 1, "prediction": "spam", "confidence": 0.75},
        {"length": 4, "prediction": "spam"},
        {"length": 5, "prediction": "spam"},
    ]
    latency = DuckDb().rows(Source((str(tmp_path / "**" / "*.parquet"),)), columns=["latency_s"]).to_pydict()
    assert sorted(latency["latency_s"])[1] >= 0.02


def test_what_answers_later_is_recorded_when_it_has(tmp_path: Path) -> None:
    class Served:
        async def __call__(self, x: object) -> list[str]:
            del x
            await asyncio.sleep(0.02)
            return ["spam"]

    served = Served()

    def hand_on(x: object) -> Awaitable[object]:
        return served(x)

    with ThreadPoolExecutor(1) as pool, Recorder(tmp_path, model=ROOT) as recorder:
        assert asyncio.run(_got(recorder.recorded(served), [[1]])) == ["spam"]
        assert asyncio.run(_got(recorder.recorded(hand_on), [[2]])) == ["spam"]
        assert recorder.recorded(lambda x: pool.submit(lambda: ["ham" for _ in x]))([[3]]).result() == ["ham"]
        failing = recorder.recorded(lambda x: pool.submit(lambda: 1 / len(x[9:])))([[4]])
        assert isinstance(failing.exception(), ZeroDivisionError)

        async def in_a_task() -> list[str]:
            return await recorder.recorded(lambda x: asyncio.ensure_future(served(x)))([[5]])

        assert asyncio.run(in_a_task()) == ["spam"]
    assert recorder.missed == 0
    said = {row["x0"]: row.get("prediction", row.get("error")) for row in rows(tmp_path)}
    assert said == {1: "spam", 2: "spam", 3: "ham", 4: "ZeroDivisionError", 5: "spam"}
    latency = DuckDb().rows(Source((str(tmp_path / "**" / "*.parquet"),)), columns=["latency_s", "x0"]).to_pylist()
    assert all(row["latency_s"] >= 0.02 for row in latency if row["x0"] in {1, 2, 5})


async def _got(function: Callable[[object], Awaitable[object]], x: object) -> object:
    return await function(x)


def test_what_a_partial_was_given_before_is_no_input_and_keywords_are_columns(tmp_path: Path) -> None:
    def predict(model: object, x: int, *, limit: float = 0.5, **more: object) -> str:
        del model, limit, more
        return f"{x}"

    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.recorded(partial(predict, object(), limit=0.25))(x=4, income=7)
        recorder.recorded(partial(predict, object(), limit=0.25))(x=5, limit=0.75)
    assert rows(tmp_path) == [
        {"x": 4, "income": 7, "prediction": "4"},
        {"x": 5, "limit": 0.75, "prediction": "5"},
    ]


class BoomError(Exception):
    """A model's own."""


def test_exceptions_are_failures_and_are_raised(tmp_path: Path) -> None:
    def fails(x: object) -> object:
        raise BoomError(str(x))

    async def fails_later(x: object) -> object:
        raise BoomError(str(x))

    with Recorder(tmp_path, model=ROOT) as recorder:
        with pytest.raises(BoomError):
            recorder.recorded(fails)([[1.0], [2.0]])
        with pytest.raises(BoomError):
            asyncio.run(_awaited(recorder.recorded(fails_later), [[3.0]]))
        with pytest.raises(TypeError):  # called wrongly: no request was made
            recorder.recorded(fails)(1, 2)  # type: ignore[call-arg]  # on purpose
    assert rows(tmp_path) == [{"x0": float(i), "error": "BoomError"} for i in (1, 2, 3)]


async def _awaited(function: Callable[[object], object], x: object) -> None:
    await function(x)  # type: ignore[misc]  # a coroutine function


def test_what_the_function_does_to_its_input_is_not_what_it_was_asked(tmp_path: Path) -> None:
    def spoils(x: object) -> list[int]:
        if isinstance(x, pd.DataFrame):
            x["x0"] = 0.0
        else:
            x[0][0] = 0.0  # type: ignore[index]  # a list or an array
        return [1]

    with Recorder(tmp_path, model=ROOT) as recorder:
        for asked in (np.array([[7.0]]), [[7.0]], pd.DataFrame({"x0": [7.0]})):
            recorder.recorded(spoils)(asked)
    assert [row["x0"] for row in rows(tmp_path)] == [7.0, 7.0, 7.0]


def test_ids_of_a_parameter_are_the_requests_ids(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:

        @recorder.recorded(request_id="ids")
        def predict(x: list[list[int]], ids: object = None) -> list[int]:
            del ids
            return [0 for _ in x]

        predict([[1], [2]], ids=["a", "b"])
        assert last_request_ids() == ("a", "b")
        predict([[3]], "c")
        predict([[4]])
        recorder.label("a", 1)
    found = DuckDb().rows(Source((str(tmp_path / "**" / "*.parquet"),)), time="time").to_pylist()
    assert [(row["x0"], row["request_id"]) for row in found[:3]] == [(1, "a"), (2, "b"), (3, "c")]
    assert "ids" not in found[0]
    assert len(found[3]["request_id"]) == 32


@pytest.mark.parametrize(
    "predict",
    [
        lambda x: [1, 2, 3],  # noqa: ARG005 - models
        lambda x: None,  # noqa: ARG005
        lambda x: object(),  # noqa: ARG005
        lambda x: np.zeros((2, 2, 2)),  # noqa: ARG005
        lambda x: (one for one in x),
    ],
    ids=["too many", "none", "no answer", "three dimensions", "bit by bit"],
)
def test_what_cannot_be_read_is_counted_and_told_once(
    tmp_path: Path, predict: Callable[[object], object], caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder, caplog.at_level(logging.ERROR):
        recorded = recorder.recorded(predict)
        for _ in range(3):
            recorded([[1], [2]])
        recorder.recorded(lambda prediction, x: 1)(1, 2)  # noqa: ARG005 - a column of the Recorder's
        assert recorder.missed == 4
    assert len([one for one in caplog.records if "could not be recorded" in one.message]) == 1


def test_what_can_never_be_recorded_is_refused_where_it_is_decorated(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, model=ROOT)

    def yields(x: object) -> Iterator[object]:
        yield x

    class Yields:
        def __call__(self, x: object) -> Iterator[object]:
            yield x

    for bit_by_bit in (yields, partial(yields), Yields()):
        with pytest.raises(ValueError, match="bit by bit"):
            recorder.recorded(bit_by_bit)
    with pytest.raises(ValueError, match="no parameter 'ids'"):
        recorder.recorded(warm, request_id="ids")
    with pytest.raises(TableError, match="confidence"):
        recorder.recorded(warm, inputs=("x", "confidence"))
