"""The floor: a hand-written query that counts the bins of every column in every window, and nothing else.

``python bare.py EDGES TABLE [TABLE …]``: EDGES is a JSON file with the first day, the windows, the edges of every
number and the values of every text; it prints how many counts there are. No process can know less and count it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb


def tree(x: str, edges: Sequence[float], low: int, high: int) -> str:
    """Which bin a number falls in, by halves."""
    if low == high:
        return str(low)
    middle = (low + high) // 2
    return (
        f"CASE WHEN {x} <= {edges[middle]!r}::DOUBLE THEN {tree(x, edges, low, middle)} "
        f"ELSE {tree(x, edges, middle + 1, high)} END"
    )


DAY_US = 86_400_000_000


def query(known: dict[str, dict[str, list[float]]], table: str, first: str, width_us: int = DAY_US) -> str:
    """One scan, one grouping set for every column; windows last ``width_us`` microseconds."""
    bins = [f"{tree(column, edges, 0, len(edges))} AS {column}" for column, edges in known["edges"].items()]
    bins += list(known["values"])
    names = [*known["edges"], *known["values"]]
    window = f"(epoch_us(ts) - epoch_us(TIMESTAMP '{first}')) // {width_us} AS w"
    sets = ", ".join(f"(w, {name})" for name in names)
    return (
        f"SELECT w, {', '.join(names)}, count(*) FROM (SELECT {window}, {', '.join(bins)} "
        f"FROM read_parquet('{table}')) GROUP BY GROUPING SETS ({sets})"
    )


def main() -> None:
    """Count every table."""
    known = json.loads(Path(sys.argv[1]).read_text())
    connection = duckdb.connect()
    counts = 0
    for table in sys.argv[2:]:
        first = known["first"][Path(table).stem]
        counts += len(connection.sql(query(known, table, first)).fetchall())
    print(counts)


if __name__ == "__main__":
    main()
