"""A reference drawn at random from the time of other rows is recognised; honest ones are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.streams import SCHEMA, START, requests, written

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import BaselineError
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.splitting import allow, find_split

ENGINE = DuckDb()
NOW = START + timedelta(days=400)
WHOLE = requests(20)


def _drawn(share: float, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    mine = np.random.default_rng(seed).random(len(WHOLE)) < share
    return WHOLE.filter(pa.array(mine)), WHOLE.filter(pa.array(~mine))


def _found(reference: pa.Table, other: pa.Table) -> bool:
    return find_split(ENGINE, Source(table=reference), Source(table=other), "ts") is not None


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 0.97])
def test_a_random_split_is_found_whatever_its_shares(share: float) -> None:
    reference, current = _drawn(share)
    assert _found(reference, current)
    assert _found(current, reference)


def _with_rows_of_other_times(table: pa.Table) -> pa.Table:
    stamps = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)]
    odd = table.slice(0, 2).set_column(0, "ts", pa.array(stamps, table.schema.field("ts").type))
    return pa.concat_tables([table, odd])


def test_rows_of_other_times_in_both_tables_make_no_split_and_hide_none() -> None:
    days = requests(18)
    one, other = (_with_rows_of_other_times(days.slice(start, 9 * 200)) for start in (0, 9 * 200))
    assert not _found(one, other)
    drawn, rest = map(_with_rows_of_other_times, _drawn(0.3))
    assert _found(drawn, rest)


def test_a_random_sample_of_the_monitored_log_is_found_when_the_log_goes_on() -> None:
    reference, _ = _drawn(0.3)
    later = requests(20, start=START + timedelta(days=20), seed=1)
    assert _found(reference, pa.concat_tables([WHOLE, later]))


def test_a_shuffled_file_is_no_split_by_itself() -> None:
    order = np.random.default_rng(1).permutation(len(WHOLE))
    later = requests(5, start=START + timedelta(days=20), seed=1)
    assert not _found(WHOLE.take(pa.array(order)), later)


def _weeks(odd: int) -> pa.Table:
    day = np.arange(len(WHOLE)) // 200
    return WHOLE.filter(pa.array(day // 5 % 2 == odd))


def _at(seconds: np.ndarray, undated: int = 0) -> pa.Table:
    """Rows at these times, and some more without one."""
    times = [START + timedelta(seconds=float(one)) for one in np.sort(seconds)] + [None] * undated
    return pa.table({"ts": pa.array(times, pa.timestamp("us", tz="UTC"))})


def _any_time(rows: int, *days: float, seed: int) -> pa.Table:
    """Rows at any time of these days: each a first day and, behind it, the day after the last."""
    rng = np.random.default_rng(seed)
    spans = np.array(days).reshape(-1, 2)
    return _at(np.concatenate([rng.uniform(a, b, rows // len(spans)) for a, b in spans]) * 86_400)


WEEKS = [float(day) for day in range(0, 56, 7)]
HONEST = {
    "one after the other": (WHOLE, requests(5, start=START + timedelta(days=20), seed=1)),
    "a day of overlap": (WHOLE, requests(8, start=START + timedelta(days=19), seed=1)),
    "the first days of the very log": (WHOLE.slice(0, 2000), WHOLE),
    "the same table": (WHOLE, WHOLE),
    "days in turn": (_weeks(1), _weeks(0)),
    "a handful of rows": (WHOLE.slice(0, 30), requests(1, seed=2)),
    "no time": (WHOLE.drop_columns(["ts"]), WHOLE),
    "a day of overlap, at any time": (_any_time(4000, 0, 20, seed=1), _any_time(1600, 19, 27, seed=2)),
    "weeks in turn, at any time": (
        _any_time(4000, *(at for start in WEEKS[::2] for at in (start, start + 7)), seed=1),
        _any_time(4000, *(at for start in WEEKS[1::2] for at in (start, start + 7)), seed=2),
    ),
    "few rows between many": (_any_time(39, 0, 20, seed=1), _any_time(4000, 0, 20, seed=2)),
    "all at one instant": (_at(np.zeros(50)), _at(np.zeros(60))),
    "nothing but no time": (_at(np.zeros(0), undated=50), _any_time(4000, 0, 20, seed=2)),
}


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_reference_is_not_accused(case: str) -> None:
    reference, other = HONEST[case]
    assert not _found(reference, other)
    assert not _found(other, reference)


def test_every_other_row_is_a_split_though_all_pieces_have_as_many_of_both() -> None:
    turn = np.arange(len(WHOLE)) % 2 == 0
    assert _found(WHOLE.filter(pa.array(turn)), WHOLE.filter(pa.array(~turn)))


def test_forty_rows_of_each_are_enough_the_first_and_the_last_among_them() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = (np.array([0.0, 86_400.0, *rng.uniform(0, 86_400, 38)]) for _ in range(2))
    assert _found(_at(ours), _at(theirs))
    assert not _found(_at(ours), _at(theirs[:-1]))


def test_rows_without_a_time_count_for_nothing() -> None:
    reference, other = _any_time(1000, 0, 20, seed=1), _any_time(3000, 0, 20, seed=2)
    found = find_split(ENGINE, Source(table=reference), Source(table=other), "ts")
    assert found is not None
    assert (found.cells, found.mixed) == pytest.approx((200, 198), abs=2)
    assert (found.reference, found.other) == pytest.approx((1, 1), abs=0.01)
    empty = _at(np.zeros(0), undated=4000)
    same = find_split(
        ENGINE, Source(table=pa.concat_tables([reference, empty])), Source(table=pa.concat_tables([other, empty])), "ts"
    )
    assert same == found


def test_a_large_table_is_cut_into_no_more_pieces_than_can_be_counted() -> None:
    found = find_split(
        ENGINE, Source(table=_any_time(30_000, 0, 20, seed=1)), Source(table=_any_time(30_000, 0, 20, seed=2)), "ts"
    )
    assert found is not None
    assert found.cells == 2000


def test_rows_within_microseconds_are_cut_no_finer() -> None:
    few = np.tile([0.0, 1e-6, 2e-6, 3e-6], 50)
    found = find_split(ENGINE, Source(table=_at(few)), Source(table=_at(few[:-9])), "ts")
    assert found is not None
    assert found.cells <= 4


def test_only_rows_since_the_deployment_count() -> None:
    reference, rest = _drawn(0.5)
    later = requests(20, start=START + timedelta(days=20), seed=1)
    log = pa.concat_tables([rest, later])
    found = find_split(
        ENGINE, Source(table=reference), Source(table=log), "ts", since=START + timedelta(days=20, seconds=-1)
    )
    assert found is None


def test_two_tables_that_were_split_at_random_are_refused_unless_told(tmp_path: Path) -> None:
    reference, current = (
        written(table, tmp_path / f"{name}.parquet") for table, name in zip(_drawn(0.5), "ab", strict=True)
    )

    def judged(*, meant: bool) -> list[str]:
        said = monitor_tables(
            ENGINE, reference, current, SCHEMA, window="1d", false_alarm_every=None, now=NOW, random_split=meant
        )
        return [finding.rule for finding in said.findings]

    with pytest.raises(BaselineError, match=r"random split: from 2026-01-05 to 2026-01-24.*--random-split"):
        judged(meant=False)
    assert "baseline.random-split" in judged(meant=True)


def test_nothing_found_says_nothing() -> None:
    assert allow(None, meant=False, other="others") == ()
