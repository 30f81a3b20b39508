"""Memory does not grow with the rows: what a table needs at once is a batch, the counts, and what goes to disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

ROWS = 400_000
COUNT = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from assay.engines.base import Bins, CountQuery, Number, Question, Source, Text, Values
from assay.engines import relation
from assay.engines.duckdb import DuckDb

# Small enough that both tables reach it: beyond it, request ids go to disk.
relation.MEMORY_MB, relation.THREAD_MB = 64, 16
source, start = Source((sys.argv[1],)), datetime(2026, 3, 1, tzinfo=UTC)
asked = [Question(f"x{i}", (Bins(Number(f"x{i}"), (0.2, 0.4, 0.6, 0.8)),)) for i in range(8)]
asked.append(Question("c", (Values(Text("c"), ("1", "2")), *asked[0].codes)))
cuts = tuple(start + timedelta(days=i) for i in range(11))
found = DuckDb().counts(source, CountQuery("ts", cuts, tuple(asked)))
odd = DuckDb().oddities(source, time="ts", now=start, request_id="id")
lines = Path("/proc/self/status").read_text().splitlines()  # getrusage would count who started us
(most,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
print(sum(one.rows for one in found.windows), odd.repeated_ids, most)
"""


def peak(path: Path, rows: int) -> int:
    """Largest resident memory, KiB, of a process that counts so many rows."""
    numbers = ", ".join(f"(hash(i + {n}) % 1000)::DOUBLE / 1000 AS x{n}" for n in range(8))
    when = f"TIMESTAMP '2026-03-01' + to_microseconds((i * {864_000_000_000 // rows})::BIGINT)"
    shown = f"{when} AS ts, 'request ' || hash(i) || i AS id, (hash(i) % 4)::VARCHAR AS c, {numbers}"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {shown} FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet)")
    command = [sys.executable, "-c", COUNT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    counted, repeated, memory = map(int, done.stdout.split())
    assert (counted, repeated) == (rows, 0)
    return memory


@pytest.mark.slow
def test_four_times_the_rows_need_hardly_more_memory(tmp_path: Path) -> None:
    few, many = (peak(tmp_path / f"{rows}.parquet", rows) for rows in (ROWS, 4 * ROWS))
    assert many < 1.5 * few
