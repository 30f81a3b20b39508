"""A recording process that is killed loses nothing that was flushed, and leaves no half file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

FLUSH_S = 0.2
SERVICE = f"""
import sys, time
from collections import Counter
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


CROWD = """
import sys, threading
from collections import Counter
from pathlib import Path
import pyarrow as pa
from assay.monitoring.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]), model="ab" * 32, flush_rows=40, flush_s=0.05)
telling = threading.Lock()

def work(who):
    number = 0
    while True:
        for _ in range(30):
            recorder.log({"who": who, "x": number, "prediction": "a"})
            number += 1
        later = list(range(number, number + 20))
        recorder.log_batch(pa.table({"who": [who] * 20, "x": later, "prediction": ["a"] * 20}))
        number += 20
        recorder.flush()
        with telling:
            sys.stdout.write(f"{who} {number}\\n")
            sys.stdout.flush()

for thread in range(3):
    threading.Thread(target=work, args=(f"{sys.argv[2]}-{thread}",), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("turn", range(2))
def test_many_threads_and_processes_killed_together_lose_nothing_flushed(tmp_path: Path, turn: int) -> None:
    services = [
        subprocess.Popen([sys.executable, "-c", CROWD, str(tmp_path), str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    said = [service.stdout.readline() for service in services if service.stdout is not None]
    time.sleep(random.Random(turn).uniform(0, 0.3))  # noqa: S311 - when to kill is no secret
    for service in services:
        os.kill(service.pid, signal.SIGKILL)
    for service in services:
        said += service.communicate()[0].splitlines(keepends=True)
    flushed: dict[str, int] = {}
    for line in said:
        if line.endswith("\n"):
            who, number = line.split()
            flushed[who] = max(flushed.get(who, 0), int(number))
    rows = Counter[tuple[str, int]]()
    for path in tmp_path.glob("**/*.parquet"):  # a torn file would not open
        table = pq.read_table(path)
        rows.update(zip(table["who"].to_pylist(), table["x"].to_pylist(), strict=True))
    assert flushed
    assert [(who, x) for who, number in flushed.items() for x in range(number) if rows[who, x] != 1] == []
    assert max(rows.values()) == 1
