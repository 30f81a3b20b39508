"""A process that forks after it has counted: both count on, and both come to an end."""

from __future__ import annotations

import subprocess
import sys

FORKS = """
import os, sys
from assay.engines.relation import connect

def count():
    with connect() as connection:
        return connection.sql("SELECT sum(i)::BIGINT FROM range(3000000) AS t(i)").fetchall()[0][0]

whole = count()
child = os.fork()
if child == 0:
    sys.exit(0 if count() == whole else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), count() == whole)
"""


def test_a_fork_counts_and_ends() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "True"]
