"""safetensors files as arrays, without copying the verified bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from assay.errors import FormatError, LoadError, TableError
from assay.formats import safetensors
from assay.formats.base import Part, ViewContent
from assay.frameworks.base import ModelFiles, Prediction

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "C64": "<c8",
}


class SafetensorsFiles:
    """Opens every ``*.safetensors`` file of a model; the tensors of all are one mapping."""

    name = "safetensors"

    def open(self, files: ModelFiles) -> Tensors:
        """Open verified bytes.

        Raises:
            LoadError: There is no such file, one is malformed, or two hold a tensor of one name.
        """
        container = safetensors.Safetensors()
        found: dict[str, tuple[memoryview, Part]] = {}
        names = [name for name in files.names() if container.recognises(name)]
        if not names:
            raise LoadError(f"no *.safetensors file among {', '.join(files.names())}")
        for name in names:
            view = files.view(name)
            try:
                parts = container.parts(ViewContent(view))
            except FormatError as err:
                raise LoadError(f"{name} is not a sound safetensors file: {err.message}") from err
            twice = [part.name for part in parts if part.name in found]
            if twice:
                raise LoadError(f"{name} holds tensor {twice[0]!a}, and so does another file of the model")
            found.update({part.name: (view, part) for part in parts})
        return Tensors(found)


class Tensors(Mapping[str, "np.ndarray"]):
    """Tensors by name, each a read-only array over the verified bytes; made when asked for.

    Weights alone do not predict. To predict, name a function in assay.toml that builds the
    network (``framework = "package.module:function"``).
    """

    def __init__(self, parts: Mapping[str, tuple[memoryview, Part]]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor of this name.

        Raises:
            KeyError: There is none.
            LoadError: NumPy has no such element type.
        """
        import numpy as np

        view, part = self._parts[name]
        if part.dtype not in _DTYPES:
            raise LoadError(f"tensor {name!a} is {part.dtype}, which NumPy does not have; open the file's path instead")
        return np.frombuffer(view[part.start : part.end], dtype=_DTYPES[part.dtype]).reshape(part.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def predict(self, table: pa.Table) -> Prediction:
        """Refuse: weights alone do not predict.

        Raises:
            TableError: Always.
        """
        raise TableError(
            f"weights alone cannot predict {table.num_rows} rows: name a function that builds the network "
            "(framework = 'package.module:function')"
        )
