"""A Spark Connect server on this machine, for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTED = re.compile(r"Spark Connect server started at: \S*:(\d+)")
MAIN = "org.apache.spark.sql.connect.service.SparkConnectServer"
SECONDS = 120
"""A slow machine may take as long to start it."""


@contextmanager
def spark_server(folder: Path) -> Iterator[str]:
    """The address of a server that runs as long as this.

    Args:
        folder: Where it writes.
    """
    import pyspark

    home = Path(pyspark.__file__).parent
    said = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": "0",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
    }
    told = [part for name, value in said.items() for part in ("--conf", f"{name}={value}")]
    command = [str(home / "bin" / "spark-submit"), "--master", "local[2]", "--class", MAIN, *told, "spark-internal"]
    own = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    log = folder / "server.log"
    with log.open("wb") as written:
        server = subprocess.Popen(command, cwd=folder, env=os.environ | own, stdout=written, stderr=subprocess.STDOUT)
        try:
            yield f"sc://127.0.0.1:{_port(server, log)}"
        finally:
            server.terminate()
            server.wait()


def _port(server: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the server has chosen, as soon as it says so."""
    deadline = time.monotonic() + SECONDS
    while True:
        running, said = server.poll() is None, log.read_text(encoding="utf-8", errors="replace")
        if found := STARTED.search(said):
            return int(found[1])
        assert running, f"no Spark Connect server: {said[-2000:]}"
        assert time.monotonic() < deadline, f"no Spark Connect server in {SECONDS} s: {said[-2000:]}"
        time.sleep(0.2)
