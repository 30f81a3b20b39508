"""ONNX models, run by onnxruntime from verified bytes; also those with weights in files of their own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.answers import from_probabilities, from_scores, labelled
from assay.frameworks.base import ModelFiles, Prediction, choose
from assay.frameworks.columns import matrix, select

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ELEMENTS = {
    "tensor(float)": "f4",
    "tensor(double)": "f8",
    "tensor(float16)": "f2",
    "tensor(int64)": "i8",
    "tensor(int32)": "i4",
    "tensor(bool)": "?",
    "tensor(string)": "O",
}


class Onnx:
    """Opens ``model.onnx`` or the only ``*.onnx`` file."""

    name = "onnx"

    def open(self, files: ModelFiles) -> OnnxModel:
        """Open verified bytes.

        Raises:
            LoadError: There is no such file, it is damaged, or its weights lie in a file that is
                not part of the model.
            MissingExtraError: onnxruntime is not installed.
        """
        name = choose(files.names(), "model.onnx", ".onnx")
        if name is None:
            raise LoadError(f"no *.onnx file among {', '.join(files.names())}")
        try:
            import onnxruntime
        except ImportError as err:
            raise MissingExtraError(f"opening {name}", "onnx") from err
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it has to say comes as an exception
        weights = _weights(files, name)
        if weights:
            given = list(weights.values())
            options.add_external_initializers_from_files_in_memory(list(weights), given, [len(raw) for raw in given])
        # The file names where its weights lie. All that may be read is given above; an empty folder to look in makes
        # every other path fail, those in the working folder included.
        with tempfile.TemporaryDirectory(prefix="assay-") as nowhere:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", nowhere)
            try:
                session = onnxruntime.InferenceSession(
                    bytes(files.view(name)), options, providers=["CPUExecutionProvider"]
                )
            except Exception as err:  # its exceptions share no base but Exception
                raise LoadError(f"{name} cannot be opened by onnxruntime ({_first_line(err)})") from err
        return OnnxModel(session, weights)


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A loaded ONNX model.

    Attributes:
        session: The onnxruntime session.
        weights: Bytes that the session may still read.
    """

    session: Any
    weights: dict[str, bytes] = field(repr=False)

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row.

        With one input, that is a matrix of all given columns in order; with several, each is the
        column of its name. An output of labels with an output of probabilities gives both; a lone
        matrix gives its best column, or the number of a regression.

        Raises:
            TableError: A feature column is missing, or the model cannot take these rows.
        """
        inputs = self.session.get_inputs()
        feed = self._matrix(table, inputs[0]) if len(inputs) == 1 else self._columns(table, inputs)
        try:
            answers = self.session.run(None, feed)
        except Exception as err:  # its exceptions share no base but Exception
            raise TableError(f"the model cannot take these rows ({type(err).__name__})") from err
        return _prediction(answers)

    def _matrix(self, table: pa.Table, wanted: Any) -> dict[str, np.ndarray]:  # noqa: ANN401  onnxruntime's NodeArg
        width = wanted.shape[-1] if wanted.shape else None
        if isinstance(width, int) and width != table.num_columns:
            raise TableError(
                f"the model takes {width} features, the table has {table.num_columns} columns "
                f"({', '.join(table.column_names)}): give exactly the features, in their order"
            )
        return {wanted.name: _cast(matrix(table), wanted)}

    def _columns(self, table: pa.Table, inputs: list[Any]) -> dict[str, np.ndarray]:
        chosen = select(table, [wanted.name for wanted in inputs])
        feed = {}
        for wanted in inputs:
            column = _cast(matrix(chosen.select([wanted.name])), wanted)
            feed[wanted.name] = column[:, 0] if len(wanted.shape) == 1 else column
        return feed


def _cast(rows: np.ndarray, wanted: Any) -> np.ndarray:  # noqa: ANN401  onnxruntime's NodeArg
    element = _ELEMENTS.get(wanted.type)
    if element is None:
        raise TableError(f"input {wanted.name} is a {wanted.type}, which no table column can be")
    try:
        return rows.astype(element)
    except (ValueError, TypeError) as err:
        raise TableError(f"input {wanted.name} takes {wanted.type}, and the column holds something else") from err


def _prediction(answers: list[Any]) -> Prediction:
    import numpy as np

    if len(answers) == 1:
        return from_scores(np.asarray(answers[0]), None)
    labels = labelled(np.asarray(answers[0]))
    scores = answers[1]
    if isinstance(scores, list) and scores and isinstance(scores[0], dict):  # the ZipMap of converted classifiers
        classes = list(scores[0])
        return from_probabilities(labels, np.array([[row[one] for one in classes] for row in scores]), classes)
    return _beside(labels, np.asarray(scores))


def _beside(labels: np.ndarray, scores: np.ndarray) -> Prediction:
    """Labels and a matrix whose columns the file does not name: believed only where both say the same."""
    if scores.ndim != 2 or len(scores) != len(labels):  # noqa: PLR2004
        return Prediction(labels)
    found = from_scores(scores, None)
    best = found.labels.tolist()
    if labels.tolist() == best:
        return found
    pairs = set(zip(labels.tolist(), best, strict=True))
    one_to_one = len(pairs) == len({label for label, _ in pairs}) == len({column for _, column in pairs})
    return Prediction(labels, found.confidence if one_to_one else None, scores)


def _weights(files: ModelFiles, name: str) -> dict[str, bytes]:
    """The files that may hold the model's weights, by the name the model calls them: relative to its own folder."""
    folder = name.rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    return {
        other[len(prefix) :]: bytes(files.view(other))
        for other in files.names()
        if other.startswith(prefix) and not other.lower().endswith(".onnx")
    }


def _first_line(err: Exception) -> str:
    return str(err).partition("\n")[0][:300]
