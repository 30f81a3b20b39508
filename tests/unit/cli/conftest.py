from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.unit.cli.prompt import NOW, clock_from


@pytest.fixture(scope="module")
def clock() -> Iterator[datetime]:
    """It is always the same morning: the one after the reference of the small project ends."""
    with clock_from(NOW):
        yield NOW
