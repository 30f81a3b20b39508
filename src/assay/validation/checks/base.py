"""The shelf's promise: a check asks a model for predictions and says pass, fail or insufficient."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from assay.frameworks.base import Predictor
from assay.validation.report import CheckResult


@runtime_checkable
class Check(Protocol):
    """One way a model must behave. It is complete when made: its tables are read and its limits are sound."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def kind(self) -> str:
        """Which kind of check it is, as the shelf names it."""
        ...

    def run(self, predictor: Predictor, *, model_root: str) -> CheckResult:
        """Ask the model and judge the answers. The same model and table give the same result.

        Args:
            predictor: The model.
            model_root: Root digest of its manifest, hex.

        Raises:
            AssayError: The model refused or failed on rows it must take; the suite counts that as a fail.
        """
        ...
