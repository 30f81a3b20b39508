"""The rain forecaster: fifty years of NOAA days, and a scikit-learn model that says rain or dry.

The published file has 18,159 days in order and no dates; here they are dated so that the last
day the demo replays is yesterday. From row 12,000 on, its eight feature columns are rotated by
one: a data fault that is really in the published file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

FEATURES = (
    "temperature",
    "dew_point",
    "sea_level_pressure",
    "visibility",
    "wind_speed",
    "max_wind_speed",
    "min_temperature",
    "max_temperature",
)
LABEL = "label"
FAULT_ROW = 12_000  # from here on the published file's feature columns are rotated by one
LAST_ROW = 12_240  # where the replay ends


def day(row: int, today: datetime) -> datetime:
    """The date that a row of the file is given when the replay ends the day before ``today``."""
    return today + timedelta(days=row - LAST_ROW)


def read(path: Path, today: datetime, *, mended: bool = False) -> pa.Table:
    """The whole file with a date for each day.

    Args:
        path: The published CSV.
        today: Midnight after the last day replayed, UTC.
        mended: Undo the rotation from row 12,000 on; it undoes exactly.
    """
    raw = pyarrow.csv.read_csv(path)
    columns = [np.asarray(raw.column(1 + at)) for at in range(len(FEATURES))]
    if mended:
        columns = [
            np.concatenate([column[:FAULT_ROW], columns[(at - 1) % len(columns)][FAULT_ROW:]])
            for at, column in enumerate(columns)
        ]
    label = np.where(np.asarray(raw.column(1 + len(FEATURES))) == 1, "rain", "dry")
    times = pa.array([day(row, today) for row in range(raw.num_rows)], pa.timestamp("us", tz="UTC"))
    return pa.table(
        [times, *(pa.array(column) for column in columns), pa.array(label)], names=["time", *FEATURES, LABEL]
    )


def matrix(table: pa.Table) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The features as (rows, 8), in the order of `FEATURES`."""
    return np.column_stack([np.asarray(table.column(name), dtype=np.float64) for name in FEATURES])


def train(table: pa.Table, folder: Path) -> None:
    """Fit on a table of days and write ``model.skops`` into a new folder."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight={"rain": 1.4, "dry": 1.0}))
    model.fit(matrix(table), table.column(LABEL).to_pylist())
    save(model, folder)


def save(model: object, folder: Path) -> None:
    """Write a model in skops' format, which can be opened without running code of the file."""
    import skops.io

    folder.mkdir(parents=True, exist_ok=True)
    skops.io.dump(model, folder / "model.skops")


def edited(folder: Path, into: Path) -> str:
    """Write a copy of the model in which one weight was edited; the original stays as it is.

    Returns:
        Name of the feature whose weight was turned round.
    """
    import skops.io

    path = folder / "model.skops"
    model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    name = "max_wind_speed"  # accuracy hardly moves: what a monitor of accuracy alone would miss
    model[-1].coef_[0, FEATURES.index(name)] *= -0.5
    save(model, into)
    return name


def latencies(rows: int, *, seed: int) -> Sequence[float]:
    """Simulated answer times in seconds: log-normal around 20 ms, the one made-up column of the demo."""
    draw = np.random.default_rng(seed)
    return cast("list[float]", np.round(0.02 * np.exp(draw.normal(0.0, 0.4, rows)), 6).tolist())
