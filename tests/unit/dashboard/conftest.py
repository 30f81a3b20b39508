from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.dashboard.served import Served, tampered, watched


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A monitored project that tests only look at; its clock is at noon of the fifth day."""
    return watched(tmp_path_factory.mktemp("seen"))


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """A project of one's own, with one open incident, to change at will."""
    return tampered(tmp_path)
