"""Bytes of tensors as numbers: exact for every element type listed here.

Sources: IEEE 754-2019 for F16, F32, F64; BF16 is the upper half of an F32; OCP 8-bit Floating Point
Specification (OFP8) 1.0 for F8_E4M3 (bias 7, no infinity, 0x7F and 0xFF are NaN) and F8_E5M2 (bias
15, as IEEE); arXiv:2206.02915 for the FNUZ types (bias 8 and 16, 0x80 is NaN); OCP Microscaling
Formats (MX) 1.0 for F8_E8M0 (powers of two, bias 127, 0xFF is NaN).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True)
class Layout:
    """How an element is stored.

    Attributes:
        width: Bytes per element.
        exponent: Bits of the exponent; 0 for whole numbers.
        fraction: Bits of the fraction; for whole numbers all bits below the sign.
        signed: Whether the highest bit is the sign.
    """

    width: int
    exponent: int = 0
    fraction: int = 0
    signed: bool = True

    @property
    def floating(self) -> bool:
        """Whether it is a floating-point number."""
        return self.exponent > 0


LAYOUTS: Mapping[str, Layout] = {
    "BOOL": Layout(1, 0, 8, signed=False),
    "U8": Layout(1, 0, 8, signed=False),
    "I8": Layout(1, 0, 7),
    "U16": Layout(2, 0, 16, signed=False),
    "I16": Layout(2, 0, 15),
    "U32": Layout(4, 0, 32, signed=False),
    "I32": Layout(4, 0, 31),
    "U64": Layout(8, 0, 64, signed=False),
    "I64": Layout(8, 0, 63),
    "F8_E4M3": Layout(1, 4, 3),
    "F8_E5M2": Layout(1, 5, 2),
    "F8_E4M3FNUZ": Layout(1, 4, 3),
    "F8_E5M2FNUZ": Layout(1, 5, 2),
    "F8_E8M0": Layout(1, 8, 0, signed=False),
    "F16": Layout(2, 5, 10),
    "BF16": Layout(2, 8, 7),
    "F32": Layout(4, 8, 23),
    "F64": Layout(8, 11, 52),
}
COMPLEX: Mapping[str, str] = {"C64": "F32", "C128": "F64"}  # compared as pairs of numbers

_NUMPY = {
    "BOOL": "u1",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


def words(raw: bytes, dtype: str) -> Words:
    """The elements' bits, as unsigned integers of the same width."""
    found: Words = np.frombuffer(raw, dtype=f"<u{LAYOUTS[dtype].width}")
    return found


def values(raw: bytes, dtype: str) -> Floats:
    """The elements' values; exact but for whole numbers beyond 2**53."""
    if dtype in _NUMPY:
        return np.frombuffer(raw, dtype=_NUMPY[dtype]).astype(np.float64)
    if dtype == "BF16":
        return (np.frombuffer(raw, dtype="<u2").astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    found: Floats = _table(dtype)[np.frombuffer(raw, dtype=np.uint8)]
    return found


@lru_cache(maxsize=8)
def _table(dtype: str) -> Floats:
    """The value of each of the 256 codes of an 8-bit float."""
    return np.array([_eight_bits(code, dtype) for code in range(256)])


def _eight_bits(code: int, dtype: str) -> float:
    if dtype == "F8_E8M0":
        return math.nan if code == 0xFF else math.ldexp(1.0, code - 127)  # noqa: PLR2004  as MX 1.0 has it
    layout = LAYOUTS[dtype]
    unsigned_zero = dtype.endswith("FNUZ")
    bias = 2 ** (layout.exponent - 1) - (0 if unsigned_zero else 1)
    exponent = (code >> layout.fraction) & (2**layout.exponent - 1)
    fraction = code & (2**layout.fraction - 1)
    sign = -1.0 if code & 0x80 else 1.0
    if unsigned_zero and code == 0x80:  # noqa: PLR2004  what would be minus zero
        return math.nan
    if dtype == "F8_E4M3" and code & 0x7F == 0x7F:  # noqa: PLR2004  as OFP8 has it
        return math.nan
    if dtype == "F8_E5M2" and exponent == 2**layout.exponent - 1:
        return math.nan if fraction else sign * math.inf
    share = fraction / 2**layout.fraction
    if exponent == 0:
        return sign * math.ldexp(share, 1 - bias)
    return sign * math.ldexp(1.0 + share, exponent - bias)


def step(found: Floats, dtype: str) -> Floats:
    """Distance from each value to the next that the type can store (one unit in the last place)."""
    layout = LAYOUTS[dtype]
    if not layout.floating:
        return np.ones_like(found)
    _, exponent = np.frexp(np.where(np.isfinite(found), found, 0.0))
    bias = 2 ** (layout.exponent - 1) - (0 if dtype.endswith("FNUZ") else 1)
    lowest = 2 - bias  # frexp's exponent of the smallest normal number; below it the steps stay equal
    steps: Floats = np.ldexp(1.0, np.maximum(exponent, lowest) - 1 - layout.fraction)
    return steps


def masks(dtype: str) -> tuple[int, int, int]:
    """Which bits are sign, exponent and fraction."""
    layout = LAYOUTS[dtype]
    bits = 8 * layout.width
    sign = 1 << (bits - 1) if layout.signed else 0
    exponent = ((1 << layout.exponent) - 1) << layout.fraction
    return sign, exponent, ((1 << bits) - 1) & ~sign & ~exponent
