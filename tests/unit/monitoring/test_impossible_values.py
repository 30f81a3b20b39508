"""Whether a value is possible is asked together with its bin, and no bin is another for it."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.engines.base import MISSING, NEGATIVE_INFINITY, NOT_A_NUMBER, POSITIVE_INFINITY, UNREADABLE, Bins
from assay.monitoring.questions import POSSIBLE, Asked, ask
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec

SCHEMA = PredictionSchema(time="ts", prediction="pred", confidence="p", latency_s="lat")
numbers = st.floats(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, 1 + 1e-7, -1e-300, -5e-324, *POSSIBLE["confidence"]])


def spec_of(role: str, edges: tuple[float, ...]) -> SignalSpec:
    if role == "confidence":
        return SignalSpec("confidence", "outputs", "ordered", "p", edges=edges)
    return SignalSpec("latency_s:p50", "service", "rate", "lat", edges=edges[:1], sides="up")


def edges_of(asked: Asked) -> tuple[float, ...]:
    (code,) = asked.question.codes
    assert isinstance(code, Bins)
    return code.edges


@pytest.mark.parametrize("role", ["confidence", "latency_s"])
@given(edges=st.lists(numbers, min_size=1, max_size=6, unique=True), x=numbers)
def test_bins_are_those_of_the_signal_alone(role: str, edges: list[float], x: float) -> None:
    spec = spec_of(role, tuple(sorted({edge + 0.0 for edge in edges})))
    asked = ask([spec], SCHEMA)[spec.name]
    ends = edges_of(asked)
    assert set(spec.edges) <= set(ends)
    code = bisect_left(ends, x)
    bin_ = bisect_left(spec.edges, x)
    assert asked.bin_of((code,)) == (bin_ if spec.kind == "ordered" else int(bin_ == len(spec.edges)))
    low, high = POSSIBLE[role]
    assert asked.beyond.get(code) == ("below" if x <= low else "above" if x > high else None)


@pytest.mark.parametrize("role", ["confidence", "latency_s"])
def test_what_is_no_number_is_in_the_bins_it_was_in(role: str) -> None:
    spec = spec_of(role, (0.25, 0.75))
    asked = ask([spec], SCHEMA)[spec.name]
    last = len(spec.edges) if spec.kind == "ordered" else 1
    codes = (MISSING, NOT_A_NUMBER, UNREADABLE, NEGATIVE_INFINITY, POSITIVE_INFINITY)
    assert [asked.bin_of((code,)) for code in codes] == [None, None, None, 0, last]
    assert asked.beyond[MISSING] == "null"


def test_a_role_that_no_signal_is_about_is_asked_by_itself_and_counted_in_no_bin() -> None:
    asked = ask([], SCHEMA)
    assert {name: edges_of(one) for name, one in asked.items()} == {
        "confidence:possible": POSSIBLE["confidence"],
        "latency_s:possible": tuple(end for end in POSSIBLE["latency_s"] if math.isfinite(end)),
    }
    assert {one.bin_of((code,)) for one in asked.values() for code in range(-5, 3)} == {None}
    assert not ask([], PredictionSchema(time="ts", prediction="pred"))
