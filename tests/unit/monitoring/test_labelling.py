"""Labels that come for some rows only are told; labels that merely come late are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.findings import Finding
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.baseline import Baseline
from assay.monitoring.learning import Task
from assay.monitoring.schema import PredictionSchema
from assay.project.pending import pending_labels

TODAY = datetime(2026, 3, 2, tzinfo=UTC)
SERVED = PredictionSchema(time="ts", prediction="pred", confidence="p", label="y")
Mask = npt.NDArray[np.bool_]


class Credits:
    """300 credits a day, of which half turn bad; four answers of five are right."""

    def __init__(self, days: int, start: datetime, seed: int, *, drift: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        rows = 300 * days
        self.day = np.sort(rng.random(rows)) * days
        score = rng.normal(drift * self.day / days, 2.0, rows)
        share = 1 / (1 + np.exp(-score))
        self.bad: Mask = rng.random(rows) < share
        self.refused: Mask = share > 0.5
        self.dice = rng.random(rows)
        self.score = score
        self.sure = np.maximum(share, 1 - share)
        self.start = start

    def table(self, known: Mask | None = None, *, numbers: bool = False) -> pa.Table:
        micros = self.start.timestamp() * 1e6 + self.day * 86_400e6
        said = self.score if numbers else np.where(self.refused, "bad", "good")
        truth = self.score + self.dice - 0.5 if numbers else np.where(self.bad, "bad", "good")
        labels = [None if known is not None and not known[at] else one for at, one in enumerate(truth.tolist())]
        times = pa.array(micros.astype(np.int64), pa.timestamp("us", "UTC"))
        kind = pa.float64() if numbers else pa.string()
        return pa.table({"ts": times, "pred": said.tolist(), "p": self.sure, "y": pa.array(labels, kind)})


REFERENCE = Credits(30, TODAY - timedelta(days=30), 1)


def said(current: pa.Table, *, numbers: bool = False) -> dict[str, Finding]:
    """What is told of labels, by rule."""
    tables = Source(table=REFERENCE.table(numbers=numbers)), Source(table=current)
    chosen: Task = "regression" if numbers else "classification"
    end = TODAY + timedelta(days=20)
    found = monitor_tables(DuckDb(), *tables, SERVED, window="1d", false_alarm_every=None, now=end, task=chosen)
    return {one.rule: one for one in found.findings if one.rule.startswith("label.")}


NOW = Credits(20, TODAY, 2)
DRIFTED = Credits(20, TODAY, 3, drift=3.0)


def test_labels_of_the_refused_alone_are_told_beside_the_alarm_they_raise() -> None:
    found = said(NOW.table(NOW.refused))["label.selected"]
    assert "labels have come for 0% of the" in found.detail
    assert "predicted good and for 100% of the" in found.detail
    assert found.severity.value == "warning"


def test_labels_of_one_outcome_alone_are_told() -> None:
    found = said(NOW.table(NOW.bad))
    assert "says good, as 51% of the baseline's did" in found["label.one-sided"].detail
    assert "label.selected" in found


def test_numbers_that_get_a_label_only_when_they_are_high_are_told() -> None:
    found = said(NOW.table(NOW.score > 0, numbers=True), numbers=True)["label.selected"]
    assert "of the" in found.detail
    assert "for 100% of the" in found.detail


@pytest.mark.parametrize(
    "table",
    [
        NOW.table(),
        NOW.table(NOW.dice < 0.3),
        NOW.table(NOW.day < 10),
        DRIFTED.table(DRIFTED.dice > DRIFTED.day / 20),
        NOW.table(np.zeros(len(NOW.day), bool)),
    ],
    ids=["all", "some by chance", "old rows", "old rows of a world that changes", "none"],
)
def test_labels_that_are_late_or_few_are_not_called_chosen(table: pa.Table) -> None:
    assert not {"label.selected", "label.one-sided"} & said(table).keys()


def test_a_log_whose_labels_are_chosen_tells() -> None:
    end = TODAY + timedelta(days=20)
    specs = Baseline.learn(DuckDb(), Source(table=REFERENCE.table()), SERVED, window="1d", now=end).specs
    chosen = pending_labels(DuckDb(), Source(table=NOW.table(NOW.refused)), SERVED, end, specs)
    even = pending_labels(DuckDb(), Source(table=NOW.table(NOW.dice < 0.5)), SERVED, end, specs)
    assert chosen is not None
    assert even is not None
    assert [one.rule for one in chosen.findings] == ["label.selected"]
    assert even.findings == ()
    assert sum(counts["waiting"] for counts in chosen.ages.values()) == int((~NOW.refused).sum())
