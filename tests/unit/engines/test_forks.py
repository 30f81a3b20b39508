"""A process that forks after it has counted: both count on, and both come to an end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


SPILLS = """
import multiprocessing, os, sys
from pathlib import Path
from assay.engines import relation

os.umask(0)
relation.MEMORY_MB, relation.THREAD_MB = 48, 0
with relation.connect() as connection:
    (folder,) = connection.sql("SELECT current_setting('temp_directory')").fetchall()[0]
    connection.execute("SELECT md5(i::VARCHAR) AS m FROM range(1000000) AS t(i) ORDER BY m").fetchmany(1)
    print(folder, len(os.listdir(folder)), oct(Path(folder).stat().st_mode & 0o777))
def ask():
    with relation.connect() as connection:
        print(connection.sql("SELECT current_setting('temp_directory')").fetchall()[0][0])

sys.stdout.flush()
worker = multiprocessing.get_context("fork").Process(target=ask)
worker.start()
worker.join()
if os.fork() == 0:
    sys.exit()
os.wait()
print(Path(folder).exists())
"""


def test_what_memory_does_not_hold_is_for_nobody_else_to_read_and_goes_with_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", SPILLS], capture_output=True, text=True, timeout=60, check=True)
    folder, files, mode, of_a_worker, left_by_the_fork = done.stdout.split()
    assert int(files) > 0
    assert (mode, left_by_the_fork) == ("0o700", "True")
    assert not Path(folder).exists()
    assert of_a_worker != folder
    assert not Path(of_a_worker).exists()


def test_a_fork_counts_and_ends() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "True"]
