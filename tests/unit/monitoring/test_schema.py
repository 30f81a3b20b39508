"""What the columns of a prediction table mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import ConfigError
from assay.monitoring.schema import ROLES, PredictionSchema

FULL = PredictionSchema(
    time="ts",
    prediction="pred",
    confidence="p",
    latency_s="lat",
    error="err",
    label="y",
    label_time="y_ts",
    model="m",
    request_id="id",
    client="who",
    slices=("region", "who"),
)


def test_features_default_to_all_columns_without_a_role() -> None:
    columns = ("ts", "pred", "p", "lat", "err", "y", "y_ts", "m", "id", "who", "region", "a")
    assert FULL.features_of(columns) == ("region", "a")


def test_declared_features_are_kept_in_their_order() -> None:
    assert PredictionSchema(time="ts", prediction="p", features=("b", "a")).features_of(["a", "b", "c"]) == ("b", "a")


def test_every_missing_column_is_named() -> None:
    findings = FULL.check(["ts", "pred", "region"])
    assert [f.subject for f in findings] == ["p", "lat", "err", "y", "y_ts", "m", "id", "who", "who"]
    assert {f.rule for f in findings} == {"column.missing"}


def test_roles_that_may_be_missing_are_not_named() -> None:
    schema = PredictionSchema(time="ts", prediction="p", label="y", features=("a",))
    assert [f.subject for f in schema.check(["ts"], optional=("prediction", "label"))] == ["a"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"time": "", "prediction": "p"},
        {"time": "ts", "prediction": "ts"},
        {"time": "ts", "prediction": "p", "label_time": "t"},
        {"time": "ts", "prediction": "p", "slices": ["a", "a"]},
        {"time": "ts", "prediction": "p", "features": ["a", "p"]},
        {"time": "ts", "prediction": "p", "features": "abc"},
        {"time": "ts", "prediction": 3},
        {"time": "ts", "prediction": ""},
        {"time": "ts", "prediction": "p", "inputs_only": True},
        {"time": "ts", "prediction": "", "label": "y", "inputs_only": True},
        {"time": "ts", "prediction": "", "slices": ["a"], "inputs_only": True},
        {"time": "ts", "prediction": "", "discover": ["a"], "inputs_only": True},
        {"prediction": "p"},
        [],
        None,
    ],
)
def test_a_wrong_schema_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError):
        PredictionSchema.parse(wrong)


def test_a_schema_survives_the_round_trip() -> None:
    assert PredictionSchema.parse(FULL.to_json()) == FULL
    few = PredictionSchema(time="ts", prediction="p", features=())
    assert PredictionSchema.parse(few.to_json()) == few


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text() | st.integers())


@given(st.dictionaries(st.sampled_from([*ROLES, "slices", "features", "else"]), scalars))
def test_any_json_becomes_a_schema_or_our_error(data: dict[str, object]) -> None:
    try:
        schema = PredictionSchema.parse(data)
    except ConfigError:
        return
    assert PredictionSchema.parse(schema.to_json()) == schema


def test_without_predictions_a_schema_has_no_such_role_and_is_read_back() -> None:
    schema = PredictionSchema(time="ts", prediction="", latency_s="lat", inputs_only=True)
    assert schema.roles() == {"time": "ts", "latency_s": "lat"}
    assert PredictionSchema.parse(schema.to_json()) == schema
    assert schema.check(["ts", "lat"]) == ()
