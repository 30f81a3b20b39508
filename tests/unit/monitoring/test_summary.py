from __future__ import annotations

import numpy as np
import pytest
from tests.unit.monitoring.drifting import Change, DriftingStream

from assay.monitoring.monitor import evaluate


def test_a_window_is_told_in_the_words_of_the_reader() -> None:
    reference, live = DriftingStream(seed=3, features=2, classes=3, slices=1).windows(20, 2)
    values = evaluate(reference, live).series[0].values
    counts = live[0].counts
    assert values["accuracy"].value == counts["error"][0] / 1000
    assert values["accuracy:class=0"].value == counts["accuracy:class=0"][0] / sum(counts["accuracy:class=0"])
    assert values["failures"].value == counts["failures"][1] / 1000
    assert values["prediction=1"].value == counts["prediction"][1] / 1000
    assert values["confidence"].value == pytest.approx(0.85, abs=0.02)
    assert values["volume"].value == live[0].rows
    assert {"latency_s:p95", "feature:f0", "feature:f0:null", "accuracy:slice:s=0"} <= set(values)
    assert all(v.low <= v.value <= v.high for v in values.values())


def test_a_feature_is_told_by_its_distance_from_the_baseline() -> None:
    reference, live = DriftingStream(seed=4, features=2, change=Change(at=1, feature_sd=1.0)).windows(20, 2)
    before, after = (s.values["feature:f0"] for s in evaluate(reference, live).series)
    assert before.low < 0.05  # nothing has moved
    assert after.value == pytest.approx(0.383, abs=0.05)  # total variation of one sd: 2 Phi(1/2) - 1
    assert after.low > before.high


@pytest.mark.parametrize("bins", [3, 8, 9, 20, 41, 150])
def test_distances_of_many_signals_and_windows_are_those_of_each_alone(bins: int) -> None:
    stream = DriftingStream(seed=5, features=4, bins=bins, change=Change(at=3, feature_sd=0.3))
    reference, live = stream.windows(20, 6)
    apart = [evaluate(reference, live[:n]).series[-1] for n in range(1, 7)]
    assert evaluate(reference, live).series == tuple(apart)
    for name in (f"feature:f{i}" for i in range(4)):
        baseline = np.array([window.counts[name] for window in reference.windows], dtype=np.float64).sum(0)
        for window, told in zip(live, apart, strict=True):
            counts = np.array(window.counts[name], dtype=np.float64)
            share = np.abs(counts / float(counts.sum()) - baseline / float(baseline.sum()))
            assert told.values[name].value == float(share.sum() / 2)  # bit for bit
