"""A suite: the checks that a model must pass, run one after the other."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

from assay.errors import AssayError, SuiteError
from assay.findings import Finding, Severity
from assay.frameworks.base import Predictor
from assay.storage.clock import utc_text
from assay.validation.checks.base import Check
from assay.validation.report import CheckResult, Outcome, Report


class Suite:
    """Checks under a name. Every one is run, whatever the others say.

    Args:
        name: What reports call it.
        checks: At least one, each under its own name.

    Raises:
        SuiteError: There are none, two share a name, or something else was given.
    """

    def __init__(self, name: str, *checks: Check) -> None:
        if not name:
            raise SuiteError("a suite needs a name")
        if not checks:  # nothing to fail is not a pass
            raise SuiteError(f"suite {name!r} has no checks; a suite that checks nothing would always pass")
        for check in checks:
            if not isinstance(check, Check):
                raise SuiteError(f"suite {name!r} holds a {type(check).__name__}, which is no check")
        names = [check.name for check in checks]
        twice = sorted({each for each in names if names.count(each) > 1})
        if twice:
            raise SuiteError(f"suite {name!r} has two checks named {twice[0]!r}; give one of them another name=")
        self.name = name
        self.checks = checks

    def run(self, predictor: Predictor, *, model_root: str, now: datetime) -> Report:
        """Run every check on a loaded model.

        Args:
            predictor: The model, from ``VerifiedModel.load``.
            model_root: Root digest of its manifest, hex; binds the report to these bytes.
            now: The present.
        """
        results = tuple(_result(check, predictor, model_root) for check in self.checks)
        return Report(self.name, model_root, utc_text(now), results)


def _result(check: Check, predictor: Predictor, model_root: str) -> CheckResult:
    begun = time.perf_counter()
    try:
        result = check.run(predictor, model_root=model_root)
    except AssayError as err:
        # The model refused or failed on rows it must take: that is an answer, and not the end of the suite.
        finding = Finding(f"validation.{check.kind}", check.name, Severity.ERROR, err.message)
        result = CheckResult(check.name, check.kind, Outcome.FAIL, err.message, (finding, *err.findings))
    return replace(result, seconds=time.perf_counter() - begun)
