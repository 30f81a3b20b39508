"""The bike model: is this a busy hour (more than 200 rides)? Nine years of growth wear it out.

Trained on the even weeks of 2011; every second odd week is the reference it is judged by, so that
both see all seasons and no hour is in both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from assay.demo.rain import save

FEATURES = ("hour", "weekday", "month", "min_temperature", "max_temperature", "rain_mm")
LABEL = "label"
BUSY = 200  # rides an hour
YEAR = datetime(2011, 1, 1, tzinfo=UTC)
GROWTH = datetime(2012, 1, 1, tzinfo=UTC)  # the first hour the model was not made for
END = datetime(2012, 7, 1, tzinfo=UTC)  # where the replay ends


def read(path: Path) -> pa.Table:
    """All hours with the features the model sees and the label."""
    raw = pyarrow.csv.read_csv(path)
    times = raw.column("ts").cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    return pa.table(
        {
            "time": times,
            "hour": pc.hour(times),
            "weekday": pc.day_of_week(times),
            "month": pc.month(times),
            "min_temperature": raw.column("tmin"),
            "max_temperature": raw.column("tmax"),
            "rain_mm": raw.column("pn").cast(pa.float64()),
            LABEL: pc.if_else(pc.greater(raw.column("count"), BUSY), "busy", "quiet"),
        }
    )


def between(table: pa.Table, first: datetime, end: datetime) -> pa.Table:
    """The hours from ``first`` until before ``end``."""
    at = table.column("time")
    inside = pc.and_(pc.greater_equal(at, pa.scalar(first, at.type)), pc.less(at, pa.scalar(end, at.type)))
    return table.filter(inside)


def weeks(table: pa.Table, *, every: int, of: int) -> pa.Table:
    """The hours of the weeks whose number since 2011 began is ``of`` modulo ``every``."""
    at = table.column("time").cast(pa.int64()).to_numpy()
    number = (at - int(YEAR.timestamp() * 1e6)) // int(7 * 86_400 * 1e6)
    return table.filter(pa.array(number % every == of))


def train(table: pa.Table, folder: Path) -> None:
    """Fit a random forest and write ``model.skops`` into a new folder."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(n_estimators=60, min_samples_leaf=5, random_state=0, n_jobs=1)
    model.fit(matrix(table), table.column(LABEL).to_pylist())
    save(model, folder)


def matrix(table: pa.Table) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The features as (rows, 6), in the order of `FEATURES`."""
    return np.column_stack([np.asarray(table.column(name), dtype=np.float64) for name in FEATURES])


def shift_to(today: datetime) -> timedelta:
    """By how much hours are dated later, so that the replay ends within the week before ``today``: whole weeks."""
    return timedelta(weeks=(today - END).days // 7)


def shifted(table: pa.Table, by: timedelta) -> pa.Table:
    """The same hours, dated later; what the model sees of them stays."""
    at = table.column("time")
    return table.set_column(0, "time", pc.add(at, pa.scalar(by, pa.duration("us"))))
