"""The shelf's promise: a framework turns verified bytes into something that predicts.

A plug is given a :class:`ModelFiles`, never a folder that others can write to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from assay.errors import LoadError
from assay.formats.base import Part

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class ModelFiles(Protocol):
    """A model's files as they were verified."""

    def names(self) -> tuple[str, ...]:
        """The names of the files, relative to the model."""
        ...

    def view(self, name: str) -> memoryview:
        """The bytes of a file, read-only."""
        ...

    def path(self, name: str) -> str:
        """A path that leads to exactly these bytes."""
        ...

    def folder(self) -> str:
        """A folder with the model's own file names that leads to exactly these bytes."""
        ...


class TensorFiles(Protocol):
    """A model's tensors, each of them checked."""

    def parts(self) -> Mapping[str, Part]:
        """The tensors by name: type, shape and place."""
        ...

    def read(self, name: str) -> memoryview:
        """One tensor's checked bytes; writable only when nobody else has this memory."""
        ...

    def read_all(self) -> Mapping[str, memoryview]:
        """Every tensor's checked bytes, quicker than one after the other."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says about the rows of a table, in their order.

    Attributes:
        labels: Shape (rows,): the predicted class, or the predicted number of a regression.
        confidence: Shape (rows,): probability of the predicted class, 0 to 1, or None when the
            model gives none.
        scores: Shape (rows, classes): probabilities, or other scores where there are none; or None.
        classes: The class of each column of ``scores``, or None.
    """

    labels: np.ndarray
    confidence: np.ndarray | None = None
    scores: np.ndarray | None = None
    classes: tuple[object, ...] | None = None

    def __post_init__(self) -> None:
        rows = self.labels.shape
        if len(rows) != 1:
            raise LoadError(f"a prediction has one label a row, but the model answered with shape {rows}")
        if self.confidence is not None and self.confidence.shape != rows:
            raise LoadError(f"{rows[0]} labels and confidences of shape {self.confidence.shape} do not belong together")
        if self.scores is not None and (self.scores.ndim != 2 or self.scores.shape[0] != rows[0]):  # noqa: PLR2004
            raise LoadError(f"{rows[0]} labels and scores of shape {self.scores.shape} do not belong together")
        if self.classes is not None and (self.scores is None or len(self.classes) != self.scores.shape[1]):
            raise LoadError(f"{len(self.classes)} classes need one column of scores each")

    def part(self, rows: slice) -> Prediction:
        """What it says about some of the rows."""
        confidence, scores = (None if some is None else some[rows] for some in (self.confidence, self.scores))
        return Prediction(self.labels[rows], confidence, scores, self.classes)


class Predictor(Protocol):
    """A loaded model.

    What cannot predict, weights without a network for instance, says so when asked to
    (:class:`~assay.errors.TableError`) and says what else it offers in its own documentation.
    """

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row.

        Args:
            table: Has at least the model's feature columns; others are left alone.

        Raises:
            TableError: A feature column is missing, or the model cannot take these rows.
        """
        ...


class Framework(Protocol):
    """A plug that opens models of one kind."""

    @property
    def name(self) -> str:
        """How assay.toml names it."""
        ...

    def open(self, files: ModelFiles) -> Predictor:
        """Open verified bytes.

        Raises:
            LoadError: They are not a model of this kind, or hold what must not be loaded.
            MissingExtraError: The framework is not installed.
        """
        ...


@runtime_checkable
class TensorFramework(Protocol):
    """A plug that can also do without a copy of the model, reading only the tensors that are asked for."""

    def open_tensors(self, tensors: TensorFiles) -> Predictor:
        """Open tensors that are checked when they are read."""
        ...


@runtime_checkable
class VouchedFramework(Protocol):
    """A plug that opens more types when the signer vouched for them."""

    def open_vouched(self, files: ModelFiles, vouched: Mapping[str, frozenset[str]]) -> Predictor:
        """Open verified bytes.

        Args:
            files: As :meth:`Framework.open` takes them.
            vouched: The types that are signed for each file, ``module.name``; none of them dangerous.
        """
        ...


def choose(names: Sequence[str], preferred: str, ending: str) -> str | None:
    """The file to open: the preferred name, else the only one with the ending, else None.

    Args:
        names: The model's files.
        preferred: The name that wins, at the top of the model.
        ending: With its dot, lower case.

    Raises:
        LoadError: Several files have the ending and none the preferred name.
    """
    if preferred in names:
        return preferred
    found = [name for name in names if name.lower().endswith(ending)]
    if len(found) > 1:
        raise LoadError(f"which of {', '.join(found)} is the model? Name one of them {preferred}")
    return found[0] if found else None
