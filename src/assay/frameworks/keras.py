"""Keras weights: the arrays of a ``.keras``, ``.weights.h5`` or ``.h5`` file. The network is not built.

A ``.keras`` file can hold Python code in its configuration (a Lambda layer); only the arrays beside
it are read. What HDF5 lets a file say about other files (external links and storage, virtual
datasets) is refused: those bytes were not verified.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from assay.errors import LoadError, MissingExtraError, TableError
from assay.frameworks.base import ModelFiles, Prediction, choose
from assay.frameworks.viewing import ViewFile

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ENDINGS = (".keras", ".weights.h5", ".h5", ".hdf5")
_INSIDE = "model.weights.h5"


class Keras:
    """Opens ``model.keras`` or the only ``*.keras``, else the same of ``*.weights.h5``, ``*.h5``, ``*.hdf5``."""

    name = "keras"

    def open(self, files: ModelFiles) -> KerasWeights:
        """Open verified bytes.

        Raises:
            LoadError: There is no such file, it is damaged, or it points at other files.
            MissingExtraError: h5py is not installed.
        """
        name = next((one for end in _ENDINGS if (one := choose(files.names(), f"model{end}", end))), None)
        if name is None:
            raise LoadError(f"no {', '.join(f'*{end}' for end in _ENDINGS)} file among {', '.join(files.names())}")
        try:
            import h5py
        except ImportError as err:
            raise MissingExtraError(f"opening {name}", "keras") from err
        try:
            with h5py.File(_hdf5(name, files.view(name)), "r") as file:
                return KerasWeights(dict(_arrays(h5py, file, name)))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as err:
            raise LoadError(f"{name} is not a sound HDF5 file ({type(err).__name__})") from err


class KerasWeights(Mapping[str, "np.ndarray"]):
    """Arrays by their path in the file, ``layers/dense/vars/0`` for instance.

    Weights alone do not predict. To predict, name a function in assay.toml that builds the
    network (``framework = "package.module:function"``).

    Args:
        arrays: The arrays, copies of the verified bytes.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def predict(self, table: pa.Table) -> Prediction:
        """Refuse: weights alone do not predict.

        Raises:
            TableError: Always.
        """
        raise TableError(
            f"weights alone cannot predict {table.num_rows} rows: name a function that builds the network "
            "(framework = 'package.module:function')"
        )


def _hdf5(name: str, view: memoryview) -> io.RawIOBase | io.BytesIO:
    if not name.lower().endswith(".keras"):
        return ViewFile(view)
    try:
        with zipfile.ZipFile(ViewFile(view)) as archive:
            member = archive.getinfo(_INSIDE)
            if member.compress_type != zipfile.ZIP_STORED:  # Keras stores; what inflates could be of any size
                raise LoadError(f"{_INSIDE} of {name} is compressed, which Keras does not write")
            return io.BytesIO(archive.read(member))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as err:
        raise LoadError(f"{name} is not a sound Keras file ({type(err).__name__})") from err


def _arrays(h5py: Any, group: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:  # noqa: ANN401  h5py has no types
    """Every array below a group; a group met twice, by a hard link back to it, is entered once."""
    groups, entered = [group], set()
    while groups:
        at = groups.pop()
        if at.id in entered:
            continue
        entered.add(at.id)
        for key in at:
            if not isinstance(at.get(key, getlink=True), h5py.HardLink):
                raise LoadError(f"{name} holds the link {at.name}/{key}, which could lead to another file")
            found = at[key]
            if isinstance(found, h5py.Group):
                groups.append(found)
                continue
            if found.external or found.is_virtual:
                raise LoadError(f"{name} keeps {found.name} in another file, which was not verified")
            yield found.name.lstrip("/"), found[()]
