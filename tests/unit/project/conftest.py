from __future__ import annotations

from pathlib import Path

import pytest
from tests.small_project import Small, build


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A project with nothing signed yet."""
    return build(tmp_path)
