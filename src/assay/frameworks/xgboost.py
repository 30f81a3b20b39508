"""XGBoost models, read from verified bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.answers import from_scores, of_yes
from assay.frameworks.base import ModelFiles, Prediction, choose
from assay.frameworks.columns import in_order, matrix, select

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (".ubj", ".json", ".xgb", ".model")


class Xgboost:
    """Opens ``model.ubj`` or the only ``*.ubj``, else the same of ``*.json``, ``*.xgb``, ``*.model``, in this order."""

    name = "xgboost"

    def open(self, files: ModelFiles) -> XgboostModel:
        """Open verified bytes.

        Raises:
            LoadError: There is no such file, or it is damaged.
            MissingExtraError: XGBoost is not installed.
        """
        name = next((one for end in _ENDINGS if (one := choose(files.names(), f"model{end}", end))), None)
        if name is None:
            raise LoadError(f"no {', '.join(f'*{end}' for end in _ENDINGS)} file among {', '.join(files.names())}")
        try:
            import xgboost
        except ImportError as err:
            raise MissingExtraError(f"opening {name}", "xgboost") from err
        view = files.view(name)
        if view.nbytes < 3 or (view[0], view[-1]) != (ord("{"), ord("}")):  # noqa: PLR2004
            raise LoadError(f"{name} is neither JSON nor UBJSON")  # XGBoost ends the process over an empty file
        try:
            booster = xgboost.Booster()
            booster.load_model(bytearray(view))
            learner = json.loads(booster.save_config())["learner"]
            objective = str(learner["objective"]["name"])
        except (xgboost.core.XGBoostError, ValueError, LookupError, TypeError, MemoryError) as err:
            raise LoadError(f"{name} cannot be opened by the installed XGBoost ({type(err).__name__})") from err
        return XgboostModel(booster, objective)


@dataclass(frozen=True, slots=True)
class XgboostModel:
    """A loaded XGBoost model.

    Attributes:
        booster: The ``xgboost.Booster`` itself.
        objective: XGBoost's own word for what it was trained for.
    """

    booster: Any
    objective: str

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row; classes are numbered from 0, as XGBoost knows them.

        Args:
            table: Has the columns of the model's ``feature_names``; for a model trained without
                names, exactly its features in their order.

        Raises:
            TableError: A feature column is missing, or the model cannot take these rows.
        """
        import numpy as np
        import xgboost

        names = self.booster.feature_names
        rows = matrix(in_order(table, self.booster.num_features()) if names is None else select(table, names))
        if not table.num_rows:
            return Prediction(np.empty(0))
        try:
            data = xgboost.DMatrix(rows.astype("f8"), feature_names=names)
            answer = np.asarray(self.booster.predict(data))
        except (xgboost.core.XGBoostError, ValueError, TypeError) as err:
            raise TableError(f"the model cannot take these rows ({type(err).__name__})") from err
        return of_yes(answer) if self.objective == "binary:logistic" else from_scores(answer, None)
