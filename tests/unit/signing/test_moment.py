"""The two times a signature is judged by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from assay.signing.moment import Moment

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_without_a_trusted_time_the_present_counts() -> None:
    assert Moment(NOW).at == NOW


def test_a_trusted_time_counts_instead_of_the_present() -> None:
    assert Moment(NOW, NOW - timedelta(days=9)).at == NOW - timedelta(days=9)


@pytest.mark.parametrize(("now", "signed"), [(NOW.replace(tzinfo=None), None), (NOW, NOW.replace(tzinfo=None))])
def test_a_time_of_no_zone_is_no_moment(now: datetime, signed: datetime | None) -> None:
    with pytest.raises(ValueError, match="timezone"):
        Moment(now, signed)
