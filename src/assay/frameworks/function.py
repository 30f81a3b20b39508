"""Any model at all, opened by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from assay.errors import LoadError, TableError
from assay.frameworks.answers import from_scores, labelled
from assay.frameworks.base import ModelFiles, Prediction

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Function:
    """A function ``f(files, table)`` named ``package.module:function``.

    It answers with a :class:`~assay.frameworks.base.Prediction`, an array of labels, or a matrix of
    scores. It is called with the same ``files`` each time and may keep what it built from them; it
    must open only what ``files`` gives, or it runs bytes that nobody verified.

    Attributes:
        name: ``package.module:function``.
    """

    name: str

    def open(self, files: ModelFiles) -> FunctionModel:
        """Find the function; the model's bytes are opened by the function itself.

        Raises:
            LoadError: There is no such module or function.
        """
        module, _, attribute = self.name.partition(":")
        if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise LoadError(f"{self.name!a} is not of the form package.module:function")
        try:
            function = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as err:
            raise LoadError(f"{self.name} cannot be imported: {err}") from err
        if not callable(function):
            raise LoadError(f"{self.name} is of type {type(function).__name__}, not a function")
        return FunctionModel(self.name, files, function)


@dataclass(frozen=True, slots=True)
class FunctionModel:
    """A model behind a function.

    Attributes:
        name: ``package.module:function``, for messages.
        files: What the function is given.
        function: The function.
    """

    name: str
    files: ModelFiles
    function: Callable[[ModelFiles, pa.Table], object]

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row.

        Raises:
            TableError: The function failed, or answered for another number of rows.
        """
        import numpy as np

        try:
            answer = self.function(self.files, table)
        except Exception as err:  # it is the user's code: whatever it raises, no traceback reaches the person on call
            raise TableError(f"{self.name} failed on these rows ({type(err).__name__})") from err
        if not isinstance(answer, Prediction):
            array = labelled(np.asarray(answer))
            answer = from_scores(array, None) if array.ndim > 1 else Prediction(array)
        if len(answer.labels) != table.num_rows:
            raise TableError(f"{self.name} answered for {len(answer.labels)} of {table.num_rows} rows")
        return answer
