"""Prediction tables of any size, made by DuckDB: the same seed and place give the same row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from assay.monitoring.schema import PredictionSchema

CLASSES: Final = 10
CATEGORIES: Final = (4, 6, 8, 12, 20)
COUNTED: Final = 24
"""Columns that are counted, in the usual table."""
ROLES: Final = 4
"""Columns that are no feature and are counted: prediction, confidence, latency and label."""
BESIDE: Final = ("ts", "id", "error")
"""Columns that everything on needs besides: when, which request, what failed."""


@dataclass(frozen=True)
class Shape:
    """How large a table is.

    Attributes:
        rows: Rows.
        days: Days they are spread over, one after the other.
        columns: Counted columns: features and the four of `ROLES`; a quarter of the features are categories.
        first: Its first day.
        seed: Its rows' seed.
    """

    rows: int
    days: int
    columns: int = COUNTED
    first: str = "2026-01-05"
    seed: int = 1

    @property
    def categories(self) -> int:
        """Features that are text."""
        return (self.columns - ROLES) // 4

    @property
    def numbers(self) -> int:
        """Features that are numbers."""
        return self.columns - ROLES - self.categories


def schema(shape: Shape, slices: int = 2) -> PredictionSchema:
    """What the columns of such a table mean, everything on."""
    return PredictionSchema(
        time="ts",
        prediction="prediction",
        confidence="confidence",
        latency_s="latency_s",
        error="error",
        label="label",
        request_id="id",
        slices=tuple(f"c{i}" for i in range(min(slices, shape.categories))),
    )


def counted(shape: Shape) -> tuple[list[str], list[str]]:
    """The names of the counted columns: numbers, and what is text."""
    numbers = [*(f"x{i}" for i in range(shape.numbers)), "confidence", "latency_s"]
    return numbers, [*(f"c{i}" for i in range(shape.categories)), "prediction", "label"]


def _uniform(seed: int, column: int) -> str:
    """A number in (0, 1) that depends on the row's place, the seed and the column alone."""
    return f"((hash(i * 1000003 + {seed * 1009 + column}) >> 11)::DOUBLE + 0.5) / 9007199254740992.0"


def _row(shape: Shape) -> list[str]:
    """The expressions of all columns; ``i`` is the row's place."""

    def uniform(column: int) -> str:
        return _uniform(shape.seed, column)

    apart = shape.days * 86_400_000_000 / shape.rows
    made = [
        f"make_timestamp(epoch_us(TIMESTAMP '{shape.first}') + (i * {apart})::BIGINT) AS ts",
        f"'{shape.seed:x}-' || i AS id",
    ]
    for column in range(shape.numbers):
        normal = f"sqrt(-2 * ln({uniform(2 * column)})) * cos(6.283185307179586 * {uniform(2 * column + 1)})"
        # Measurements, money, counts: what a table of features is made of.
        kinds = (normal, f"round(exp({normal}), 2)", normal, f"floor(10 + 3 * ({normal}))::INTEGER", normal)
        made.append(f"{kinds[column % len(kinds)]} AS x{column}")
    for column in range(shape.categories):
        values = CATEGORIES[column % len(CATEGORIES)]
        made.append(
            f"'value ' || floor({values} * {uniform(100 + column)} * {uniform(200 + column)})::INTEGER AS c{column}"
        )
    made += [
        f"'class ' || floor({CLASSES} * {uniform(300)})::INTEGER AS label",
        f"0.5 + 0.5 * sqrt({uniform(301)}) AS confidence",
        f"exp(-3 + 0.5 * sqrt(-2 * ln({uniform(302)})) * cos(6.283185307179586 * {uniform(303)})) AS latency_s",
        f"CASE WHEN {uniform(304)} < 0.002 THEN 'timeout' END AS error",
        (
            f"CASE WHEN {uniform(305)} < 0.92 THEN label "
            f"ELSE 'class ' || floor({CLASSES} * {uniform(306)})::INTEGER END AS prediction"
        ),
    ]
    return made


def write(shape: Shape, path: Path) -> Path:
    """Write one table, as one Parquet file in the order of time."""
    return _write(shape, path, 0, shape.rows)


def write_hours(shape: Shape, folder: Path) -> Path:
    """Write one table as a Recorder keeps it: a file for every hour, found by the names of its folders."""
    hours = shape.days * 24
    with duckdb.connect() as connection:
        days = connection.sql(
            f"SELECT strftime(DATE '{shape.first}' + d::INTEGER, '%Y-%m-%d') FROM range({shape.days}) AS t(d)"
        ).fetchall()
    for hour in range(hours):
        start, end = (-(-shape.rows * edge // hours) for edge in (hour, hour + 1))
        if start == end:
            continue
        place = folder / f"date={days[hour // 24][0]}" / f"hour={hour % 24:02}"
        place.mkdir(parents=True, exist_ok=True)
        _write(shape, place / f"{hour:032x}.parquet", start, end)
    return folder


def _write(shape: Shape, path: Path, start: int, end: int) -> Path:
    part = path.with_name(f".{path.name}.part")
    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = true")
        query = f"SELECT {', '.join(_row(shape))} FROM range({start}, {end}) AS t(i)"
        connection.execute(f"COPY ({query}) TO '{part}' (FORMAT parquet)")
    part.replace(path)
    return path
