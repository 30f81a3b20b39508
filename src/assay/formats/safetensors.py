"""safetensors: an 8-byte length, a JSON header, then the tensors without gaps.

Source: the format description in the README of github.com/huggingface/safetensors. This parser is
stricter where a lenient one could be told two stories: a name twice, a tensor twice, gaps,
overlaps and trailing bytes are all refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from assay.errors import FormatError
from assay.formats.base import Content, Part, exactly, plain_elements

# The format allows 100 MB; 16 MiB holds more than 100,000 tensors and bounds the memory of the JSON parser.
MAX_HEADER_BYTES = 16 * 1024 * 1024

BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}


class Safetensors:
    """The safetensors container; parts are its tensors."""

    name = "safetensors"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be a safetensors container."""
        return name.lower().endswith(".safetensors")

    def accepts(self, content: Content) -> bool:  # noqa: ARG002  # the name alone decides
        """Whether it is one; always."""
        return True

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every tensor with its byte range, in the order of the bytes.

        Raises:
            FormatError: The header is not what the format says, or tensors overlap, leave gaps or
                do not end where the file ends.
        """
        length = int.from_bytes(exactly(content, 0, 8, "the header length"), "little")
        if length > MAX_HEADER_BYTES:
            raise FormatError(f"the header claims {length} bytes; at most {MAX_HEADER_BYTES} are read")
        header = _header(exactly(content, 8, length, "the header"))
        data = 8 + length
        parts = sorted(
            (_tensor(name, entry, data) for name, entry in header.items() if name != "__metadata__"),
            key=lambda part: (part.start, part.end),
        )
        _check_contiguous(parts, data, content.size)
        return tuple(parts)

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a tensor: always as they lie in the file."""
        return plain_elements(content, part)


def _header(raw: bytes) -> Mapping[str, object]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise FormatError(f"the header is not the JSON object it must be ({type(err).__name__})") from err
    if not raw.startswith(b"{") or not isinstance(header, dict):  # no white space before it either
        raise FormatError("the header must be a JSON object and begin with '{'")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("__metadata__ must map text to text")
    return header


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):  # two readers could pick different ones
        raise FormatError("the header says a name twice")
    return found


def _no_constant(text: str) -> object:
    raise FormatError(f"the header holds {text}, which is no JSON")


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise FormatError("sizes and offsets must be whole numbers, zero or more")
    return value


def _tensor(name: str, entry: object, data: int) -> Part:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor {name!a} must have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise FormatError(f"tensor {name!a} has an unknown dtype")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:  # noqa: PLR2004
        raise FormatError(f"tensor {name!a} must have a list as shape and two data_offsets")
    sizes = tuple(_count(size) for size in shape)
    start, end = _count(offsets[0]), _count(offsets[1])
    bits = math.prod(sizes) * BITS[dtype]
    if bits % 8 or start > end or end - start != bits // 8:
        raise FormatError(f"tensor {name!a}: {dtype} of shape {list(sizes)} does not fill bytes {start} to {end}")
    return Part(name, dtype, sizes, data + start, data + end)


def _check_contiguous(parts: Sequence[Part], data: int, size: int) -> None:
    at = data
    for part in parts:
        if part.start != at:
            kind = "overlaps what is before it" if part.start < at else "leaves a gap before it"
            raise FormatError(f"tensor {part.name!a} {kind}: it starts at byte {part.start}, not {at}")
        at = part.end
    if at != size:
        kind = "trailing bytes" if at < size else "missing bytes"
        raise FormatError(f"{kind}: the tensors end at byte {at}, the file at {size}")
