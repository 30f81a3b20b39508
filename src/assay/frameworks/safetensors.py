"""safetensors files as arrays: over a sealed copy, or read and checked one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from assay.errors import FormatError, LoadError, MissingExtraError, TableError
from assay.formats import safetensors
from assay.formats.base import Part, ViewContent
from assay.frameworks.base import ModelFiles, Prediction, TensorFiles

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor

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
_TORCH = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
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
        return Tensors(_Held(found))

    def open_tensors(self, tensors: TensorFiles) -> Tensors:
        """Open tensors that are checked when they are read."""
        return Tensors(tensors)


class Tensors(Mapping[str, "np.ndarray"]):
    """Tensors by name, each a read-only array, made when asked for.

    Over a sealed copy nothing is left to check. Without one, a tensor is read from disk and checked
    each time it is asked for: keep it, or take all at once with :meth:`arrays`. One whose bytes are
    not the signed ones is refused with :class:`~assay.errors.VerificationError`. A file's
    ``__metadata__`` is no tensor and is not given.

    Weights alone do not predict. To predict, name a function in assay.toml that builds the
    network (``framework = "package.module:function"``).
    """

    def __init__(self, files: TensorFiles) -> None:
        self._files = files
        self._parts = files.parts()

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor of this name.

        Raises:
            KeyError: There is none.
            LoadError: NumPy has no such element type.
            VerificationError: Its bytes are not the signed ones.
        """
        part = self._parts[name]
        _check_numpy(part)
        return _array(part, self._files.read(name), _DTYPES[part.dtype])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def part(self, name: str) -> Part:
        """The type, shape and place of a tensor, without reading it.

        Raises:
            KeyError: There is none of this name.
        """
        return self._parts[name]

    def raw(self, name: str) -> np.ndarray:
        """The bits of a tensor NumPy has no element type for, as whole numbers of the same width.

        BF16 comes as ``uint16`` and the 8-bit floats as ``uint8``, in the tensor's shape. What is
        narrower comes as bytes, shape (bytes,).

        Raises:
            KeyError: There is none of this name.
            VerificationError: Its bytes are not the signed ones.
        """
        part = self._parts[name]
        view = self._files.read(name)
        bits = safetensors.BITS[part.dtype]
        return _array(part, view, f"<u{bits // 8}") if bits % 8 == 0 else _flat(view, "u1")

    def torch(self, name: str) -> Tensor:
        """The tensor of this name for PyTorch, on the processor, with every type that PyTorch has.

        Raises:
            KeyError: There is none of this name.
            LoadError: PyTorch has no such element type.
            MissingExtraError: PyTorch is not installed.
            VerificationError: Its bytes are not the signed ones.
        """
        _check_torch(self._parts[name])
        return _tensor(self._parts[name], self._files.read(name))

    def arrays(self) -> dict[str, np.ndarray]:
        """All tensors at once: the next bytes are read while the last are hashed.

        Tensors of one file share one block of memory, which goes with the last of them.

        Raises:
            LoadError: NumPy lacks an element type; take :meth:`state_dict`.
            VerificationError: Bytes are not the signed ones; the findings name each tensor.
            ArtifactError: There is not enough memory for all of them.
        """
        for part in self._parts.values():
            _check_numpy(part)
        views = self._files.read_all()
        return {name: _array(part, views[name], _DTYPES[part.dtype]) for name, part in self._parts.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors at once for PyTorch, as ``Module.load_state_dict`` takes them.

        Raises:
            LoadError: PyTorch lacks an element type.
            MissingExtraError: PyTorch is not installed.
            VerificationError: Bytes are not the signed ones; the findings name each tensor.
            ArtifactError: There is not enough memory for all of them.
        """
        for part in self._parts.values():
            _check_torch(part)
        views = self._files.read_all()
        return {name: _tensor(part, views[name]) for name, part in self._parts.items()}

    def predict(self, table: pa.Table) -> Prediction:
        """Refuse: weights alone do not predict.

        Raises:
            TableError: Always.
        """
        raise TableError(
            f"weights alone cannot predict {table.num_rows} rows: name a function that builds the network "
            "(framework = 'package.module:function')"
        )


class _Held:
    """Tensors of a sealed copy, which was checked as a whole."""

    def __init__(self, found: Mapping[str, tuple[memoryview, Part]]) -> None:
        self._found = found

    def parts(self) -> Mapping[str, Part]:
        return {name: part for name, (_, part) in self._found.items()}

    def read(self, name: str) -> memoryview:
        view, part = self._found[name]
        return view[part.start : part.end]

    def read_all(self) -> Mapping[str, memoryview]:
        return {name: self.read(name) for name in self._found}


def _check_numpy(part: Part) -> None:
    if part.dtype not in _DTYPES:
        raise LoadError(
            f"tensor {part.name!a} is {part.dtype}, which NumPy does not have: take .torch({part.name!a}), or its "
            f"bits with .raw({part.name!a})"
        )


def _check_torch(part: Part) -> None:
    try:
        import torch
    except ImportError as err:
        raise MissingExtraError(f"opening tensor {part.name!a} for PyTorch", "torch") from err
    if part.dtype not in _TORCH or not hasattr(torch, _TORCH[part.dtype]):
        raise LoadError(f"tensor {part.name!a} is {part.dtype}, which the installed PyTorch does not have")


def _flat(view: memoryview, dtype: str) -> np.ndarray:
    import numpy as np

    return np.frombuffer(view.toreadonly(), dtype=dtype)


def _array(part: Part, view: memoryview, dtype: str) -> np.ndarray:
    found = _flat(view, dtype).reshape(part.shape)
    if not found.flags.aligned:  # a file may begin a tensor anywhere
        found = found.copy()
        found.flags.writeable = False
    return found


def _tensor(part: Part, view: memoryview) -> Tensor:
    import torch

    dtype = getattr(torch, _TORCH[part.dtype])
    if not view.nbytes:
        return torch.empty(part.shape, dtype=dtype)
    # PyTorch knows no read-only tensors: a write into the sealed copy would end the process.
    held = torch.frombuffer(bytearray(view) if view.readonly else view, dtype=torch.uint8)
    if held.data_ptr() % dtype.itemsize:
        held = held.clone()
    return held.view(dtype).reshape(part.shape)
