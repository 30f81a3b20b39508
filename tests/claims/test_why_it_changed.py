"""The verdict names the cause: tampering by replay, drift never as tampering, unknown where evidence is withheld."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from assay.diagnosis.case import ByteFacts, Case
from assay.diagnosis.diagnose import diagnose
from assay.frameworks.base import Prediction
from assay.monitoring.schema import PredictionSchema

ROOT = "a" * 64
SCHEMA = PredictionSchema(time="ts", prediction="pred", confidence="conf", label="y")
ATTACKS = {"model-tampering", "backdoor"}


@dataclass
class Served:
    """A scikit-learn model as it answers tables."""

    model: Any
    names: tuple[str, ...]

    def predict(self, table: pa.Table) -> Prediction:
        scores = self.model.predict_proba(np.column_stack([table.column(name).to_numpy() for name in self.names]))
        return Prediction(scores.argmax(axis=1), scores.max(axis=1), scores, (0, 1))


class Hospital:
    """Breast cancer cases in time: reference, before, recent; drawn from disjoint thirds with a little noise."""

    def __init__(self) -> None:
        data = load_breast_cancer()
        self.rng = np.random.default_rng(7)
        self.names = tuple(str(name) for name in data.feature_names[:10])
        order = self.rng.permutation(len(data.target))
        self.x, self.y = data.data[order][:, :10], data.target[order]
        self.model = self.fit()

    def fit(self) -> Served:
        model = Pipeline([("scale", StandardScaler()), ("weigh", LogisticRegression(max_iter=500))])
        return Served(model.fit(self.x[:200], self.y[:200]), self.names)

    def edited(self) -> Served:
        """The same model with one coefficient changed sign and grown."""
        other = self.fit()
        other.model.named_steps["weigh"].coef_[0, 4] = 4.0
        return other

    def draw(self, start: int, end: int, n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        rows = self.rng.integers(start, end, n)
        return self.x[rows] + 0.05 * self.x.std(axis=0) * self.rng.normal(size=(n, 10)), self.y[rows]

    def table(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.int64], served: Served, day: int) -> pa.Table:
        columns = {name: x[:, j] for j, name in enumerate(self.names)}
        answer = served.predict(pa.table(columns))
        start = np.datetime64("2026-03-01", "us") + day * np.timedelta64(86_400_000_000, "us")
        ts = start + np.arange(len(y)) * np.timedelta64(60_000_000, "us")
        return pa.table({"ts": ts, **columns, "pred": answer.labels, "conf": answer.confidence, "y": y})

    def case(self, recent: pa.Table | None = None) -> Case:
        return Case(
            schema=SCHEMA,
            reference=self.table(*self.draw(200, 330, 400), self.model, 0),
            before=self.table(*self.draw(330, 569, 400), self.model, 30),
            recent=self.table(*self.draw(330, 569, 400), self.model, 60) if recent is None else recent,
            known_good=self.model,
            bytes=ByteFacts(ROOT, ROOT, live_signed=True),
            key=b"key of the log",
        )


@pytest.fixture
def hospital() -> Hospital:
    return Hospital()


def test_an_unchanged_model_in_an_unchanged_world_is_intact(hospital: Hospital) -> None:
    diagnosis = diagnose(hospital.case())
    assert diagnosis.verdict == "intact"
    assert not diagnosis.escalate


def test_edited_weights_are_tampering_by_replay_alone(hospital: Hospital) -> None:
    x, y = hospital.draw(330, 569, 400)
    case = hospital.case(hospital.table(x, y, hospital.edited(), 60))
    diagnosis = diagnose(replace(case, recent=case.recent.drop_columns(["y"])))
    assert diagnosis.verdict == "model-tampering"
    assert diagnosis.escalate
    replay = next(item for item in diagnosis.evidence if item.name == "replay")
    assert replay.decides == "model-tampering"
    assert "where the signed copy says" in replay.detail
    assert any("of outputs differ where" in finding.detail for finding in replay.findings)
    assert "signed" in diagnosis.explanation[0]
    assert "security" in diagnosis.explanation[2]


def test_edited_weights_are_not_missed_while_the_world_drifts(hospital: Hospital) -> None:
    x, y = hospital.draw(330, 569, 400)
    x = x + 0.8 * hospital.x.std(axis=0) * (np.arange(10) % 2)
    diagnosis = diagnose(hospital.case(hospital.table(x, y, hospital.edited(), 60)))
    assert diagnosis.verdict == "model-tampering"


@pytest.mark.parametrize("copy_is_kept", [True, False])
@pytest.mark.parametrize("drift", ["everywhere", "in one region", "of the inputs"])
def test_drift_is_not_called_tampering(hospital: Hospital, drift: str, *, copy_is_kept: bool) -> None:
    x, y = hospital.draw(330, 569, 400)
    if drift == "everywhere":
        y = np.where(x[:, 0] > np.median(x[:, 0]) * 0.9, 1 - y, y)
    elif drift == "in one region":
        y = np.where(x[:, 1] > np.quantile(x[:, 1], 0.8), 1 - y, y)
    else:
        x = x + 0.8 * hospital.x.std(axis=0) * (np.arange(10) % 2)
    case = hospital.case(hospital.table(x, y, hospital.model, 60))
    diagnosis = diagnose(case if copy_is_kept else replace(case, known_good=None))
    assert diagnosis.verdict not in ATTACKS
    if copy_is_kept:
        assert diagnosis.verdict == ("covariate-drift" if drift == "of the inputs" else "concept-drift")


def test_rotated_columns_are_a_data_fault_and_named(hospital: Hospital) -> None:
    x, y = hospital.draw(330, 569, 400)
    diagnosis = diagnose(hospital.case(hospital.table(np.roll(x, -1, axis=1), y, hospital.model, 60)))
    assert diagnosis.verdict == "data-fault"
    moved = next(item for item in diagnosis.evidence if item.name == "pipeline").notes["moved"]
    assert isinstance(moved, dict)
    right = dict(zip(hospital.names, (*hospital.names[1:], hospital.names[0]), strict=True))
    # Radius, perimeter and area are one measure three times over: they may stand for each other.
    assert sum(moved.get(name) == source for name, source in right.items()) >= 7


def test_tampering_is_unknown_not_misnamed_where_evidence_is_withheld(hospital: Hospital) -> None:
    x, y = hospital.draw(330, 569, 400)
    case = hospital.case(hospital.table(x, y, hospital.edited(), 60))
    blind = replace(
        case,
        known_good=None,
        bytes=ByteFacts(),
        reference=case.reference.drop_columns(["y"]),
        before=case.before.drop_columns(["y"]),
        recent=case.recent.drop_columns(["y"]),
    )
    diagnosis = diagnose(blind)
    assert diagnosis.verdict == "unknown"
    missing = {item.name for item in diagnosis.evidence if item.missing}
    assert {"bytes", "replay", "surrogate", "concept"} <= missing
    assert "known-good copy" in diagnosis.explanation[1]


def test_other_bytes_with_a_valid_signature_are_an_unrecorded_deployment(hospital: Hospital) -> None:
    case = replace(hospital.case(), bytes=ByteFacts(ROOT, "b" * 64, live_signed=True, live_signer="ci@acme.example"))
    assert diagnose(case).verdict == "unrecorded-deployment"
    tampered = replace(case, bytes=ByteFacts(ROOT, "b" * 64, live_signed=False))
    assert diagnose(tampered).verdict == "model-tampering"
