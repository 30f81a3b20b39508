from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.audit.log import AuditLog

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    """A log with its database, key and outside folder in ``tmp_path``."""
    opened = AuditLog.open(
        tmp_path / "audit.db",
        key=tmp_path / "log.key",
        origin="example.org/log",
        checkpoints=[tmp_path / "outside"],
        now=NOW,
    )
    with opened:
        yield opened
