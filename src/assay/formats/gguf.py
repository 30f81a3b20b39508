"""GGUF: metadata, tensor descriptions, then the tensors, each at a multiple of the alignment.

Source: docs/gguf.md of github.com/ggml-org/ggml (versions 2 and 3); block sizes and numbers of the
quantised types from ggml.h and ggml-common.h of the same repository. GGUF lists the fastest
dimension first; shapes here have it last, as everywhere else.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping

from assay.errors import FormatError
from assay.formats.base import Content, Part, plain_elements
from assay.formats.reading import Window

# Metadata holds the vocabulary: 300,000 tokens with their scores have about 10 MB.
MAX_METADATA_BYTES = 256 * 1024 * 1024
MAX_KEYS = 100_000
MAX_TENSORS = 1_000_000
MAX_STRING_BYTES = 16 * 1024 * 1024
_MAX_NAME_BYTES = 65_535
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_MAX_DEPTH = 8  # of arrays within arrays
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20

# Number of the type: its name, elements of a block, bytes of a block.
TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
# Metadata values: number of the type to bytes; 8 is a string, 9 an array.
_VALUES: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _STRING, _ARRAY = 4, 8, 9


class Gguf:
    """The GGUF container; parts are its tensors."""

    name = "GGUF"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be a GGUF container."""
        return name.lower().endswith(".gguf")

    def accepts(self, content: Content) -> bool:
        """Whether it is one that is read here: not version 1, and not big-endian."""
        head = content.read(0, 8)
        # An unknown version is one for parts() to refuse; these two are sound files that have no parts here.
        return head[:4] != b"GGUF" or head[4:] not in {b"\1\0\0\0", b"\0\0\0\2", b"\0\0\0\3"}

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every tensor with its byte range, in the order of the bytes.

        Raises:
            FormatError: Anything malformed; tensors overlap, lie apart by more than the alignment
                asks for, or bytes follow them.
        """
        window = Window(content, MAX_METADATA_BYTES)
        if window.take(4) != b"GGUF":
            raise FormatError("it does not begin with GGUF")
        (version, tensors, keys) = struct.unpack("<IQQ", window.take(20))
        if version not in {2, 3}:
            raise FormatError(f"version {version} is not known; 2 and 3 are")
        if tensors > MAX_TENSORS or keys > MAX_KEYS:
            raise FormatError(f"it claims {tensors} tensors and {keys} keys; {MAX_TENSORS} and {MAX_KEYS} are read")
        alignment = _metadata(window, keys)
        infos = [_info(window) for _ in range(tensors)]
        if len({name for name, *_ in infos}) != len(infos):
            raise FormatError("it names a tensor twice")
        base = _aligned(window.at, alignment)
        return _placed(infos, base, alignment, content.size)

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a tensor: always as they lie in the file."""
        return plain_elements(content, part)


def _metadata(window: Window, keys: int) -> int:
    """Read over all keys; the alignment."""
    alignment = _DEFAULT_ALIGNMENT
    seen: set[bytes] = set()
    for _ in range(keys):
        key = _string(window, _MAX_NAME_BYTES)
        if key in seen:
            raise FormatError(f"the metadata say {key!r} twice")
        seen.add(key)
        (kind,) = struct.unpack("<I", window.take(4))
        if key == b"general.alignment":
            if kind != _UINT32:
                raise FormatError("general.alignment is no 32-bit number")
            (alignment,) = struct.unpack("<I", window.take(4))
            if not 0 < alignment <= _MAX_ALIGNMENT or alignment % 8:
                raise FormatError(f"an alignment of {alignment} is refused")
        else:
            _skip(window, kind, 0)
    return int(alignment)


def _skip(window: Window, kind: int, depth: int) -> None:
    """Read over one value."""
    if kind in _VALUES:
        window.skip(_VALUES[kind])
    elif kind == _STRING:
        window.skip(_length(window, MAX_STRING_BYTES))
    elif kind == _ARRAY and depth < _MAX_DEPTH:
        inner, count = struct.unpack("<IQ", window.take(12))
        if inner in _VALUES:
            window.skip(count * _VALUES[inner])
        elif count > MAX_METADATA_BYTES // 8:  # each element has at least eight bytes
            raise FormatError(f"an array claims {count} elements")
        else:
            for _ in range(count):
                _skip(window, inner, depth + 1)
    else:
        raise FormatError(f"a value of the metadata has type {kind}, or arrays are nested too deeply")


def _length(window: Window, limit: int) -> int:
    length = int.from_bytes(window.take(8), "little")
    if length > limit:
        raise FormatError(f"a string claims {length} bytes; at most {limit} are read")
    return length


def _string(window: Window, limit: int) -> bytes:
    return window.take(_length(window, limit))


def _info(window: Window) -> tuple[str, tuple[int, ...], int, int]:
    """A tensor's name, shape, number of its type, and offset."""
    try:
        name = _string(window, _MAX_NAME_BYTES).decode("utf-8")
    except UnicodeDecodeError as err:
        raise FormatError("a tensor's name is not UTF-8") from err
    (dimensions,) = struct.unpack("<I", window.take(4))
    if dimensions > _MAX_DIMENSIONS:
        raise FormatError(f"tensor {name!a} has {dimensions} dimensions; at most {_MAX_DIMENSIONS} are allowed")
    shape = struct.unpack(f"<{dimensions}Q", window.take(8 * dimensions))
    kind, offset = struct.unpack("<IQ", window.take(12))
    return name, shape[::-1], kind, offset


def _placed(
    infos: list[tuple[str, tuple[int, ...], int, int]], base: int, alignment: int, size: int
) -> tuple[Part, ...]:
    infos.sort(key=lambda info: info[3])
    parts: list[Part] = []
    at = base
    for index, (name, shape, kind, offset) in enumerate(infos):
        start = base + offset
        if start != _aligned(at, alignment) or offset % alignment:
            what = "overlaps what is before it" if start < at else "leaves a gap before it or is not aligned"
            raise FormatError(f"tensor {name!a} {what}: it starts at byte {start}, not {_aligned(at, alignment)}")
        # How long a tensor of a newer type is, only the next one tells.
        following = base + infos[index + 1][3] if index + 1 < len(infos) else size
        dtype, length = _measure(name, shape, kind, max(following - start, 0))
        at = start + length
        parts.append(Part(name, dtype, shape, start, at))
    if not infos and size <= base:  # without tensors, the padding may be missing
        return ()
    if size not in {at, _aligned(at, alignment)}:  # writers pad the last tensor too, or do not
        what = "bytes follow the tensors" if at < size else "bytes are missing"
        raise FormatError(f"{what}: they end at byte {at}, the file at {size}")
    return tuple(parts)


def _measure(name: str, shape: tuple[int, ...], kind: int, room: int) -> tuple[str, int]:
    """A tensor's dtype and its bytes."""
    if kind not in TYPES:
        return f"GGML-{kind}", room
    dtype, block, width = TYPES[kind]
    if shape and shape[-1] % block:
        raise FormatError(f"tensor {name!a}: rows of {shape[-1]} elements are no whole blocks of {dtype}")
    count = math.prod(shape)
    if count % block:
        raise FormatError(f"tensor {name!a}: {count} elements are no whole blocks of {dtype}")
    return dtype, count // block * width


def _aligned(at: int, alignment: int) -> int:
    return -(-at // alignment) * alignment
