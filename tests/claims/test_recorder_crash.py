"""A recording process that is killed loses nothing that was flushed, and leaves no half file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

FLUSH_S = 0.2
SERVICE = f"""
import sys, time
from pathlib import Path
from assay.monitoring.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]), model="ab" * 32, flush_rows=50, flush_s={FLUSH_S})
i = 0
while True:
    recorder.log({{"x": i, "prediction": "a"}})
    i += 1
    if i % 70 == 0:
        recorder.flush()
        sys.stdout.write(f"{{i}}\\n")
        sys.stdout.flush()
    time.sleep(0.0002)
"""


def recorded(folder: Path) -> list[int]:
    """Every row in every file that a reader would see; a torn file would not open."""
    return sorted(x for path in folder.glob("**/*.parquet") for x in pq.read_table(path)["x"].to_pylist())


@pytest.mark.parametrize("turn", range(10))
def test_nothing_flushed_is_lost_and_no_file_is_torn(tmp_path: Path, turn: int) -> None:
    chance = random.Random(turn)  # noqa: S311 when to kill is no secret
    service = subprocess.Popen([sys.executable, "-c", SERVICE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    flushed = int(service.stdout.readline())
    time.sleep(chance.uniform(0, 0.3))
    os.kill(service.pid, signal.SIGKILL)
    flushed = max([flushed, *(int(line) for line in service.stdout.read().split("\n")[:-1])])
    service.wait()
    rows = recorded(tmp_path)
    assert rows == list(range(len(rows)))  # none twice, none left out
    assert len(rows) >= flushed


def test_what_nobody_flushed_is_written_within_the_seconds_that_were_promised(tmp_path: Path) -> None:
    code = SERVICE.replace("recorder.flush()", "pass")
    service = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    told = int(service.stdout.readline())
    deadline = time.monotonic() + 60  # the promise is a fifth of a second; the machine may be busy
    while len(recorded(tmp_path)) < told and time.monotonic() < deadline:
        time.sleep(FLUSH_S)
    os.kill(service.pid, signal.SIGKILL)
    service.communicate()
    assert len(recorded(tmp_path)) >= told
