"""PyTorch: TorchScript, which predicts, and checkpoints, which are tensors by name.

A checkpoint is opened with ``weights_only=True``: a pickle that names anything but tensors and
plain containers is refused by PyTorch and nothing of it runs. TorchScript is a program; that is why
it is opened from verified bytes only.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.answers import from_scores
from assay.frameworks.base import ModelFiles, Prediction, Predictor, choose
from assay.frameworks.columns import matrix
from assay.frameworks.viewing import ViewFile

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (".pt", ".pth", ".bin", ".ckpt")


class Torch:
    """Opens ``model.pt`` or the only ``*.pt``, else the same of ``*.pth``, ``*.bin``, ``*.ckpt``, in this order."""

    name = "torch"

    def open(self, files: ModelFiles) -> Predictor:
        """Open verified bytes.

        Returns:
            A :class:`TorchScript` or a :class:`Checkpoint`.

        Raises:
            LoadError: There is no such file, it is damaged, or it holds what must not be loaded.
            MissingExtraError: PyTorch is not installed.
        """
        name = next((one for end in _ENDINGS if (one := choose(files.names(), f"model{end}", end))), None)
        if name is None:
            raise LoadError(f"no {', '.join(f'*{end}' for end in _ENDINGS)} file among {', '.join(files.names())}")
        view = files.view(name)
        return _script(name, view) if _is_script(view) else _checkpoint(name, view)


@dataclass(frozen=True, slots=True)
class TorchScript:
    """A network with its program.

    Attributes:
        module: The ``torch.jit.ScriptModule``, in evaluation mode, on the processor.
    """

    module: Any

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row: all given columns, in order, as one matrix of 32-bit floats.

        A matrix of outputs gives its best column, a single output the number of a regression.

        Raises:
            TableError: A column is no number, or the model cannot take these rows.
        """
        import torch

        try:
            rows = torch.from_numpy(matrix(table).astype("f4"))
            with torch.inference_mode():
                answer = self.module(rows)
            if not isinstance(answer, torch.Tensor) or not len(answer.shape) or len(answer) != table.num_rows:
                raise TableError("the model does not answer with one tensor that has a row for each row")
            return from_scores(answer.double().numpy(), None)
        except (RuntimeError, ValueError, TypeError) as err:
            # The model's own words may hold values of a row: they stay in the chained error.
            raise TableError(f"the model cannot take these rows ({type(err).__name__})") from err


class Checkpoint(Mapping[str, Any]):
    """What a checkpoint stores by name: for a state dict its tensors, on the processor.

    Weights alone do not predict. To predict, name a function in assay.toml that builds the
    network (``framework = "package.module:function"``).

    Args:
        stored: The mapping as it was stored.
    """

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self._stored = stored

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  a tensor, or what else weights_only lets a file hold
        return self._stored[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def predict(self, table: pa.Table) -> Prediction:
        """Refuse: weights alone do not predict.

        Raises:
            TableError: Always.
        """
        raise TableError(
            f"weights alone cannot predict {table.num_rows} rows: name a function that builds the network "
            "(framework = 'package.module:function'), or store the model as TorchScript"
        )


def _is_script(view: memoryview) -> bool:
    try:
        with zipfile.ZipFile(ViewFile(view)) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return False  # a checkpoint of before 1.6 is no archive; what is neither is refused there


def _script(name: str, view: memoryview) -> TorchScript:
    torch = _torch(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it will stay readable as long as PyTorch reads it
            module = torch.jit.load(ViewFile(view), map_location="cpu")
    except Exception as err:  # PyTorch raises whatever the bytes make it raise
        raise LoadError(f"{name} cannot be opened by the installed PyTorch ({type(err).__name__})") from err
    return TorchScript(module.eval())


def _checkpoint(name: str, view: memoryview) -> Checkpoint:
    torch = _torch(name)
    try:
        stored = torch.load(ViewFile(view), map_location="cpu", weights_only=True)
    except Exception as err:  # a pickle makes it raise whatever it wants
        raise LoadError(
            f"{name} cannot be opened as weights by the installed PyTorch ({type(err).__name__}): store the state "
            "dict alone, or as safetensors"
        ) from err
    if not isinstance(stored, Mapping) or not all(isinstance(key, str) for key in stored):
        raise LoadError(f"{name} holds a {type(stored).__name__}, not tensors by name")
    return Checkpoint(stored)


def _torch(name: str) -> Any:  # noqa: ANN401  the module
    try:
        import torch
    except ImportError as err:
        raise MissingExtraError(f"opening {name}", "torch") from err
    return torch
