"""The tensors in what a PyTorch pickle describes, by the path of keys that leads to them.

Source: torch/_utils.py and torch/serialization.py of github.com/pytorch/pytorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from assay.errors import FormatError
from assay.formats.base import OPAQUE, WIDTHS
from assay.formats.pickles import Global, Listed, Made, Mapped, Persistent

MAX_NAMES_BYTES = 32 * 1024 * 1024
_MAX_DEPTH = 200  # of containers; what is deeper is not named
_MAX_WRAPPERS = 8
_MAX_DIMENSIONS = 64
_LIMIT = 1 << 62

# The element type of a storage, and of the dtype that a tensor over bytes names.
_STORAGES: Mapping[str, str] = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
    "QInt8Storage": "QI8",
    "QUInt8Storage": "QU8",
    "QInt32Storage": "QI32",
    "UntypedStorage": "",
}
_DTYPES: Mapping[str, str] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "C128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}
_OWN_WIDTHS: Mapping[str, int] = {
    **WIDTHS,
    "QI8": 1,
    "QU8": 1,
    "QI32": 4,
    "F8_E4M3FNUZ": 1,
    "F8_E5M2FNUZ": 1,
    "F8_E8M0": 1,
}
# A tensor whose metadata negate or conjugate it on the fly has other values than its bytes.
_NAMED_PARTS = frozenset({"_modules", "_parameters", "_buffers"})
_TENSOR = "torch._utils._rebuild_tensor"
_WITH_METADATA = {"torch._utils._rebuild_tensor_v2": 6, "torch._utils._rebuild_tensor_v3": 7}
_TENSORS = frozenset({_TENSOR, "torch._utils._rebuild_qtensor", *_WITH_METADATA})
_WRAPPERS = frozenset({"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"})
_TYPED = frozenset({"torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type"})


@dataclass(frozen=True, slots=True)
class Found:
    """One tensor.

    Attributes:
        name: The keys that lead to it, joined by dots.
        dtype: Canonical, or PyTorch's own where there is none; ``bytes`` where the values are not
            simply those of the bytes.
        shape: Elements per dimension.
        strides: From one element to the next, in elements.
        offset: Elements before the first.
        item: Bytes of an element.
        number: Bytes of a number: half of ``item`` for complex ones.
        storage: The key of the storage.
        storage_bytes: How long the pickle says that is.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    item: int
    number: int
    storage: str
    storage_bytes: int


def named_tensors(root: object) -> Iterator[Found]:
    """Every tensor that keys, indices and attributes lead to, in the order they stand.

    A container that can be reached in two ways is named by the first; a tensor by all.

    Raises:
        FormatError: A tensor is malformed, or the names are absurdly long.
    """
    seen: set[int] = set()
    stack: list[tuple[str, int, object]] = [("", 0, root)]
    written = 0
    while stack:
        path, depth, value = stack.pop()
        if isinstance(value, Made) and (tensor := _unwrapped(value)) is not None:
            written += len(path)
            if written > MAX_NAMES_BYTES:
                raise FormatError(f"its tensors have names of more than {MAX_NAMES_BYTES} characters")
            yield _found(path or "tensor", *tensor)
            continue
        if not isinstance(value, Listed | Mapped | Made | tuple) or id(value) in seen or depth > _MAX_DEPTH:
            continue
        seen.add(id(value))
        inner = [(_joined(path, key), depth + 1, one) for key, one in _inner(value)]
        written += sum(len(one[0]) - len(path) for one in inner)
        stack += inner[::-1]


def _inner(value: Listed | Mapped | Made | tuple[object, ...]) -> Iterator[tuple[str, object]]:
    """What a container holds, with the key of each; an empty key adds nothing to the path."""
    if isinstance(value, tuple):
        yield from ((str(index), one) for index, one in enumerate(value))
        return
    if isinstance(value, Listed | Made):
        yield from ((str(index), one) for index, one in enumerate(value.items))
    if isinstance(value, Mapped | Made):
        yield from ((_key(key), one) for key, one in value.pairs)
    if isinstance(value, Made):
        yield from _attributes(value.state)
        if value.arguments:
            yield "arguments", value.arguments


