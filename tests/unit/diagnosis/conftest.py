"""The small world as a fixture."""

from __future__ import annotations

import pytest
from tests.unit.diagnosis.small_world import World


@pytest.fixture
def world() -> World:
    return World()
