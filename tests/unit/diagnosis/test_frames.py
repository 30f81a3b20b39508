from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.diagnosis.small_world import World

from assay.diagnosis.case import sampling_seed, window_digest
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.frames import Encoder, class_texts, encode_column, times
from assay.diagnosis.learners import Forest
from assay.errors import DiagnosisError
from assay.monitoring.schema import PredictionSchema

SCHEMA = PredictionSchema(time="t", prediction="p", label="y")


def test_one_class_has_one_text_however_it_is_stored() -> None:
    assert class_texts([1, 1.0, True, "1", "1.0"]) == ["1"] * 5
    assert class_texts([None, float("nan"), "spam", 0.5]) == [None, None, "spam", "0.5"]
    assert class_texts(["x", "inf", ""]) == ["x", "inf", ""]


def test_infinite_and_null_are_missing_and_filled_with_the_trusted_median() -> None:
    trusted = pa.table({"a": [1.0, 2.0, 3.0], "p": [0, 1, 0], "y": [0, 1, 1], "t": [1, 2, 3]})
    table = pa.table({"a": [np.inf, None, 5.0], "p": [0, 1, None], "y": [None, 1, 1], "t": [1, 2, 3]})
    encoder = Encoder.learn([trusted], [trusted, table], SCHEMA, ("a",))
    frame = encoder.frame(table, SCHEMA, limit=10, seed=0)
    assert np.isnan(frame.x[:, 0]).tolist() == [True, True, False]
    assert frame.filled[:, 0].tolist() == [2.0, 2.0, 5.0]
    assert frame.known.tolist() == [False, True, False]


def test_numbers_beyond_what_a_forest_holds_are_its_farthest() -> None:
    table = pa.table({"a": [1e308, -1e308, 1e30] * 20, "p": [0, 1, 0] * 20, "y": [0, 1, 1] * 20, "t": range(60)})
    encoder = Encoder.learn([table], [table], SCHEMA, ("a",))
    frame = encoder.frame(table, SCHEMA, limit=60, seed=0)
    assert np.isfinite(frame.x.astype(np.float32)).all()
    assert frame.x[2, 0] == 1e30
    assert Forest(trees=5).fit(frame.filled, frame.label).predict(frame.filled[:2]).tolist() == [0, 1]


@pytest.mark.parametrize("words", [None, ("a", "b")])
@pytest.mark.parametrize(
    "odd", [[[1.0]], [{"k": 1}], [b"\xff"], [time(12)], [timedelta(1)], [2**60], [Decimal(1)], [True], ["a"], [None]]
)
def test_a_column_of_any_type_is_numbers(odd: list[object], words: tuple[str, ...] | None) -> None:
    assert encode_column(pa.chunked_array([pa.array(odd), pa.array(odd)]), words).shape == (2,)


def test_text_is_ranked_by_trusted_frequency_and_unseen_text_comes_last() -> None:
    trusted = pa.table({"c": ["b", "b", "a"], "p": [0, 0, 0]})
    encoder = Encoder.learn([trusted], [trusted], SCHEMA, ("c",))
    assert encode_column(pa.chunked_array([["a", "b", "z", None]]), encoder.words["c"])[:3].tolist() == [1.0, 0.0, 2.0]


def test_rows_are_put_in_time_order_and_a_sample_repeats() -> None:
    table = pa.table({"a": np.arange(100.0), "p": np.zeros(100), "t": np.arange(100)[::-1]})
    encoder = Encoder.learn([table], [table], SCHEMA, ("a",))
    frame = encoder.frame(table, SCHEMA, limit=10, seed=4)
    assert (np.diff(frame.time) > 0).all()
    assert frame.row.tolist() == encoder.frame(table, SCHEMA, limit=10, seed=4).row.tolist()


def test_times_of_any_kind_become_seconds() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for column in (pa.array([noon]), pa.array(["2026-01-01T12:00:00"]), pa.array([int(noon.timestamp())])):
        assert times(pa.table({"t": column}), "t").tolist() == [noon.timestamp()]
    assert times(pa.table({"t": ["soon", "later"]}), "t").tolist() == [0.0, 1.0]


def test_a_digest_does_not_depend_on_chunks_but_on_every_value() -> None:
    whole = pa.table({"a": [1, 2, 3]})
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert window_digest(parts) == window_digest(whole)
    assert window_digest(pa.table({"a": [1, 2, 4]})) != window_digest(whole)


def test_the_seed_needs_the_key() -> None:
    assert sampling_seed(b"one", "d") == sampling_seed(b"one", "d")
    assert sampling_seed(b"one", "d") != sampling_seed(b"two", "d")
    assert sampling_seed(b"one", "d") != sampling_seed(b"one", "e")


def test_too_few_rows_are_refused(world: World) -> None:
    with pytest.raises(DiagnosisError, match="found 5 recent rows"):
        Comparison(world.case(recent=world.case().recent.slice(0, 5)))
