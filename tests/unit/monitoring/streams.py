"""Tables of a small classifier's requests, for tests: made row by row, so that every count can be known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.engines.base import Source
from assay.monitoring.schema import PredictionSchema

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
SCHEMA = PredictionSchema(
    time="ts", prediction="pred", confidence="p", latency_s="lat", error="err", label="y", slices=("region",)
)


def requests(days: int, *, start: datetime = START, rows: int = 200, seed: int = 0, wrong: float = 0.05) -> pa.Table:
    """So many rows a day, evenly spread, of a model that is wrong on a share of them."""
    rng = np.random.default_rng(seed)
    n = days * rows
    y = rng.choice(["rain", "sun", "snow"], n, p=[0.3, 0.6, 0.1])
    other = rng.choice(["rain", "sun", "snow"], n)
    pred = np.where(rng.random(n) < wrong, np.where(other == y, np.where(y == "sun", "rain", "sun"), other), y)
    return pa.table(
        {
            "ts": pa.array([start + timedelta(days=1) / rows * i for i in range(n)], pa.timestamp("us", tz="UTC")),
            "temperature": rng.normal(10, 5, n),
            "hours": rng.integers(0, 24, n),
            "region": rng.choice(["north", "south"], n),
            "pred": pred,
            "p": np.clip(rng.beta(8, 2, n), 0.34, 1),
            "lat": rng.exponential(0.02, n),
            "err": pa.array([None] * n, pa.string()),
            "y": y,
        }
    )


def written(table: pa.Table, path: Path) -> Source:
    pq.write_table(table, path)
    return Source((str(path),))
