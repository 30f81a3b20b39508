"""Texts are watched by length, characters and tokens; a baseline keeps none of their words."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.monitoring.kinds import LIVE, START, judged, learned, prose, put, when

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.engines.made import TextFigure
from assay.monitoring.baseline import Baseline
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.texts import sketch, tokens

SCHEMA = PredictionSchema(time="ts", prediction="pred", label="y")
ROWS = 150


def stream(days: int, start: datetime, seed: int, *, new: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    n = days * ROWS
    y = rng.choice(["ham", "spam"], n)
    return pa.table({"ts": when(days, ROWS, start), "body": prose(rng, n, new=new), "pred": y, "y": y})


@pytest.fixture(scope="module")
def reference() -> pa.Table:
    return stream(28, START, 1)


@pytest.fixture(scope="module")
def baseline(reference: pa.Table) -> Baseline:
    return learned(reference, SCHEMA, "classification")


def test_a_column_of_prose_is_watched_as_text_unasked(baseline: Baseline) -> None:
    names = {spec.name for spec in baseline.specs}
    assert {"feature:body:length", "feature:body:unseen", "feature:body:token", "feature:body:null"} <= names
    assert not any(finding.rule == "column.not-watched" for finding in baseline.findings)


def test_a_column_of_identifiers_is_not_taken_for_text() -> None:
    rng = np.random.default_rng(5)
    table = stream(2, START, 2)
    ids = [rng.bytes(8).hex() for _ in range(table.num_rows)]
    found = learned(put(table, "body", ids), SCHEMA, "classification")
    assert {spec.name for spec in found.specs if spec.column == "body"} == {"feature:body:null"}


def test_declared_texts_are_texts_though_few_differ() -> None:
    schema = PredictionSchema(time="ts", prediction="pred", label="y", texts=("body",))
    table = put(stream(2, START, 2), "body", ["yes", "no", None] * 100)
    names = {spec.name for spec in learned(table, schema, "classification").specs}
    assert "feature:body:length" in names
    assert "feature:body" not in names


def test_new_words_are_found_where_length_is_the_same(reference: pa.Table) -> None:
    found = judged(reference, stream(8, LIVE, 3, new=0.15), SCHEMA, "classification")
    assert "feature:body:unseen" in {alarm.signal for alarm in found.alarms}
    said = next(alarm.detail for alarm in found.alarms if alarm.signal == "feature:body:unseen")
    assert said.startswith("share of tokens in body that the baseline lacks")


def test_the_same_texts_raise_nothing(reference: pa.Table) -> None:
    assert judged(reference, stream(20, LIVE, 4), SCHEMA, "classification").alarms == ()


def test_the_baselines_own_words_do_not_make_live_rows_look_new(baseline: Baseline) -> None:
    # Were the baseline judged by its own vocabulary, hardly any of its tokens would be unseen.
    spec = next(spec for spec in baseline.specs if spec.name == "feature:body:unseen")
    fresh = stream(20, LIVE, 6)
    of = spec.of
    assert isinstance(of, TextFigure)
    mean = {}
    for name, table in (("then", stream(28, START, 1)), ("now", fresh)):
        counted = DuckDb().profile(Source(table=table), {"x": of}, quantiles=[i / 200 for i in range(1, 200)])["x"]
        mean[name] = float(np.mean(counted.quantiles))
        assert 0.04 < counted.unreadable / counted.rows < 0.09  # one text in sixteen makes vocabularies
    assert mean["then"] == pytest.approx(mean["now"], abs=0.01)


def test_a_baseline_holds_no_word_and_comes_back_from_json(baseline: Baseline) -> None:
    text = json.dumps(baseline.to_json())
    assert not any(word in text for word in ("worda0", "wordb1", "wordc2"))
    assert Baseline.parse(text) == baseline
    assert Baseline.parse(text).digest == baseline.digest


def test_what_is_no_text_any_more_is_a_finding(reference: pa.Table) -> None:
    live = stream(3, LIVE, 7)
    found = judged(reference, put(live, "body", list(range(live.num_rows))), SCHEMA, "classification")
    said = {(finding.rule, finding.subject): finding.detail for finding in found.findings}
    assert ("column.retyped", "body") in said
    assert "no texts" in said["column.unreadable", "body"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_our_tokens_are_the_engines(texts: list[str]) -> None:
    found = DuckDb().rows(Source(table=pa.table({"x": texts}))).column("x").to_pylist()
    assert found == texts
    seen = "ff" * 8192
    profile = DuckDb().profile(
        Source(table=pa.table({"x": texts})),
        {"n": TextFigure("x", "tokens"), "u": TextFigure("x", "unseen", seen)},
        quantiles=[(i + 1) / len(texts) for i in range(len(texts))],
    )
    assert sorted(profile["n"].quantiles) == sorted(float(len(tokens(text))) for text in texts)
    assert set(profile["u"].quantiles) <= {0.0}


def test_a_vocabulary_is_made_of_some_texts_only() -> None:
    texts = [f"text number {i}" for i in range(64)]
    assert int(sketch(texts), 16).bit_count() < 30
    assert int(sketch(["nothing"] * 3), 16).bit_count() <= 1
    assert len(sketch([])) == 16384
