from __future__ import annotations

import json

import numpy as np
import pytest

from assay.errors import BaselineError
from assay.monitoring.signals import SignalSpec, WindowCounts, counts_of

SPECS = (
    SignalSpec("feature:x", "inputs", "ordered", "x", edges=(0.0, 1.5)),
    SignalSpec("prediction", "outputs", "values", "y", values=("a", "b")),
    SignalSpec("accuracy:slice:s=n", "slices", "rate", "y", sides="up", slice={"s": "n"}, hard=True),
    SignalSpec("volume", "service", "volume", ""),
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_a_signal_survives_json(spec: SignalSpec) -> None:
    assert SignalSpec.parse(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_window_survives_json() -> None:
    window = WindowCounts("2025-01-01T00:00:00.000000Z", "2025-01-02T00:00:00.000000Z", 3, {"feature:x": (1, 2, 0)})
    assert WindowCounts.parse(json.loads(json.dumps(window.to_json()))) == window


@pytest.mark.parametrize("broken", [None, [], {}, {"name": "x"}, {**SPECS[0].to_json(), "edges": [1, 0]}, 7, "x"])
def test_a_malformed_signal_is_refused(broken: object) -> None:
    with pytest.raises(BaselineError):
        SignalSpec.parse(broken)


@pytest.mark.parametrize("counts", [{"x": "ab"}, {"x": [-1]}, 3, {"x": [None]}])
def test_a_malformed_window_is_refused(counts: object) -> None:
    with pytest.raises(BaselineError):
        WindowCounts.parse({"start": "a", "end": "b", "rows": 1, "counts": counts})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"family": "others"},
        {"kind": "mean"},
        {"sides": "left"},
        {"edges": ()},
        {"edges": (1.0, 1.0)},
        {"edges": (float("nan"),)},
        {"edges": (float("inf"),)},
        {"kind": "values"},
    ],
)
def test_an_ill_defined_signal_is_refused(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"name": "x", "family": "inputs", "kind": "ordered", "column": "x", "edges": (0.0,)}
    with pytest.raises(ValueError, match=r"signal"):
        SignalSpec(**(good | wrong))  # type: ignore[arg-type]  # the point of the test


def test_counts_become_an_array_with_zeros_where_a_window_lacks_them() -> None:
    windows = [WindowCounts("a", "b", 3, {"feature:x": (1, 2, 0)}), WindowCounts("b", "c", 5, {})]
    assert counts_of(SPECS[0], windows).tolist() == [[1, 2, 0], [0, 0, 0]]
    assert np.array_equal(counts_of(SPECS[3], windows), [[3], [5]])


def test_other_bins_than_the_baseline_has_are_refused_by_name() -> None:
    with pytest.raises(BaselineError, match="feature:x"):
        counts_of(SPECS[0], [WindowCounts("a", "b", 3, {"feature:x": (1, 2)})])
