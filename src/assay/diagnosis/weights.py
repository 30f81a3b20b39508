"""How much each measure counts: coefficients fitted on scenarios, kept as data beside the code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.learners import Floats
from assay.errors import DiagnosisError

CAP = 3.0  # a measure counts for at most three of its spreads: no single odd number decides


@dataclass(frozen=True, slots=True)
class Weights:
    """A multinomial logistic model over the measures of all evidence.

    Attributes:
        verdicts: The causes, in the order of the rows of ``coefficients``.
        measures: ``evidence.number`` names, in the order of its columns.
        middle: What a measure is under no change, in its own unit.
        spread: One unit of weight, in the measure's own unit.
        coefficients: Shape (causes, measures).
        intercepts: Shape (causes,).
        alone: How often each piece of evidence names the cause by itself, on data sets it was not fitted on.
        made: How the numbers were made.
    """

    verdicts: tuple[str, ...]
    measures: tuple[str, ...]
    middle: Floats
    spread: Floats
    coefficients: Floats
    intercepts: Floats
    alone: Mapping[str, float]
    made: Mapping[str, object]

    def standardised(self, evidence: Sequence[Evidence]) -> Floats:
        """The measures in their spreads, capped at 3; a missing one is 0, which speaks for nothing."""
        found = {f"{item.name}.{name}": value for item in evidence for name, value in item.numbers.items()}
        raw = np.array([found.get(name, np.nan) for name in self.measures], dtype=np.float64)
        return np.nan_to_num(np.clip((raw - self.middle) / self.spread, -CAP, CAP), nan=0.0)

    def contributions(self, evidence: Sequence[Evidence]) -> dict[str, dict[str, float]]:
        """For each piece of evidence, by how much it raises each cause's log odds against the average cause."""
        parts = self.coefficients * self.standardised(evidence)
        parts = parts - parts.mean(axis=0)
        owner = np.array([name.split(".")[0] for name in self.measures])
        return {
            item.name: dict(zip(self.verdicts, parts[:, owner == item.name].sum(axis=1).tolist(), strict=True))
            for item in evidence
        }

    def probabilities(self, evidence: Sequence[Evidence], priors: Mapping[str, float]) -> dict[str, float]:
        """Probability of each cause: fitted with all causes alike, priors applied afterwards.

        Raises:
            ValueError: A prior is not positive.
        """
        prior = np.array([priors.get(verdict, 1.0) for verdict in self.verdicts])
        if (prior <= 0).any():
            raise ValueError("every prior must be above 0: nothing is impossible before the evidence is seen")
        score = self.intercepts + self.coefficients @ self.standardised(evidence) + np.log(prior)
        share = np.exp(score - score.max())
        return dict(zip(self.verdicts, (share / share.sum()).tolist(), strict=True))

    def to_json(self) -> dict[str, object]:
        """As the data file holds it."""
        return {
            "made": dict(self.made),
            "verdicts": list(self.verdicts),
            "measures": [
                {"name": name, "middle": round(float(m), 6), "spread": round(float(s), 6)}
                for name, m, s in zip(self.measures, self.middle, self.spread, strict=True)
            ],
            "coefficients": {
                verdict: [round(float(value), 5) for value in row]
                for verdict, row in zip(self.verdicts, self.coefficients, strict=True)
            },
            "intercepts": {
                verdict: round(float(v), 5) for verdict, v in zip(self.verdicts, self.intercepts, strict=True)
            },
            "alone": {name: round(share, 4) for name, share in self.alone.items()},
        }

    @classmethod
    def parse(cls, text: str | bytes) -> Weights:
        """Read what `to_json` wrote.

        Raises:
            DiagnosisError: When it is anything else.
        """
        try:
            data = json.loads(text)
            verdicts = tuple(str(v) for v in data["verdicts"])
            return cls(
                verdicts=verdicts,
                measures=tuple(str(m["name"]) for m in data["measures"]),
                middle=np.array([float(m["middle"]) for m in data["measures"]]),
                spread=np.array([float(m["spread"]) for m in data["measures"]]),
                coefficients=np.array([data["coefficients"][v] for v in verdicts], dtype=np.float64),
                intercepts=np.array([data["intercepts"][v] for v in verdicts], dtype=np.float64),
                alone={str(k): float(v) for k, v in data["alone"].items()},
                made=dict(data["made"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise DiagnosisError(f"the weights of the diagnosis are damaged ({err}): reinstall the package") from err


@cache
def shipped() -> Weights:
    """The weights that came with the package; made by ``benchmarks/diagnosis/run.py``."""
    return Weights.parse(files("assay.diagnosis").joinpath("weights.json").read_bytes())
