"""LightGBM models, read from verified bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.answers import from_scores, of_yes
from assay.frameworks.base import ModelFiles, Prediction
from assay.frameworks.columns import in_order, matrix, select

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_FIRST, _LAST = "tree\n", "\npandas_categorical:"  # what LightGBM's save_model begins and ends with


class Lightgbm:
    """Opens ``model.txt``, or the only file that begins as LightGBM's own text does."""

    name = "lightgbm"

    def open(self, files: ModelFiles) -> LightgbmModel:
        """Open verified bytes.

        Raises:
            LoadError: There is no such file, or several, or it is damaged.
            MissingExtraError: LightGBM is not installed.
        """
        name = _chosen(files)
        text = _text(name, files.view(name))
        try:
            import lightgbm
        except ImportError as err:
            raise MissingExtraError(f"opening {name}", "lightgbm") from err
        try:
            booster = lightgbm.Booster(model_str=text)
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as err:
            raise LoadError(f"{name} cannot be opened by the installed LightGBM ({type(err).__name__})") from err
        line = next((line for line in text.splitlines() if line.startswith("objective=")), "objective=")
        return LightgbmModel(booster, line.removeprefix("objective=").partition(" ")[0])


@dataclass(frozen=True, slots=True)
class LightgbmModel:
    """A loaded LightGBM model.

    Attributes:
        booster: The ``lightgbm.Booster`` itself.
        objective: LightGBM's own word for what it was trained for.
    """

    booster: Any
    objective: str

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row; classes are numbered from 0, as LightGBM knows them.

        Args:
            table: Has the columns the model was trained on, by name. LightGBM names what has no
                name ``Column_0``, ``Column_1`` ...; then exactly its features in their order.

        Raises:
            TableError: A feature column is missing, or the model cannot take these rows.
        """
        import lightgbm
        import numpy as np

        names = self.booster.feature_name()
        nameless = names == [f"Column_{index}" for index in range(len(names))]
        chosen = in_order(table, len(names)) if nameless else select(table, names)
        if not table.num_rows:
            return Prediction(np.empty(0))
        try:
            answer = np.asarray(self.booster.predict(self._rows(chosen)))
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as err:
            raise TableError(f"the model cannot take these rows ({type(err).__name__})") from err
        return of_yes(answer) if self.objective == "binary" else from_scores(answer, None)

    def _rows(self, table: pa.Table) -> np.ndarray:
        if self.booster.pandas_categorical:
            # Its columns of words have codes that are in the model; only a frame of categories is coded by them.
            raise TableError(
                "the model has columns of words, which LightGBM codes by pandas: name a function of your own that "
                "makes the frame (framework = 'package.module:function')"
            )
        return matrix(table).astype("f8")


def _chosen(files: ModelFiles) -> str:
    names = [name for name in files.names() if bytes(files.view(name)[: len(_FIRST)]) == _FIRST.encode()]
    if "model.txt" in names:
        return "model.txt"
    if len(names) != 1:
        found = f"which of {', '.join(names)} is the model? Name one of them model.txt"
        raise LoadError(found if names else f"no file of LightGBM's among {', '.join(files.names())}")
    return names[0]


def _text(name: str, view: memoryview) -> str:
    """The whole text: what was cut behind the trees would otherwise be opened as if nothing were missing."""
    try:
        text = str(view, "utf-8")
    except UnicodeDecodeError as err:
        raise LoadError(f"{name} is no text of LightGBM's") from err
    if not text.endswith("\n") or _LAST not in text[-1_000_000:]:
        raise LoadError(f"{name} does not end as LightGBM's text does: it was cut")
    return text
