from __future__ import annotations

import pytest
from tests.unit.monitoring.drifting import DriftingStream

from assay.monitoring.signals import SignalSpec
from assay.monitoring.weights import weights


def test_the_shares_never_exceed_the_one_budget() -> None:
    assert sum(weights(DriftingStream(seed=0, slices=5).specs())) == pytest.approx(1.0)
    assert sum(weights(DriftingStream(seed=0).specs())) == pytest.approx(7 / 8)  # no slices: their share is kept


def test_more_features_do_not_slow_the_error_rate() -> None:
    few, many = DriftingStream(seed=0, features=2).specs(), DriftingStream(seed=0, features=100).specs()
    of = [dict(zip((s.name for s in specs), weights(specs), strict=True))["error"] for specs in (few, many)]
    assert of[0] == of[1] == 1 / 8


def test_a_columns_signals_share_the_columns_part() -> None:
    specs = (
        SignalSpec("feature:a", "inputs", "ordered", "a", edges=(0.0,)),
        SignalSpec("feature:a:null", "inputs", "rate", "a"),
        SignalSpec("feature:b", "inputs", "ordered", "b", edges=(0.0,)),
    )
    assert weights(specs) == (3 / 32, 1 / 32, 1 / 8)


def test_rates_without_a_distribution_have_all_of_their_column() -> None:
    specs = tuple(
        SignalSpec(f"latency_s:{word}", "service", "rate", "latency_s", edges=(1.0,)) for word in ("p50", "p95")
    )
    assert weights(specs) == (1 / 16, 1 / 16)
