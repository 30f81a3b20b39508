from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from assay.audit.log import AuditLog
from assay.incidents.audiences import Channels
from assay.incidents.desk import Desk
from assay.storage.database import open_state

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
AFTER = timedelta(minutes=15)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_state(tmp_path / "state.db")
    yield made
    made.dispose()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog.open(
        tmp_path / "log.db", key=tmp_path / "log.key", origin="example.org/log", checkpoints=[], now=NOW
    ) as made:
        yield made


@pytest.fixture
def inbox(tmp_path: Path) -> Callable[[str], list[dict[str, object]]]:
    import json

    def read(audience: str) -> list[dict[str, object]]:
        path = tmp_path / f"{audience}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def desk(engine: Engine, log: AuditLog, tmp_path: Path) -> Desk:
    channels = Channels(security=[f"file://{tmp_path}/security.jsonl"], owners=[f"file://{tmp_path}/owners.jsonl"])
    return Desk(engine, log, channels, escalate_after=AFTER, actor="assay@host")