def _attributes(state: object) -> Iterator[tuple[str, object]]:
    """What an object was given: the parts of a module stand for themselves."""
    for one in state if isinstance(state, tuple) else (state,):
        if isinstance(one, Mapped):
            yield from (("" if key in _NAMED_PARTS else _key(key), inner) for key, inner in one.pairs)
        elif one is not None:
            yield "state", one


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    return str(key) if isinstance(key, int) and abs(key) < _LIMIT else "key"


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def _unwrapped(value: object) -> tuple[str, tuple[object, ...]] | None:
    """The function that makes a tensor and its arguments, parameters and subclasses taken off."""
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(value, Made) or not isinstance(value.function, Global):
            return None
        name, arguments = value.function.name, value.arguments
        if not isinstance(arguments, tuple):
            return None
        if name in _TENSORS:
            return name, arguments
        if name in _WRAPPERS and arguments:
            value = arguments[0]
        elif name in _TYPED and len(arguments) > 2:  # noqa: PLR2004  # function, type, its arguments
            value = Made(arguments[0], arguments[2])
        else:
            return None
    return None


def _found(path: str, function: str, arguments: tuple[object, ...]) -> Found:
    if len(arguments) < 4:  # noqa: PLR2004  # storage, offset, shape, strides
        raise FormatError(f"tensor {path!a} has too few arguments")
    storage, offset, shape, strides = arguments[:4]
    dtype, key, count = _storage(path, storage)
    if not dtype:
        named = arguments[6] if function.endswith("_v3") and len(arguments) > 6 else None  # noqa: PLR2004
        word = named.name.removeprefix("torch.") if isinstance(named, Global) else ""
        dtype, total = _DTYPES.get(word, OPAQUE), count
    else:
        total = count * _OWN_WIDTHS[dtype]
    sizes, steps = _whole(path, shape), _whole(path, strides)
    first = _whole(path, (offset,))[0]
    if len(sizes) != len(steps):
        raise FormatError(f"tensor {path!a} has {len(sizes)} dimensions and {len(steps)} strides")
    item = _OWN_WIDTHS.get(dtype, 1)
    number = item // 2 if dtype in {"C64", "C128"} else item
    if dtype == OPAQUE:  # an element type that is not known here: the whole storage
        return Found(path, OPAQUE, (total,), (1,), 0, 1, 1, key, total)
    position = _WITH_METADATA.get(function, len(arguments))
    if len(arguments) > position and _changes_values(arguments[position]):
        dtype = OPAQUE
    return Found(path, dtype, sizes, steps, first, item, number, key, total)


def _storage(path: str, storage: object) -> tuple[str, str, int]:
    """Its element type (empty: bytes), key, and elements."""
    identity = storage.identity if isinstance(storage, Persistent) else None
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":  # noqa: PLR2004
        raise FormatError(f"tensor {path!a} lies in no storage")
    kind, key = identity[1], identity[2]
    word = kind.name.rpartition(".")[2] if isinstance(kind, Global) else ""
    if word not in _STORAGES or not isinstance(key, str):
        raise FormatError(f"tensor {path!a} lies in a storage of unknown type")
    return _STORAGES[word], key, _whole(path, (identity[4],))[0]


def _whole(path: str, value: object) -> tuple[int, ...]:
    """A tuple of whole numbers, zero or more."""
    if isinstance(value, Made) and value.function == Global("torch.Size") and isinstance(value.arguments, tuple):
        value = value.arguments[0] if value.arguments else ()
    if isinstance(value, tuple) and len(value) <= _MAX_DIMENSIONS:
        numbers = tuple(one for one in value if type(one) is int and 0 <= one < _LIMIT)
        if len(numbers) == len(value):
            return numbers
    raise FormatError(f"tensor {path!a} has no sound shape, strides or offset")


def _changes_values(metadata: object) -> bool:
    pairs = metadata.pairs if isinstance(metadata, Mapped | Made) else []
    return any(value is not False for _, value in pairs)
