"""kill -9 at any point of an append, two processes at once, a full disk: no acknowledged entry lost, no half entry."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from assay.audit.log import AuditLog
from assay.audit.verify import check_log
from assay.errors import LogError
from assay.storage.database import reading

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ORIGIN = "example.org/log"

APPEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from assay.audit.log import AuditLog
folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
log = AuditLog.open(folder / "audit.db", key=folder / "log.key", origin="example.org/log",
                    checkpoints=[folder / "outside"], now=datetime.now(UTC))
for number in range(count):
    position = log.append("model.signed", name, {"number": number}, actor="a", now=datetime.now(UTC))
    print(position, number, flush=True)
"""


def opened(folder: Path) -> AuditLog:
    return AuditLog.open(
        folder / "audit.db", key=folder / "log.key", origin=ORIGIN, checkpoints=[folder / "outside"], now=NOW
    )


def appending(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPEND, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_9_at_any_point_loses_no_acknowledged_entry(tmp_path: Path) -> None:
    chance = random.Random(20260301)  # noqa: S311 when to kill is no secret
    acknowledged: dict[int, tuple[str, int]] = {}
    for turn in range(6):
        process = appending(tmp_path, f"turn-{turn}", 100_000)
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # the first append is done, so the kill hits one of the next
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        process.wait()
        for line in lines:
            if len(words := line.split()) == 2:
                acknowledged[int(words[0])] = (f"turn-{turn}", int(words[1]))
    with opened(tmp_path) as log:
        logged = {each.position: (each.entry.subject, each.entry.data["number"]) for each in log.entries()}
        assert acknowledged.items() <= logged.items()
        assert len(logged) <= len(acknowledged) + 6  # written, but killed before it could say so
        report = check_log(tmp_path / "audit.db", key_string=log.key_string, outside=[tmp_path / "outside"])
        assert report.state == "sound"
        assert {finding.rule for finding in report.findings} <= {"log.unwitnessed-tail"}
        log.append("project.made", "after", {}, actor="a", now=NOW)
        again = check_log(tmp_path / "audit.db", key_string=log.key_string, outside=[tmp_path / "outside"])
        assert (again.state, again.findings) == ("sound", ())


def test_several_processes_make_one_history(tmp_path: Path) -> None:
    # They also race to make the key and the database.
    processes = [appending(tmp_path, f"p{number}", 25) for number in range(3)]
    positions: list[int] = []
    for process in processes:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        positions += [int(line.split()[0]) for line in said.splitlines()]
    assert sorted(positions) == list(range(75))
    with opened(tmp_path) as log:
        report = check_log(tmp_path / "audit.db", key_string=log.key_string, outside=[tmp_path / "outside"])
    assert (report.state, report.size, report.findings) == ("sound", 75, ())


def test_a_full_disk_refuses_the_entry_and_keeps_the_rest(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.append("model.signed", "m", {}, actor="a", now=NOW)
        with reading(log._engine) as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar()
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(LogError, match=r"nothing was logged.*disk is full"):
            log.append("model.signed", "m", {"large": "x" * 100_000}, actor="a", now=NOW)
        assert log.size() == 1
        with reading(log._engine) as connection:
            connection.execute(text("PRAGMA max_page_count = 1000000"))
        assert log.append("model.signed", "m", {"large": "x" * 100_000}, actor="a", now=NOW) == 1
        report = check_log(tmp_path / "audit.db", key_string=log.key_string, outside=[tmp_path / "outside"])
        assert (report.state, report.findings) == ("sound", ())


def test_a_write_cut_short_refuses_the_entry_and_keeps_the_rest(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.append("model.signed", "m", {}, actor="a", now=NOW)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (200_000, hard)
        )  # writes behind this end in EFBIG, as on a full quota
        try:
            with pytest.raises(LogError, match="nothing was logged"):
                log.append("model.signed", "m", {"large": "x" * 500_000}, actor="a", now=NOW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert log.append("model.signed", "m", {"large": "x" * 500_000}, actor="a", now=NOW) == 1
        report = check_log(tmp_path / "audit.db", key_string=log.key_string, outside=[tmp_path / "outside"])
        assert (report.state, report.size, report.findings) == ("sound", 2, ())
