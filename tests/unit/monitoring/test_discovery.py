"""Slices nobody declared: chosen by windows that are over, tested on those to come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.drifting import Normal
from tests.unit.monitoring.sliced import SlicedStream
from tests.unit.monitoring.streams import START, requests

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import BaselineError, ConfigError
from assay.inference.candidates import NONE, choose
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.baseline import Baseline
from assay.monitoring.discovery import Search, candidates, search, searched
from assay.monitoring.floors import SENSITIVE, Floors
from assay.monitoring.monitor import Evaluation, evaluate
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import Axis, SignalSpec, WindowCounts
from assay.monitoring.walk import Opening
from assay.monitoring.watching import frame_of
from assay.monitoring.weights import DISCOVERED, weights

ENGINE = DuckDb()
NOW = START + timedelta(days=400)
SCHEMA = PredictionSchema(
    time="ts", prediction="pred", label="y", slices=("region",), discover=("region", "hours", "temperature")
)
PLANTED = SlicedStream(seed=1, columns=5, planted={0: 2, 1: 3}, worse=0.25, at=8)


def test_a_slice_is_found_by_name_and_measured_on_rows_that_did_not_choose_it() -> None:
    reference, live = PLANTED.windows(20, 30)
    said = evaluate(reference, live, windows_per_alarm=1000.0)
    (alarm,) = [one for one in said.alarms if one.family == "slices"]
    assert (alarm.signal, alarm.slice) == (PLANTED.name, {"c0": "2", "c1": "3"})
    assert alarm.silent
    assert said.silent
    assert "hides it" in alarm.detail
    assert live[PLANTED.at].start < alarm.since <= alarm.window  # the first bad window chose it: it cannot count
    assert alarm.low > 0.02
    assert alarm.low < 0.2 < alarm.high


def test_one_window_after_the_one_that_chose_it_may_do_where_that_is_wanted() -> None:
    reference, live = replace(PLANTED, worse=1.0).windows(20, 14)
    first = []
    for floors in (None, SENSITIVE):
        alarms = evaluate(reference, live, windows_per_alarm=1000.0, floors=floors).alarms
        first.append(next(alarm.window for alarm in alarms if alarm.signal == PLANTED.name))
    assert live[PLANTED.at + 1].start == first[1] < first[0]


def test_evaluating_twice_or_in_another_order_says_the_same() -> None:
    reference, live = PLANTED.windows(20, 24)
    once = evaluate(reference, live, windows_per_alarm=1000.0)
    assert evaluate(reference, tuple(reversed(live)), windows_per_alarm=1000.0) == once
    then = evaluate(reference, live[:18], windows_per_alarm=1000.0).alarms
    assert [replace(a, until=None) for a in then] == [replace(a, until=None) for a in once.alarms[: len(then)]]


def test_no_row_of_a_window_has_a_part_in_what_it_is_tested_for() -> None:
    rng = np.random.default_rng(2)
    events, rows, ones = rng.poisson(1.0, (30, 50)).astype(float), np.full((30, 50), 20.0), np.ones((30, 50))

    def chosen(counted: np.ndarray) -> np.ndarray:
        return choose(counted, ones, rows, known=np.full(50, 1e6), design=ones[0])

    before = chosen(events)
    for window in range(30):
        changed = events.copy()
        changed[window:] += rng.poisson(20.0, (30 - window, 50))
        assert (chosen(changed)[: window + 1] == before[: window + 1]).all()
    assert (before[0] == NONE).all()


def _searched(stream: SlicedStream, reference: Normal, live: Sequence[WindowCounts], floors: Floors) -> Search:
    frame = frame_of(
        reference, live, specs=stream.specs(), windows_per_alarm=1000.0, span=timedelta(days=1), floors=floors
    )
    found = search(reference, live, weight=0.1, frame=frame)
    assert found is not None
    return found


def test_a_window_that_chooses_a_slice_brings_no_evidence_about_it() -> None:
    """One day on which a whole slice is wrong: it is chosen for every start behind it, and there nothing is wrong."""
    stream = replace(PLANTED, columns=4, worse=1.0)
    reference, bad = stream.windows(20, 16)
    _, good = replace(stream, planted={}).windows(20, 16)
    at = stream.at
    found = _searched(stream, reference, (*good[:at], bad[at], *good[at + 1 :]), SENSITIVE)
    mine = found.live.where.index({"c0": "2", "c1": "3"})
    assert mine not in found.chosen[: at + 1]
    assert (found.chosen[at + 1 : at + 9] == mine).any(axis=1).all()
    assert found.log_e.max() < 5
    lasting = _searched(stream, reference, (*good[:at], *bad[at:]), SENSITIVE)
    assert lasting.log_e[..., at].max() < 5
    assert lasting.log_e[0, 0, at + 1] > 40


@pytest.mark.parametrize("day_sd", [0.0, 0.3])
def test_where_there_is_no_such_slice_e_is_one_on_average_or_less(day_sd: float) -> None:
    """Over 60 days of 20 streams, for every look-back; all candidates tolerated by nothing but what is unknown."""
    found = []
    for seed in range(20):
        stream = SlicedStream(seed=500 + seed, columns=3, rows=400, day_sd=day_sd)
        found.append(_searched(stream, *stream.windows(20, 60), SENSITIVE).evidence())
    each = np.mean(found, axis=(0, 2))
    assert (each[0] > 0.1) & (each <= 1).all()
    assert (np.array(found) >= 20).mean() <= 1 / 20


def test_every_slice_is_searched_once_if_it_has_rows_enough_and_nobody_watches_it_already() -> None:
    stream = SlicedStream(seed=3, columns=4, rows=300, shares=(0.5, 0.3, 0.195, 0.005))
    reference, live = stream.windows(20, 4)
    every = candidates(searched(reference.specs), reference.windows, without=())
    found = _searched(stream, reference, live, Floors()).live.where
    assert len(found) == len({tuple(sorted(one.items())) for one in found})
    enough = {i for i, rows in enumerate(every.rows.sum(0)) if rows >= 50}
    assert [dict(one) for one in found] == [dict(every.where[i]) for i in sorted(enough)]
    assert 0 < len(enough) < len(every.where)
    own = SignalSpec("accuracy:slice:c0=1", "slices", "rate", "c0", sides="up", slice={"c0": "1"})
    watched = replace(reference, specs=(*reference.specs, own))
    assert {"c0": "1"} in found
    assert [one for one in found if one != {"c0": "1"}] == [*_searched(stream, watched, live, Floors()).live.where]


def test_where_no_slice_has_rows_enough_nothing_is_searched() -> None:
    stream = SlicedStream(seed=3, columns=1, rows=8)
    reference, live = stream.windows(4, 4)
    frame = frame_of(
        reference, live, specs=stream.specs(), windows_per_alarm=1000.0, span=timedelta(days=1), floors=Floors()
    )
    assert search(reference, live, weight=0.1, frame=frame) is None


def test_all_ranks_share_one_budget_and_a_name_begins_where_its_evidence_may() -> None:
    stream = replace(PLANTED, columns=4, worse=1.0)
    reference, live = stream.windows(20, 16)
    found = _searched(stream, reference, live, Floors())
    assert (np.exp(found.log_e) > 1).sum(1).max() > 1, "more ranks than one speak"
    assert (found.evidence() <= np.exp(found.log_e.max(1))).all()
    for start in (0, 14):
        opening, watched = found.name(Opening(3, 15, start, 1e6, None))
        assert opening.start == max(start, stream.at + 1)
        assert watched.spec.name == stream.name


def test_an_excess_that_the_baselines_own_error_explains_is_not_chosen() -> None:
    rows, expected = np.full((3, 1), 200.0), np.full((3, 1), 10.0)
    events = np.array([[25.0], [10.0], [10.0]])
    for known, chosen in ((1e6, 0), (100.0, NONE)):
        assert choose(events, expected, rows, known=np.array([known]), design=np.ones(1))[1, 0] == chosen


def test_a_table_is_counted_in_cells_as_its_rows_say(tmp_path: Path) -> None:
    table = requests(30)
    learned = Baseline.learn(ENGINE, Source(table=table), SCHEMA, window="1d", now=NOW)
    (spec,) = searched(learned.specs)
    assert [axis.column for axis in spec.axes] == ["region", "hours", "temperature"]
    found = candidates([spec], learned.windows, without=[{"region": "north"}, {"region": "south"}])
    assert len(found.where) == len({tuple(one.items()) for one in found.where}) == 2 * 4 * 4 + 2 * 4 + 2 * 4 + 16 + 8
    place = next(i for i, one in enumerate(found.where) if set(one) == {"region", "hours"} and one["region"] == "north")
    edge = spec.axes[1].edges[0]
    inside = (np.array(table["region"]) == "north") & (np.array(table["hours"]) <= edge)
    wrong = np.array(table["pred"]) != np.array(table["y"])
    assert found.rows[:, place].sum() == inside.sum()
    assert found.events[:, place].sum() == (inside & wrong).sum()
    assert Baseline.parse(json.dumps(learned.to_json())) == learned
    assert tmp_path.exists()


def _judged(table: pa.Table, schema: PredictionSchema = SCHEMA) -> Evaluation:
    reference = Source(table=requests(40, rows=500))
    return monitor_tables(ENGINE, reference, Source(table=table), schema, window="1d", false_alarm_every=None, now=NOW)


def test_a_slice_of_a_table_is_found_in_words() -> None:
    table = requests(20, start=START + timedelta(days=40), rows=500, seed=3)
    cold = np.array(table["temperature"]) < 6.6
    early = np.array(table["hours"]) <= 5
    y, pred = np.array(table["y"]), np.array(table["pred"])
    broken = cold & early & (np.random.default_rng(4).random(len(table)) < 0.5)
    spoiled = np.where(broken, np.where(y == "sun", "rain", "sun"), pred)
    alarms = _judged(table.set_column(table.column_names.index("pred"), "pred", pa.array(spoiled))).alarms
    (found,) = [one for one in alarms if one.family == "slices" and one.slice is not None and len(one.slice) > 1]
    assert found.slice is not None
    assert set(found.slice) == {"hours", "temperature"}
    assert all(words.startswith("up to ") for words in found.slice.values())
    assert _judged(table).alarms == ()


def test_a_small_slice_is_pooled_over_windows_and_not_dropped() -> None:
    # Five rows a day: no window alone says anything, a dozen together do.
    spec = SignalSpec("accuracy:slice:s=a", "slices", "rate", "s", values=("a",), sides="up", slice={"s": "a"})
    rng, (reference, live) = np.random.default_rng(5), SlicedStream(seed=5, columns=1).windows(60, 40)

    def with_slice(window: WindowCounts, error: float) -> WindowCounts:
        wrong = int(rng.binomial(5, error))
        return replace(window, counts={"error": window.counts["error"], spec.name: (5 - wrong, wrong)})

    known = replace(
        reference, specs=(reference.specs[0], spec), windows=tuple(with_slice(w, 0.05) for w in reference.windows)
    )
    alarms = evaluate(known, [with_slice(w, 0.5) for w in live]).alarms
    assert [alarm.signal for alarm in alarms] == [spec.name]
    assert [w.start for w in live].index(alarms[0].window) <= 25


def test_values_too_rare_to_be_a_slice_are_told() -> None:
    table = requests(20)
    region = np.array(table["region"]).astype(object)
    region[:7], region[7:12] = "isle", "rock"
    odd = table.set_column(table.column_names.index("region"), "region", pa.array(region.tolist()))
    learned = Baseline.learn(ENGINE, Source(table=odd), SCHEMA, window="1d", now=NOW)
    (said,) = [one for one in learned.findings if one.rule == "slices.left-out" and "watched with all" in one.detail]
    assert said.numbers == {"values": 2, "rows": 12}
    assert any(one.rule == "slices.left-out" and "12 rows have other values" in one.detail for one in learned.findings)


def test_the_search_takes_half_of_what_slices_have() -> None:
    declared = [SignalSpec(f"accuracy:slice:s={i}", "slices", "rate", "s", slice={"s": f"{i}"}) for i in range(4)]
    search = SignalSpec(DISCOVERED, "slices", "rate", "")
    assert weights([*declared, search]) == pytest.approx([1 / 64] * 4 + [1 / 16])
    assert weights([search]) == pytest.approx([1 / 8])


@pytest.mark.parametrize("axes", [(), (Axis("a"),)], ids=["no axes", "an axis without levels"])
def test_cells_without_levels_are_refused(axes: tuple[Axis, ...]) -> None:
    with pytest.raises(ValueError, match="axes with levels"):
        SignalSpec("cells:a", "slices", "cells", "", axes=axes)
    with pytest.raises(BaselineError):
        SignalSpec.parse({**SlicedStream(seed=0).specs()[1].to_json(), "axes": [{"column": "a"}]})


def test_more_than_eight_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match="9 columns, 8 are the most"):
        PredictionSchema(time="ts", prediction="pred", discover=tuple("abcdefghi"))


def test_a_column_that_cannot_be_searched_is_told() -> None:
    table = requests(20).append_column("same", pa.array(["x"] * 4000))
    schema = replace(SCHEMA, discover=("same", "region", "p"))
    learned = Baseline.learn(ENGINE, Source(table=table), schema, window="1d", now=NOW)
    assert [one.subject for one in learned.findings if one.rule == "slices.not-searched"] == ["same"]
    assert [spec.name for spec in searched(learned.specs)] == ["cells:region&p"]


@pytest.mark.slow
def test_a_planted_slice_of_three_percent_is_found_and_named_within_seven_windows() -> None:
    # 40 runs, 3,000 candidates, error .05 to .25. Found and named in 95 %: 2 misses allowed. False discoveries: an
    # alarm that names slices before there is one, or another one; 5 % of runs allowed.
    delays, right, wrong = [], 0, 0
    for seed in range(40):
        stream = replace(PLANTED, seed=seed, columns=8)
        reference, live = stream.windows(20, 40)
        starts = [window.start for window in live]
        alarms = [a for a in evaluate(reference, live, windows_per_alarm=1000.0).alarms if a.family == "slices"]
        mine = [a for a in alarms if a.signal == stream.name and starts.index(a.window) >= stream.at]
        wrong += len(alarms) > len(mine)
        right += bool(mine)
        delays.append(starts.index(mine[0].window) - stream.at + 1 if mine else 99)
    assert right >= 38
    assert median(delays) <= 7
    assert wrong <= 2


@pytest.mark.slow
@pytest.mark.parametrize("day_sd", [0.0, 0.2])
def test_no_slice_is_found_where_there_is_none(day_sd: float) -> None:
    # 4 runs of 500 windows at one in 1,000: two budgets; 5 or more has a chance of 5 % where the budget is used up.
    total = 0
    for seed in range(4):
        reference, live = SlicedStream(seed=100 + seed, columns=6, day_sd=day_sd).windows(60, 500)
        total += len(evaluate(reference, live, windows_per_alarm=1000.0).alarms)
    assert total <= 4
