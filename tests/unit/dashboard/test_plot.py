"""Pictures of a monitor run as files: what is drawn, in which kinds, and what cannot be."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.cli.prompt import at, typed
from tests.unit.monitoring.drifting import Change, DriftingStream
from tests.unit.monitoring.streams import START, requests, written

from assay.dashboard import plot
from assay.errors import ConfigError
from assay.monitoring.monitor import Evaluation, evaluate


@pytest.fixture(scope="module")
def said() -> Evaluation:
    reference, live = DriftingStream(seed=4, features=2, change=Change(at=5, feature_sd=1.0)).windows(30, 20)
    return evaluate(reference, live)


def test_the_usual_signals_are_drawn_and_those_with_an_alarm(said: Evaluation) -> None:
    drawn = {chart.title: chart for chart in plot.charts(said)}
    assert {"Accuracy", "Mean confidence", "Failed requests"} <= set(drawn)
    moved = drawn["f0: distance from the baseline (total variation)"]
    assert [mark.kind for mark in moved.marks] == ["alarm"]
    assert moved.band is not None
    assert moved.points[0].value < moved.points[-1].value


def test_the_tolerance_is_what_never_raises_an_alarm(said: Evaluation) -> None:
    known = said.tolerances["accuracy"]
    assert known.high - known.value == pytest.approx(max(0.1 * min(known.value, 1 - known.value), 0.005))
    assert said.tolerances["feature:f0"].high == pytest.approx(0.02)
    assert 0.0 < said.tolerances["failures"].value < 0.005  # and half a point below it is no share
    assert said.tolerances["failures"].low == 0.0


def test_the_distribution_is_shown_then_and_now(said: Evaluation) -> None:
    (shape,) = [one for one in said.shapes if one.signal == "feature:f0"]
    assert len(shape.labels) == len(shape.then) == len(shape.now)
    assert sum(shape.then) == pytest.approx(1)
    assert sum(shape.now) == pytest.approx(1)
    assert sum(abs(a - b) for a, b in zip(shape.then, shape.now, strict=True)) / 2 > 0.1


@pytest.mark.parametrize("kind", plot.KINDS)
def test_each_kind_of_file_is_whole_and_fetches_nothing(said: Evaluation, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"run{kind}"
    plot.write(path, "a & b", said)
    data = path.read_bytes()
    if kind == ".png":
        assert data.startswith(b"\x89PNG")
        return
    text = data.decode()
    assert "<svg" in text
    links = set(re.findall(r"https?://[^\s\"'<]+", text)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not links
    assert ("var(--accent)" in text) is (kind == ".html")
    assert "a &amp; b" in text
    assert "Grey bands never raise an alarm" in text
    assert "at most one false alarm in 365 windows" in text


def test_another_ending_is_refused_before_the_work(tmp_path: Path) -> None:
    with at(tmp_path):
        typed("monitor", "--reference", "none.csv", "--plot", "run.pdf").refused(2, "'.pdf'", ".svg, .png, .html")


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    reference, live = DriftingStream(seed=4).windows(30, 1)
    with pytest.raises(ConfigError, match="no complete window"):
        plot.write(tmp_path / "run.svg", "m", evaluate(reference, live[:0]))


def test_two_tables_are_compared_and_drawn_at_the_prompt(tmp_path: Path) -> None:
    written(requests(20), tmp_path / "r.parquet")
    written(requests(5, start=START + timedelta(days=20), seed=1), tmp_path / "c.parquet")
    words = ("--time", "ts", "--prediction", "pred", "--label", "y", "--plot", "run.html")
    with at(tmp_path, now=START + timedelta(days=30)):
        typed("monitor", "--reference", "r.parquet", "--current", "c.parquet", *words)
    assert "Accuracy" in (tmp_path / "run.html").read_text()
