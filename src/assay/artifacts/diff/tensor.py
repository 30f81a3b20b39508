"""Two tensors of one shape, taken in blocks: every measure in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from assay.artifacts.diff.change import Element, Measures
from assay.artifacts.diff.decode import COMPLEX, LAYOUTS, Floats, Words, masks, step, values, words
from assay.artifacts.diff.levels import Distinct, Levels, Narrow
from assay.artifacts.diff.rank import MOST_COLUMNS, Rank, Spread
from assay.artifacts.diff.weights import blocks
from assay.errors import FormatError

BLOCK_ELEMENTS = 2**19  # 4 MB of F64; about ten arrays of it live at a time
SHOWN = 8
_CONSTANT = 1e-12  # relative spread that double precision leaves in the sums over a constant
_Mask = npt.NDArray[np.bool_]


def measure(
    old: Iterator[bytes], new: Iterator[bytes], old_dtype: str, new_dtype: str, shape: tuple[int, ...]
) -> Measures:
    """Measure the difference of two tensors of one shape.

    Args:
        old: The elements, little-endian and row-major, in pieces.
        new: The same of the other tensor.
        old_dtype: Element type of ``old``.
        new_dtype: Element type of ``new``.
        shape: Elements per dimension.

    Raises:
        FormatError: One has more or fewer elements than its shape says.
    """
    if old_dtype in COMPLEX and new_dtype in COMPLEX:
        old_dtype, new_dtype, shape = COMPLEX[old_dtype], COMPLEX[new_dtype], (*shape, 2)
    if old_dtype not in LAYOUTS or new_dtype not in LAYOUTS:
        return _bytes(old, new)
    meter = Meter(old_dtype, new_dtype, shape)
    pairs = zip(
        blocks(old, meter.block * LAYOUTS[old_dtype].width),
        blocks(new, meter.block * LAYOUTS[new_dtype].width),
        strict=False,
    )
    for before, after in pairs:
        meter.take(before, after)
    return meter.measures()


def _bytes(old: Iterator[bytes], new: Iterator[bytes]) -> Measures:
    """Elements that no source here decodes (quantised blocks): how many bytes and bits differ."""
    count = changed = bits = 0
    before, after = blocks(old, BLOCK_ELEMENTS), blocks(new, BLOCK_ELEMENTS)
    while True:
        one, other = next(before, b""), next(after, b"")
        if not one and not other:
            return Measures(exact=False, elements=count, changed=changed, bits=bits)
        length = min(len(one), len(other))
        differing = np.frombuffer(one[:length], np.uint8) ^ np.frombuffer(other[:length], np.uint8)
        count += max(len(one), len(other))
        changed += int(np.count_nonzero(differing)) + abs(len(one) - len(other))
        bits += int(np.bitwise_count(differing).sum())


class Meter:
    """Takes blocks of both tensors, then answers with every measure.

    Args:
        old_dtype: Element type of OLD.
        new_dtype: Element type of NEW.
        shape: Elements per dimension.
    """

    def __init__(self, old_dtype: str, new_dtype: str, shape: tuple[int, ...]) -> None:
        self._old, self._new, self._shape = old_dtype, new_dtype, shape
        self._elements = math.prod(shape)
        columns = math.prod(shape[1:])
        rectangular = len(shape) > 1 and 0 < columns <= MOST_COLUMNS
        self._columns = columns if rectangular else max(self._elements, 1)
        self.block = max(1, BLOCK_ELEMENTS // columns) * columns if rectangular else BLOCK_ELEMENTS
        matrix = rectangular and min(shape[0], columns) > 1 and old_dtype == new_dtype
        self._spread = Spread(shape[0], columns) if matrix else None
        self._in_columns = np.zeros(columns if rectangular else 0, dtype=np.bool_)
        self._rows = 0
        self._at = 0
        self._changed = self._non_finite = 0
        self._sums = np.zeros(6)  # of old, new, old², new², old·new, (new - old)²
        self._max = 0.0
        self._any_bits = 0
        self._bits = np.zeros(4, dtype=np.int64)  # all, signs, exponents, elements with one
        self._zeros = np.zeros(3, dtype=np.int64)  # in old, in new, became
        self._largest_zeroed, self._smallest_kept = 0.0, math.inf
        self._distinct = (Distinct(old_dtype), Distinct(new_dtype))
        self._narrow = (Narrow(old_dtype), Narrow(new_dtype))
        self._levels = Levels(self._columns if rectangular else 1)
        self._first: list[Element] = []

    def take(self, before: bytes, after: bytes) -> None:
        """Take the next block of both.

        Raises:
            FormatError: The blocks have different numbers of elements.
        """
        if len(before) * LAYOUTS[self._new].width != len(after) * LAYOUTS[self._old].width:
            raise FormatError(f"a tensor of shape {list(self._shape)} ends early")
        bits_old, bits_new = words(before, self._old), words(after, self._new)
        old, new = values(before, self._old), values(after, self._new)
        self._distinct[0].take(bits_old)
        self._distinct[1].take(bits_new)
        self._narrow[0].take(old)
        self._narrow[1].take(new)
        self._levels.take(old, new)
        if self._old == self._new:
            differing = bits_old ^ bits_new
            changed = differing != 0
            self._count_bits(differing[changed])
        else:
            differing = None
            changed = (old != new) & ~(np.isnan(old) & np.isnan(new))
        self._remember(changed, old, new, differing)
        self._add(old, new, changed)
        self._at += old.size

    def _count_bits(self, differing: Words) -> None:
        sign, exponent, _ = masks(self._old)
        counts = np.bitwise_count(differing)
        self._any_bits |= int(np.bitwise_or.reduce(differing, initial=0))
        self._bits += (
            int(counts.sum(dtype=np.int64)),
            int(np.bitwise_count(differing & differing.dtype.type(sign)).sum(dtype=np.int64)),
            int(np.bitwise_count(differing & differing.dtype.type(exponent)).sum(dtype=np.int64)),
            int(np.count_nonzero(counts == 1)),
        )

    def _remember(self, changed: _Mask, old: Floats, new: Floats, differing: Words | None) -> None:
        self._changed += int(np.count_nonzero(changed))
        for at in np.flatnonzero(changed)[: SHOWN - len(self._first)]:
            index = tuple(int(one) for one in np.unravel_index(self._at + int(at), self._shape)) if self._shape else ()
            bits = 0 if differing is None else int(differing[at])
            places = tuple(place for place in range(bits.bit_length()) if bits >> place & 1)
            self._first.append(Element(index, float(old[at]), float(new[at]), places))

    def _add(self, old: Floats, new: Floats, changed: _Mask) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            difference = new - old
            sums = _sums(old, new, difference)
            if not np.isfinite(sums).all():
                finite = np.isfinite(old) & np.isfinite(new)
                self._non_finite += int(old.size - np.count_nonzero(finite))
                old, new = np.where(finite, old, np.nan), np.where(finite, new, np.nan)
                difference = np.where(finite, new - old, 0.0)
                sums = _sums(np.nan_to_num(old, nan=0.0), np.nan_to_num(new, nan=0.0), difference)
            self._sums += sums
        self._max = max(self._max, float(difference.max(initial=0.0)), -float(difference.min(initial=0.0)))
        self._count_zeros(old, new, changed)
        self._shape_of(difference, new, changed)

    def _count_zeros(self, old: Floats, new: Floats, changed: _Mask) -> None:
        """Zeros before and after; elements that are not finite must be NaN."""
        zeros = old.size - int(np.count_nonzero(old)), new.size - int(np.count_nonzero(new))
        sizes = np.abs(new)
        if zeros[1]:
            zeroed = changed & (sizes == 0) & (old != 0) & ~np.isnan(old)
            gone = np.abs(old[zeroed])
            self._zeros[2] += gone.size
            self._largest_zeroed = max(self._largest_zeroed, float(gone.max(initial=0.0)))
            sizes = sizes[sizes > 0]
        self._zeros[:2] += zeros
        if sizes.size:  # fmin passes NaN by
            self._smallest_kept = min(self._smallest_kept, float(np.fmin.reduce(sizes, initial=math.inf)))

    def _shape_of(self, difference: Floats, new: Floats, changed: _Mask) -> None:
        """Which rows and columns the difference lies in, and its rank."""
        if not self._in_columns.size:
            return
        there = changed.reshape(-1, self._in_columns.size)
        self._in_columns |= there.any(axis=0)
        self._rows += int(np.count_nonzero(there.any(axis=1)))
        if self._spread is not None and not self._spread.full:
            steps = step(new, self._new)
            with np.errstate(over="ignore", invalid="ignore"):
                noise = float((steps * steps) @ changed) / 12  # variance of a uniform error
            self._spread.take(difference.reshape(there.shape), noise)

    def measures(self) -> Measures:
        """Everything measured.

        Raises:
            FormatError: There were fewer elements than the shape says.
        """
        if self._at != self._elements:
            raise FormatError(f"a tensor of shape {list(self._shape)} has {self._at} elements, not {self._elements}")
        rank = self._spread.rank() if self._spread is not None and self._changed else Rank(None, None)
        count = max(self._elements - self._non_finite, 1)
        sum_old, sum_new, square_old, square_new, product, square = (float(one) for one in self._sums)
        return Measures(
            exact=True,
            elements=self._elements,
            changed=self._changed,
            non_finite=self._non_finite,
            l2=math.sqrt(square),
            l2_old=math.sqrt(square_old),
            l2_new=math.sqrt(square_new),
            max_change=self._max,
            cosine=_cosine(product, square_old, square_new),
            correlation=_cosine(
                product - sum_old * sum_new / count,
                _spread(square_old, sum_old, count),
                _spread(square_new, sum_new, count),
            ),
            bits=int(self._bits[0]),
            sign_bits=int(self._bits[1]),
            exponent_bits=int(self._bits[2]),
            single_bits=int(self._bits[3]),
            highest_bit=self._any_bits.bit_length() - 1 if self._any_bits else None,
            zeros_old=int(self._zeros[0]),
            zeros_new=int(self._zeros[1]),
            zeroed=int(self._zeros[2]),
            largest_zeroed=self._largest_zeroed,
            smallest_kept=self._smallest_kept if math.isfinite(self._smallest_kept) else None,
            distinct_old=self._distinct[0].count(),
            distinct_new=self._distinct[1].count(),
            levels=self._levels.ratio(),
            narrow_old=self._narrow[0].kind(),
            narrow_new=self._narrow[1].kind(),
            rows=self._rows,
            columns=int(np.count_nonzero(self._in_columns)),
            rank=rank.energy,
            rank_exact=rank.exact,
            rank_beyond=rank.beyond,
            first=tuple(self._first),
        )


def _sums(old: Floats, new: Floats, difference: Floats) -> Floats:
    """Sums of old, new, old\u00b2, new\u00b2, old x new and difference\u00b2."""
    return np.array([old.sum(), new.sum(), old @ old, new @ new, old @ new, difference @ difference])


def _spread(square: float, total: float, count: int) -> float:
    """Sum of squares about the mean; 0 for a constant, whatever rounding left."""
    found = square - total * total / count  # ** would raise where * overflows to infinity
    return found if found > _CONSTANT * square else 0.0


def _cosine(product: float, one: float, other: float) -> float | None:
    """Of two vectors from their product and squares; None when either is zero or beyond double precision."""
    scale = math.sqrt(max(one, 0.0)) * math.sqrt(max(other, 0.0))
    if not scale or not math.isfinite(product) or not math.isfinite(scale):
        return None
    return max(-1.0, min(1.0, product / scale))
