"""A small world with a known rule, a model of it, and streams of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.diagnosis.case import ByteFacts, Case
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.schema import PredictionSchema

Floats = npt.NDArray[np.float64]
NAMES = ("heat", "damp", "wind", "gust", "press", "light")
ROOT = "a" * 64
SCHEMA = PredictionSchema(time="ts", prediction="pred", confidence="conf", label="y", slices=("site",))


@dataclass
class RuleModel:
    """Answers by a fixed weighing of the columns; `flip` alters answers the way edited weights do."""

    weights: tuple[float, ...] = (2.0, 1.0, -1.0, 0.0, 0.5, 0.0)
    flip: Callable[[Floats], npt.NDArray[np.bool_]] | None = None
    calls: int = 0

    def predict(self, table: pa.Table) -> Prediction:
        self.calls += 1
        x = np.column_stack([table.column(name).to_numpy(zero_copy_only=False) for name in NAMES])
        share = 1 / (1 + np.exp(-3 * (np.nan_to_num(x) @ np.array(self.weights))))
        if self.flip is not None:
            share = np.where(self.flip(x), 1 - share, share)
        scores = np.column_stack([1 - share, share])
        return Prediction(scores.argmax(axis=1), scores.max(axis=1), scores, (0, 1))


def _or_nulls(values: Floats | None, n: int) -> pa.Array:
    return pa.nulls(n, pa.float64()) if values is None else pa.array(values)


@dataclass
class World:
    """Draws rows: gust goes with wind, damp with heat; the truth follows the model's rule but for some noise."""

    seed: int = 0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def inputs(self, n: int, shift: Mapping[str, float] | None = None) -> Floats:
        z = self.rng.normal(size=(n, 6))
        x = np.column_stack(
            [
                z[:, 0],
                1.6 * z[:, 0] + 1.2 * z[:, 1],
                np.exp(0.4 * z[:, 2]),
                np.exp(0.4 * z[:, 2]) + 0.2 * z[:, 3],
                0.3 * z[:, 4],
                np.abs(z[:, 5]),
            ]
        )
        for name, by in (shift or {}).items():
            x[:, NAMES.index(name)] += by
        return x

    def truth(self, x: Floats) -> npt.NDArray[np.int64]:
        share = 1 / (1 + np.exp(-3 * (x @ np.array(RuleModel().weights))))
        return np.asarray(self.rng.random(len(x)) < share, dtype=np.int64)

    def table(self, x: Floats, served: Predictor, *, start: int, y: npt.NDArray[np.int64] | None = None) -> pa.Table:
        columns = {name: x[:, j] for j, name in enumerate(NAMES)}
        answer = served.predict(pa.table(columns))
        ts = np.datetime64("2026-01-01T00:00:00", "us") + (start + np.arange(len(x))) * np.timedelta64(60_000_000, "us")
        site = np.where(np.arange(len(x)) % 4 == 0, "north", "south")
        labels = self.truth(x) if y is None else y
        return pa.table(
            {
                "ts": ts,
                "site": site,
                **columns,
                "pred": answer.labels,
                "conf": _or_nulls(answer.confidence, len(x)),
                "y": labels,
            }
        )

    def case(
        self,
        *,
        recent: pa.Table | None = None,
        served: Predictor | None = None,
        known_good: RuleModel | bool | None = True,
        facts: ByteFacts | None = None,
        n: int = 500,
    ) -> Case:
        model = RuleModel()
        if recent is None:
            recent = self.table(self.inputs(n), served or model, start=20_000)
        return Case(
            schema=SCHEMA,
            reference=self.table(self.inputs(n), model, start=0),
            before=self.table(self.inputs(n), model, start=10_000),
            recent=recent,
            known_good=model if known_good is True else known_good or None,
            bytes=facts or ByteFacts(recorded_root=ROOT, live_root=ROOT, live_signed=True),
            key=b"secret",
        )
