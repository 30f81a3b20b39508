"""Small tables of every kind of task, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.baseline import Baseline
from assay.monitoring.learning import Task
from assay.monitoring.monitor import Evaluation
from assay.monitoring.schema import PredictionSchema

START = datetime(2026, 1, 5, tzinfo=UTC)
LIVE = START + timedelta(days=28)
NOW = LIVE + timedelta(days=60)
WORDS = [f"word{chr(97 + i % 26)}{i}" for i in range(800)]
COMMON = 1 / np.arange(1, len(WORDS) + 1)


def when(days: int, rows: int, start: datetime) -> pa.Array:
    each = timedelta(days=1) / rows
    return pa.array([start + each * i for i in range(days * rows)], pa.timestamp("us", tz="UTC"))


def prose(rng: np.random.Generator, n: int, *, new: float = 0.0) -> list[str]:
    """Texts of common and rare words; a share of the words is new, in the same letters."""
    texts = []
    for _ in range(n):
        size = int(rng.poisson(9)) + 3
        drawn = rng.choice(len(WORDS), size, p=COMMON / COMMON.sum())
        fresh = rng.random(size) < new
        texts.append(" ".join(WORDS[i] if not f else f"worn{i}" for i, f in zip(drawn, fresh, strict=True)))
    return texts


def vectors(rng: np.random.Generator, n: int, *, along: float = 0.0, size: int = 16) -> npt.NDArray[np.float64]:
    """Vectors that vary most in their first coordinate, moved by so much along a fixed direction."""
    found = rng.normal(size=(n, size))
    found[:, 0] *= 4
    return np.asarray(found + along * np.ones(size) / np.sqrt(size), np.float64)


def judged(reference: pa.Table, current: pa.Table, schema: PredictionSchema, task: Task) -> Evaluation:
    return monitor_tables(
        DuckDb(),
        Source(table=reference),
        Source(table=current),
        schema,
        window="1d",
        false_alarm_every=timedelta(days=365),
        now=NOW,
        task=task,
    )


def learned(reference: pa.Table, schema: PredictionSchema, task: Task) -> Baseline:
    return Baseline.learn(DuckDb(), Source(table=reference), schema, window="1d", now=NOW, task=task)


def put(table: pa.Table, column: str, values: Any) -> pa.Table:  # noqa: ANN401 - whatever Arrow takes
    return table.set_column(table.column_names.index(column), column, pa.array(values))
