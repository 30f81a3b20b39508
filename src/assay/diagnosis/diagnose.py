"""Why did it change? Gathers all evidence of a case and decides."""

from __future__ import annotations

from collections.abc import Mapping

from assay.diagnosis.case import Case
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.shelf import gatherers
from assay.diagnosis.pictures import pictured
from assay.diagnosis.verdict import DEFAULT_PRIORS, Diagnosis, decide


def gather_all(case: Case) -> tuple[Evidence, ...]:
    """Every piece of evidence, in order of force, with its picture; what cannot be had says what it would take."""
    comparison = Comparison(case)
    return tuple(pictured(comparison, gather(comparison)) for _, gather in gatherers())


def diagnose(case: Case, *, priors: Mapping[str, float] = DEFAULT_PRIORS) -> Diagnosis:
    """Name the cause of a change, with what speaks for and against it.

    The same case gives the same diagnosis: samples are drawn with a seed made from ``case.key`` and the
    recent rows. Use `assay.diagnosis.evidence.bytes.judge_bytes` and
    `assay.diagnosis.replaying.replay_sample` for the cheap checks of every monitor run.

    Args:
        case: What is known.
        priors: Relative weight of each cause before the evidence.

    Raises:
        DiagnosisError: There are too few rows to compare.
        MissingExtraError: scikit-learn is not installed.
    """
    return decide(gather_all(case), priors=priors)
