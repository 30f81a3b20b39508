"""One conformance list for every detector of the shelf."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.monitoring.drifting import DriftingStream

from assay.errors import ConfigError
from assay.inference.evidence import over_look_backs
from assay.inference.natural import learn
from assay.monitoring.detectors.base import Detector, View, Watcher
from assay.monitoring.detectors.shelf import DETECTORS, built_in, find
from assay.monitoring.floors import Floors
from assay.monitoring.signals import SignalSpec

SIGNALS = (
    SignalSpec("failures", "service", "rate", "failed"),
    SignalSpec("volume", "service", "volume", ""),
    SignalSpec("confidence", "outputs", "ordered", "p", edges=tuple(float(x) for x in np.linspace(0.5, 0.975, 19))),
    SignalSpec("prediction", "outputs", "values", "y", values=tuple("abcdefghij")),
)


def _covered(detector: Detector) -> list[SignalSpec]:
    return [s for s in SIGNALS if detector.covers(s)]


def _counts(spec: SignalSpec, seed: int, windows: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if spec.kind == "volume":
        return rng.poisson(1000 * (1 + shift), size=(windows, 1)).astype(float)
    share = np.full(spec.bins, 1 / spec.bins)
    if spec.kind == "values":
        share[-1] = 0
    tilted = share * np.exp(-3 * shift * np.arange(spec.bins) / spec.bins)
    return rng.multinomial(1000, tilted / tilted.sum(), size=windows).astype(float)


def _watch(detector: Detector, spec: SignalSpec, live: np.ndarray, baseline: np.ndarray, cap: float | None) -> Watcher:
    natural = learn(*detector.tally(spec, baseline), signals=1)
    return detector.watch(View(spec, live, natural, Floors(), np.zeros(len(live), dtype=np.intp), cap))


@pytest.fixture(params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> Detector:
    return find(request.param)


def test_it_is_listed_under_its_own_name_and_states_its_promise(detector: Detector) -> None:
    assert DETECTORS[detector.name].endswith(type(detector).__name__)
    assert "Promise:" in (type(detector).__doc__ or "")


def test_it_covers_something_and_says_so_before_it_is_asked(detector: Detector) -> None:
    assert _covered(detector)
    for spec in _covered(detector):
        events, rows = detector.tally(spec, _counts(spec, 1, 5))
        assert events.shape == rows.shape == (5, len(detector.questions(spec)))
        assert (events <= rows).all()
        assert all(0 <= b < spec.bins for q in detector.questions(spec) for b in q.bins)


def test_it_keeps_quiet_when_nothing_changes(detector: Detector) -> None:
    # The promise: summed over starts E exceeds 10,000 once in 10,000 windows; 400 windows should show none.
    for spec in _covered(detector):
        watcher = _watch(detector, spec, _counts(spec, 2, 400), _counts(spec, 3, 60), 8.0)
        assert over_look_backs(watcher.log_evidence, 400).sum(0).max() < 10_000


def test_it_finds_a_large_change_and_names_a_question(detector: Detector) -> None:
    for spec in _covered(detector):
        watcher = _watch(detector, spec, _counts(spec, 4, 20, shift=0.5), _counts(spec, 5, 60), None)
        assert watcher.log_evidence(np.array([1]), np.array([19]))[0] > 20
        question = watcher.strongest(1, 19)
        assert question.label
        assert question.bins
        assert question.side in ("up", "down")


def test_no_single_window_brings_more_than_the_cap(detector: Detector) -> None:
    for spec in _covered(detector):
        watcher = _watch(detector, spec, _counts(spec, 6, 10, shift=0.9), _counts(spec, 7, 60), 3.0)
        every = np.arange(10)
        assert watcher.log_evidence(every, every).max() <= 3.0 + 1e-9


def test_no_rows_at_all_are_no_evidence_but_for_volume(detector: Detector) -> None:
    for spec in _covered(detector):
        watcher = _watch(detector, spec, np.zeros((5, spec.bins)), _counts(spec, 8, 60), None)
        value = float(watcher.log_evidence(np.array([0]), np.array([4]))[0])
        assert value > 100 if spec.kind == "volume" else value <= 1e-9


def test_every_signal_of_a_deployment_has_a_detector() -> None:
    for spec in DriftingStream(seed=0, slices=1).specs():
        assert any(d.covers(spec) for d in built_in()), spec.name


def test_an_unknown_detector_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match="halfline"):
        find("crystal-ball")


def test_floors_are_shares() -> None:
    with pytest.raises(ValueError, match="floors"):
        Floors(distribution=-0.1)
