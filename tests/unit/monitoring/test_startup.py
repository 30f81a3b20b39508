"""What a monitor run need not import: half of a short run would be that."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from tests.unit.monitoring.streams import SCHEMA, START, requests, written

SLOW = ("scipy.stats", "scipy.optimize", "pandas", "sqlalchemy", "sklearn")
RUN = """
import sys
from datetime import datetime
from assay.engines.base import Source
from assay.engines.shelf import find
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.schema import PredictionSchema
reference, current, schema, now, *slow = sys.argv[1:]
meant = PredictionSchema.parse(eval(schema))
tables = Source((reference,)), Source((current,))
when = datetime.fromisoformat(now)
said = monitor_tables(find("duckdb"), *tables, meant, window="1d", false_alarm_every=None, now=when)
print(said.windows, *(name for name in slow if name in sys.modules))
"""


def test_two_tables_are_compared_without_slow_imports(tmp_path: Path) -> None:
    tables = [written(requests(6, seed=i), tmp_path / f"{i}.parquet").paths[0] for i in range(2)]
    now = START + timedelta(days=9)
    command = [sys.executable, "-c", RUN, *tables, repr(SCHEMA.to_json()), now.isoformat(), *SLOW]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["6"]
