"""A recording process that is killed loses at most the rows of one flush, and leaves no half file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb

FLUSH = 20
SERVICE = f"""
import sys
from pathlib import Path
from assay.monitoring.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]), model="ab" * 32, flush_rows={FLUSH}, flush_s=60)
i = 0
while True:
    recorder.log({{"x": i, "prediction": "a"}})
    i += 1
    sys.stdout.write(f"{{i}}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [1, 3 * FLUSH, 7 * FLUSH + 3])
def test_a_killed_recorder_loses_at_most_one_flush(tmp_path: Path, after: int) -> None:
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(tmp_path)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert service.stdout is not None
    logged = 0
    for line in service.stdout:
        logged = int(line)
        if logged >= after:
            break
    time.sleep(0.001 * (after % 7))
    os.kill(service.pid, signal.SIGKILL)
    rest = [int(line) for line in service.stdout.read().split("\n")[:-1]]
    service.wait()
    logged = max([logged, *rest])
    files = list(tmp_path.glob("**/*.parquet"))
    rows = DuckDb().rows(Source((str(tmp_path),)))["x"].to_pylist() if files else []
    assert sorted(rows) == list(range(len(rows)))
    assert logged - len(rows) <= FLUSH
    assert len(rows) % FLUSH == 0
