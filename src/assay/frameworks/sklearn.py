"""scikit-learn models, stored with skops or, where that cannot be, with joblib."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.answers import from_probabilities, labelled
from assay.frameworks.base import ModelFiles, Prediction, choose
from assay.frameworks.columns import frame, in_order, matrix, select
from assay.frameworks.probing import without

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# What fitted scikit-learn models hold beyond what skops trusts by itself: plain data and arithmetic, and no name that
# opens, imports or runs something.
_HARMLESS = re.compile(
    r"numpy\.(dtype|mean)"
    r"|scipy\.interpolate\._bsplines\.BSpline"
    r"|scipy\.sparse\._(csr|csc|coo)\.(csr|csc|coo)_(matrix|array)"
    r"|sklearn\._loss\.(link|loss)\.[A-Z]\w+"
    r"|sklearn\.calibration\._(CalibratedClassifier|SigmoidCalibration|TemperatureScaling)"
    r"|sklearn\.cluster\._bisect_k_means\._BisectingTree"
    r"|sklearn\.compose\._column_transformer\._RemainderColsList"
    r"|sklearn\.ensemble\._hist_gradient_boosting\.predictor\.TreePredictor"
    r"|sklearn\.feature_selection\._univariate_selection\.(chi2|f_classif|f_regression)"
    r"|sklearn\.gaussian_process\._gpc\._BinaryGaussianProcessClassifierLaplace"
    r"|sklearn\.gaussian_process\.kernels\.[A-Z]\w+"
    r"|sklearn\.metrics\._dist_metrics\.[A-Z]\w+Distance(32|64)?"
    r"|sklearn\.model_selection\._split\.[A-Z]\w+"
    r"|sklearn\.neighbors\._(kd|ball)_tree\.(KD|Ball)Tree(32|64)?"
    r"|sklearn\.neural_network\._stochastic_optimizers\.(Adam|SGD)Optimizer"
    r"|sklearn\.tree\._tree\.Tree"
)


class Sklearn:
    """Opens ``model.skops``, the only ``*.skops``, ``model.joblib`` or the only ``*.joblib``, in this order."""

    name = "sklearn"

    def open(self, files: ModelFiles) -> SklearnModel:
        """Open verified bytes.

        Raises:
            LoadError: There is no such file, it is damaged, it holds types that are not known to be
                harmless, or it is no model.
            MissingExtraError: scikit-learn or skops is not installed.
        """
        return self.open_vouched(files, {})

    def open_vouched(self, files: ModelFiles, vouched: Mapping[str, frozenset[str]]) -> SklearnModel:
        """Open verified bytes, also with types that are not known to be harmless but signed for their file.

        Raises:
            LoadError: There is no such file, it is damaged, it holds other types, or it is no model.
            MissingExtraError: scikit-learn or skops is not installed.
        """
        names = files.names()
        skops = choose(names, "model.skops", ".skops")
        if skops is not None:
            return SklearnModel(_checked(_open_skops(files, skops, vouched.get(skops, frozenset())), skops))
        joblib = choose(names, "model.joblib", ".joblib")
        if joblib is None:
            raise LoadError(f"no *.skops or *.joblib file among {', '.join(names)}")
        return SklearnModel(_checked(_open_joblib(files, joblib), joblib))


@dataclass(frozen=True, slots=True)
class SklearnModel:
    """A loaded scikit-learn model.

    Attributes:
        model: The estimator or pipeline itself.
    """

    model: Any

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row; classifiers with ``predict_proba`` also give the confidence.

        Args:
            table: Has the columns of the model's ``feature_names_in_``; for a model trained
                without names, exactly its features in their order.

        Raises:
            TableError: A feature column is missing, or the model cannot take these rows.
        """
        import numpy as np

        rows = self._rows(table)
        try:
            labels = labelled(np.asarray(self.model.predict(rows)))
            classes = getattr(self.model, "classes_", None)
            if isinstance(classes, np.ndarray) and hasattr(self.model, "predict_proba"):
                return from_probabilities(labels, np.asarray(self.model.predict_proba(rows)), classes.tolist())
            if isinstance(classes, np.ndarray) and hasattr(self.model, "decision_function"):
                return _from_margins(labels, np.asarray(self.model.decision_function(rows)), classes.tolist())
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as err:
            # The model's own words may hold values of a row: they stay in the chained error.
            raise TableError(f"the model cannot take these rows ({type(err).__name__})") from err
        return Prediction(labels)

    def _rows(self, table: pa.Table) -> Any:  # noqa: ANN401  what scikit-learn takes: a frame or a matrix
        names = getattr(self.model, "feature_names_in_", None)
        if names is not None:
            return frame(select(table, [str(name) for name in names]))
        wanted = getattr(self.model, "n_features_in_", None)
        return matrix(table if wanted is None else in_order(table, wanted))


def _from_margins(labels: np.ndarray, margins: np.ndarray, classes: list[object]) -> Prediction:
    import numpy as np

    scores = np.column_stack([-margins, margins]) if margins.ndim == 1 else margins
    if scores.shape[1] != len(classes):  # one-against-one machines have a score for each pair
        return Prediction(labels)
    return Prediction(labels, None, scores, tuple(classes))


def _checked(model: object, name: str) -> object:
    if not hasattr(model, "predict"):
        raise LoadError(f"{name} holds a {type(model).__name__}, which cannot predict")
    return model


def _open_skops(files: ModelFiles, name: str, vouched: Collection[str]) -> object:
    try:
        with without("torch"):
            from skops import io as skops_io
    except ImportError as err:
        raise MissingExtraError(f"opening {name}", "sklearn") from err
    raw = bytes(files.view(name))
    try:
        unknown = skops_io.get_untrusted_types(data=raw)
    except Exception as err:  # skops raises whatever the bytes make it raise
        raise LoadError(f"{name} is not a sound skops file ({type(err).__name__})") from err
    refused = [one for one in _not_harmless(unknown) if one not in vouched]
    if refused:
        raise LoadError(
            f"{name} holds {', '.join(refused)}, not known to be harmless to load; open it with a function of your "
            "own (framework = 'package.module:function') if you trust it"
        )
    try:
        return skops_io.loads(raw, trusted=unknown)
    except Exception as err:
        raise LoadError(f"{name} cannot be opened by the installed scikit-learn ({type(err).__name__}: {err})") from err


def _not_harmless(types: Iterable[str]) -> list[str]:
    return sorted(name for name in types if not _HARMLESS.fullmatch(name))


def _open_joblib(files: ModelFiles, name: str) -> object:
    """A joblib file runs code when opened: the only guard is that its bytes are the signed ones."""
    try:
        import joblib
    except ImportError as err:
        raise MissingExtraError(f"opening {name}", "sklearn") from err
    try:
        return joblib.load(io.BytesIO(files.view(name)))
    except Exception as err:  # a pickle raises whatever it wants
        raise LoadError(f"{name} cannot be opened by the installed scikit-learn ({type(err).__name__}: {err})") from err
