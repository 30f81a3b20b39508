"""The monitor on real tables with time: NOAA days of a weather station, and hours of bike rides in Washington, DC.

A table in its own order may have changed. The station's has: by the year, the share of its days with visibility below
one limit goes from .3 to .99 in 1963 and back in 1970, its winds fall in 1957 and its pressure strays in 1958. Without
visibility and from 1959 on, no column's yearly mean leaves the others' by more than .2 of its standard deviations: that
part is taken as unchanged. The same rows in another order, drawn at random, surely are: whole years of weather (seasons
and spells stay), whole weeks of rides (hours and weekdays stay), or single days. A model is fitted on earlier rows and
never again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from counting import LATER, Learned
from results import Record, Work

from assay.demo import bikes, rain
from assay.demo.data import BIKES, RAIN, fetch
from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.monitoring.alarms import Alarm
from assay.monitoring.baseline import Baseline
from assay.monitoring.monitor import evaluate
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts, counts_of
from assay.monitoring.windows import count
from assay.storage.clock import from_text

DAY = timedelta(days=1)
YEAR_ROWS = 365
FIRST_DAY = datetime(1949, 1, 1, tzinfo=UTC)  # the file has no dates; its first days are January's
# By table: the first year, the years that the model is fitted on, those of the baseline, and what is left out.
WEATHER = {"weather": (1949, 4, 10, ()), "weather from 1959": (1959, 2, 10, ("visibility",))}
BIKES_FIT = (datetime(2011, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC))
BIKES_FROM = datetime(2012, 12, 31, tzinfo=UTC)  # a Monday
BIKES_WEEKS = 156
BIKES_BASELINE = 60  # weeks
SCHEMA = PredictionSchema(time="time", prediction="prediction", confidence="confidence", label="label")


@dataclass(frozen=True)
class Real:
    """A real table in one order.

    Attributes:
        table: ``weather`` or ``bikes``.
        order: What is shuffled: nothing, single days, or whole weeks or years.
        window: How windows are cut.
        runs: How many orders are drawn.
    """

    table: str
    order: str
    window: str
    runs: int


REAL = {
    f"{table}, {order}, {window}": Real(
        table, order, window, 1 if order == "in order" else 6 if table == "bikes" else 20
    )
    for table, orders, windows in (
        ("weather", ("in order",), ("7d", "30d", "91d")),
        ("weather from 1959", ("in order", "years shuffled", "days shuffled"), ("7d", "30d", "91d")),
        ("bikes", ("in order", "weeks shuffled", "days shuffled"), ("1d", "6h")),
    )
    for order in orders
    for window in windows
}


def jobs(*, quick: bool) -> Iterator[Work]:
    """Everything to measure, by its name."""
    for row, real in REAL.items():
        if quick and (real.table, real.window) != ("weather from 1959", "30d"):
            continue
        for seed in range(1 if quick else real.runs):
            yield Work(((row, "assay", "real", seed),), partial(judge, real, seed))


def judge(real: Real, seed: int) -> tuple[Record]:
    """Alarms on a real table, against the budget of one a year."""
    rows, begin, unit = _bikes() if real.table == "bikes" else _weather(real.table)
    known = BIKES_BASELINE * 7 if real.table == "bikes" else WEATHER[real.table][2] * YEAR_ROWS
    live_from = begin + known * DAY
    table = _ordered(rows, begin, unit if real.order in ("years shuffled", "weeks shuffled") else 1, real, seed)
    before = table.filter(pc.less(table.column("time"), pa.scalar(live_from, table.column("time").type)))
    engine = DuckDb()
    baseline = Baseline.learn(engine, Source(table=before), SCHEMA, window=real.window, now=LATER)
    last = from_text(baseline.windows[-1].end)
    counted = count(
        engine,
        Source(table=table),
        SCHEMA,
        baseline.specs,
        window=real.window,
        now=LATER,
        families=baseline.families,
        live=False,
        since=last,
    )
    evaluation = evaluate(baseline, counted.windows)
    learned = Learned(baseline.specs, baseline.windows, real.window)
    spans = {alarm.signal: _stays(alarm, learned, counted.windows) for alarm in evaluation.alarms}
    days = (from_text(counted.windows[-1].end) - from_text(counted.windows[0].start)) / DAY
    found: Record = {
        "windows": len(counted.windows),
        "baseline": len(baseline.windows),
        "days": days,
        "budget_days": evaluation.budget.windows_per_alarm * days / len(counted.windows),
        "alarms": len(evaluation.alarms),
        "alarmed": len({a.window for a in evaluation.alarms}),
        "signals": sorted(a.signal for a in evaluation.alarms)[:20],
        "details": [f"{a.window[:10]} {a.signal}: {a.detail}" for a in evaluation.alarms][:8]
        if real.order == "in order"
        else [],
        "stay": sum(spans[a.signal] == "stays" for a in evaluation.alarms),
        "pass": sum(spans[a.signal] == "passes" for a in evaluation.alarms),
    }
    return (found,)


def _stays(alarm: Alarm, learned: Learned, live: Sequence[WindowCounts]) -> str:
    """Whether what an alarm saw is still there over the two years from its onset on.

    It stays when the signal's distribution over them is farther from the baseline's than any two years of the baseline
    are from the rest of it. Whole years, so that no season can be it.
    """
    spec = next(s for s in learned.specs if s.name == alarm.signal)
    onset, two = from_text(alarm.since), timedelta(days=730)
    end = from_text(live[-1].end)
    after = [w for w in live if onset <= from_text(w.start) < onset + two]
    first = from_text(learned.windows[0].start)
    years = (from_text(learned.windows[-1].end) - first) / timedelta(days=365)
    if end - onset < two or years < 4:
        return "too late to tell"
    own = []
    for year in range(int(years) - 1):
        begin = first + year * timedelta(days=365)
        inside = [begin <= from_text(w.start) < begin + two for w in learned.windows]
        part = [w for w, here in zip(learned.windows, inside, strict=True) if here]
        rest = [w for w, here in zip(learned.windows, inside, strict=True) if not here]
        own.append(_apart(spec, part, rest))
    return "stays" if _apart(spec, after, learned.windows) > max(own) else "passes"


def _apart(spec: SignalSpec, one: Sequence[WindowCounts], other: Sequence[WindowCounts]) -> float:
    """Total variation between two sets of windows; of the volume, the relative difference."""
    left, right = counts_of(spec, one), counts_of(spec, other)
    if spec.kind == "volume":
        return float(abs(left.mean() / right.mean() - 1))
    p, q = left.sum(0) / max(left.sum(), 1), right.sum(0) / max(right.sum(), 1)
    return float(abs(p - q).sum() / 2)


def _ordered(rows: pa.Table, begin: datetime, unit: int, real: Real, seed: int) -> pa.Table:
    """The rows with times, days in an order drawn at random in blocks of ``unit`` days.

    A last block that is not whole is left out of what is shuffled, and out of the table.
    """
    day = np.asarray(rows.column("day"))
    inside = np.asarray(rows.column("inside"))
    days = int(day.max()) + 1
    place = np.arange(days)
    if real.order != "in order":
        blocks = days // unit
        order = np.random.default_rng((seed, unit)).permutation(blocks)
        place = np.full(days, -1)
        for new, old in enumerate(order):
            place[old * unit : (old + 1) * unit] = np.arange(new * unit, (new + 1) * unit)
    at = place[day]
    micros = int(begin.timestamp() * 1e6) + at * 86_400_000_000 + inside
    times = pa.array(micros.astype("datetime64[us]"), pa.timestamp("us", tz="UTC"))
    table = rows.drop_columns(["day", "inside"]).add_column(0, "time", times)
    return table.filter(pa.array(at >= 0)).sort_by("time")


def _answered(table: pa.Table, features: Sequence[str], matrix: npt.NDArray[np.float64], model: object) -> pa.Table:
    """The features with what the model answered."""
    chance = np.asarray(model.predict_proba(matrix))  # type: ignore[attr-defined]
    names = np.asarray(model.classes_)[chance.argmax(1)]  # type: ignore[attr-defined]
    columns = {name: table.column(name) for name in features}
    columns |= {"prediction": pa.array(names), "confidence": pa.array(chance.max(1))}
    return pa.table(columns | {"label": table.column("label")})


@cache
def _weather(name: str) -> tuple[pa.Table, datetime, int]:
    """Days up to where the published file's columns are rotated, answered by a model of the first years."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    first, fit, _, without = WEATHER[name]
    skipped, fitted = (first - FIRST_DAY.year) * YEAR_ROWS, fit * YEAR_ROWS
    table = rain.read(fetch(RAIN), FIRST_DAY).slice(skipped, rain.FAULT_ROW - skipped)
    features = [column for column in rain.FEATURES if column not in without]
    matrix = np.column_stack([np.asarray(table.column(column), dtype=np.float64) for column in features])
    labels = table.column("label").to_pylist()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(matrix[:fitted], labels[:fitted])
    rows = _answered(table, features, matrix, model).slice(fitted)
    rows = rows.append_column("day", pa.array(np.arange(len(rows))))
    rows = rows.append_column("inside", pa.array(np.zeros(len(rows), np.int64)))
    return rows, datetime(first + fit, 1, 1, tzinfo=UTC), YEAR_ROWS


@cache
def _bikes() -> tuple[pa.Table, datetime, int]:
    """Hours of three years, answered by a model of the two years before."""
    from sklearn.ensemble import RandomForestClassifier

    table = bikes.read(fetch(BIKES))
    known = bikes.between(table, *BIKES_FIT)
    model = RandomForestClassifier(n_estimators=30, min_samples_leaf=5, random_state=0, n_jobs=1)
    model.fit(bikes.matrix(known), known.column("label").to_pylist())
    live = bikes.between(table, BIKES_FROM, BIKES_FROM + BIKES_WEEKS * 7 * DAY)
    rows = _answered(live, bikes.FEATURES, bikes.matrix(live), model)
    micros = np.asarray(live.column("time").cast(pa.int64())) - int(BIKES_FROM.timestamp() * 1e6)
    rows = rows.append_column("day", pa.array(micros // 86_400_000_000))
    return rows.append_column("inside", pa.array(micros % 86_400_000_000)), BIKES_FROM, 7
