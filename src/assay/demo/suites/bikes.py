"""How the bike model must behave before it goes live."""

from pathlib import Path

from assay.demo.bikes import FEATURES
from assay.validation.checks.edge import EdgeCases
from assay.validation.checks.perturbation import Perturbation
from assay.validation.checks.regression import Golden, Metric
from assay.validation.suite import Suite

DATA = Path(__file__).parent.parent / "data" / "bikes"
HELD_OUT = DATA / "reference.parquet"

suite = Suite(
    "bikes",
    Golden(DATA / "golden.parquet"),
    Metric(HELD_OUT, "label", at_least=0.85, features=FEATURES),
    EdgeCases(HELD_OUT, label="label", features=FEATURES),
    Perturbation(HELD_OUT, noise_sd=0.01, at_most=0.05, label="label", features=FEATURES),
)
