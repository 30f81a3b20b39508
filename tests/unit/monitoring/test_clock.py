"""Spans and instants as a person reads them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assay.monitoring.clock import spoken


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=0.25), "0.25 seconds"),
        (timedelta(seconds=45), "45 seconds"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=90), "1.5 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=1), "1 day"),
        (timedelta(weeks=2), "14 days"),
        (timedelta(days=364), "364 days"),
        (timedelta(days=365), "1 year"),
        (timedelta(days=3_650_000), "10,000 years"),
    ],
    ids=str,
)
def test_a_span_is_said_in_its_largest_unit(span: timedelta, said: str) -> None:
    assert spoken(span) == said
