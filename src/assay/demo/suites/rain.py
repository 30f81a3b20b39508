"""How the rain forecaster must behave before it goes live."""

from pathlib import Path

from assay.demo.rain import FEATURES
from assay.validation.checks.edge import EdgeCases
from assay.validation.checks.fairness import Fairness
from assay.validation.checks.perturbation import Perturbation
from assay.validation.checks.regression import Golden, Metric
from assay.validation.suite import Suite

DATA = Path(__file__).parent.parent / "data" / "rain"
HELD_OUT = DATA / "held-out.parquet"

suite = Suite(
    "rain",
    Golden(DATA / "golden.parquet"),
    Metric(HELD_OUT, "label", at_least=0.70, features=FEATURES),
    EdgeCases(HELD_OUT, label="label", features=FEATURES),
    Perturbation(HELD_OUT, noise_sd=0.01, at_most=0.03, label="label", features=FEATURES),
    Fairness(
        HELD_OUT,
        "label",
        "wind",
        metric="accuracy",
        delta=0.10,
        features=FEATURES,
        name="as good on windy days as on calm ones",
    ),
)
