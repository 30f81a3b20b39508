"""The weights of a loaded model where they lie in memory, by the names that its file gives them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.formats.base import OPAQUE
from assay.frameworks.safetensors import Tensors

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SLICE_BYTES = 1024 * 1024  # hashed in about half a millisecond: what else runs hardly notices
_DEPTH = 32  # a loaded model nests less; what nests more is left out
_TREE = ("children_left", "children_right", "feature", "threshold", "value")  # arrays of scikit-learn's compiled Tree
_NUMPY = {
    "|b1": "BOOL", "|u1": "U8", "|i1": "I8", "<u2": "U16", "<i2": "I16", "<f2": "F16", "<u4": "U32", "<i4": "I32",
    "<f4": "F32", "<u8": "U64", "<i8": "I64", "<f8": "F64", "<c8": "C64", "<c16": "C128",
}  # fmt: skip
_TORCH = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "uint32": "U32", "int32": "I32", "float32": "F32",
    "uint64": "U64", "int64": "I64", "float64": "F64", "complex64": "C64", "complex128": "C128",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resident:
    """One tensor in memory.

    Attributes:
        name: As the model's file names it: ``layer.0.weight`` of a network, ``steps.1.1.coef_`` of a pipeline.
        dtype: The element type, in the words of safetensors.
        shape: Elements per dimension.
        slices: Gives its present bytes in pieces, little-endian and row-major.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    slices: Callable[[], Iterator[memoryview]]


def residents(loaded: object) -> tuple[Resident, ...]:
    """Find the weights of a loaded model.

    Args:
        loaded: What ``VerifiedModel.load`` gave, a mapping of names to NumPy arrays or PyTorch
            tensors, a ``torch.nn.Module``, or a fitted scikit-learn estimator.

    Returns:
        Each tensor once by each of its names; none where the memory cannot be reached from Python.

    Raises:
        TypeError: The tensors are read from disk each time, so none is resident.
    """
    if isinstance(loaded, Tensors):
        raise TypeError("these tensors are read when asked for, so nothing is resident: guard what .arrays() gives")
    found: dict[str, Resident] = {}
    _walk("", loaded, found, set(), _DEPTH)
    return tuple(found.values())


def _walk(path: str, thing: object, found: dict[str, Resident], seen: set[int], depth: int) -> None:
    one = _resident(path, thing)
    if one is not None:
        found.setdefault(path, one)
        return
    if not depth or id(thing) in seen or isinstance(thing, (str, bytes, int, float, type)) or _is_code(thing):
        return
    seen.add(id(thing))
    for key, inner in _inside(thing):
        _walk(f"{path}.{key}".lstrip("."), inner, found, seen, depth - 1)


def _is_code(thing: object) -> bool:
    """Whether no weights are looked for in it: a function or a module of Python."""
    return type(thing).__name__ in {"function", "builtin_function_or_method", "method", "module"}


def _inside(thing: object) -> Iterator[tuple[str, object]]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(thing, torch.nn.Module):
        yield from thing.state_dict().items()
    elif isinstance(thing, Mapping):
        yield from ((str(key), value) for key, value in list(thing.items()))
    elif isinstance(thing, (list, tuple)):
        yield from ((str(index), value) for index, value in enumerate(thing))
    elif type(thing).__module__ == "sklearn.tree._tree":
        yield from ((name, getattr(thing, name)) for name in _TREE if hasattr(thing, name))
    elif type(thing).__module__.startswith("assay.frameworks."):
        yield from (("", getattr(thing, name)) for name in ("model", "module") if hasattr(thing, name))
    else:
        yield from list(getattr(thing, "__dict__", {}).items())


def _resident(name: str, thing: object) -> Resident | None:
    """The tensor that a thing is; libraries that are not imported cannot have made it."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(thing, numpy.ndarray):
        rows_of_fields = thing.dtype.kind == "V" and not thing.dtype.hasobject
        word = OPAQUE if rows_of_fields else _NUMPY.get(thing.dtype.newbyteorder("<").str)
        return None if word is None else Resident(name, word, thing.shape, lambda: _of_array(thing))
    if torch is not None and isinstance(thing, torch.Tensor):
        word = _TORCH.get(str(thing.dtype).removeprefix("torch."))
        # Sparse, quantised and not yet made tensors have no rows of bytes.
        if word is None or thing.layout is not torch.strided or thing.device.type == "meta":
            return None
        return Resident(name, word, tuple(thing.shape), lambda: _of_tensor(thing))
    return None


def _of_array(array: np.ndarray) -> Iterator[memoryview]:
    import numpy as np

    little = array.dtype.newbyteorder("<")
    for rows in _pieces(array.reshape(-1) if array.flags.c_contiguous else array, array.itemsize):
        yield np.ascontiguousarray(rows, dtype=little).reshape(-1).view(np.uint8).data


def _of_tensor(tensor: Tensor) -> Iterator[memoryview]:
    import torch

    whole = tensor.detach()
    for rows in _pieces(whole.reshape(-1) if whole.is_contiguous() else whole, whole.element_size()):
        flat = rows.contiguous().reshape(-1).cpu()
        yield memoryview(flat.view(torch.uint8).numpy())


def _pieces(whole: Any, width: int) -> Iterator[Any]:  # noqa: ANN401  an array or a tensor: both are sliced alike
    """Rows that make about a slice together; what is not contiguous is copied slice by slice."""
    count = 1
    for size in whole.shape:
        count *= size
    if not count:
        return
    if not whole.shape:
        yield whole
        return
    step = max(1, SLICE_BYTES * whole.shape[0] // (count * width))
    for start in range(0, whole.shape[0], step):
        yield whole[start : start + step]
