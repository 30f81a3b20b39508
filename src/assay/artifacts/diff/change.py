"""What changed in one tensor, as values. Pure; needs no numpy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from enum import StrEnum

# Share of its rows and columns that a product of factors changes at least; all, but for what rounding swallows.
FILLED = 0.3
_LAYER = re.compile(r"(?:(?<=^)|(?<=[./_]))(\d+)(?=[./_]|$)")


class Status(StrEnum):
    """How a tensor of one model relates to the other model."""

    SAME = "same"  # name, type, shape and bytes
    CHANGED = "changed"  # same type and shape, other bytes
    RETYPED = "retyped"  # same shape, another element type
    RESHAPED = "reshaped"  # another shape: nothing more can be compared
    RENAMED = "renamed"  # same bytes under another name or in another file
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor in one of the two models.

    Attributes:
        file: The file that names it, relative to the model.
        name: The name the container gives it.
        dtype: The element type.
        shape: Elements per dimension.
    """

    file: str
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Element:
    """One element that changed.

    Attributes:
        index: Where, one number per dimension.
        old: Its value before; the code where values cannot be decoded.
        new: Its value after.
        bits: Positions of the bits that differ, 0 is the lowest; empty when the types differ.
    """

    index: tuple[int, ...]
    old: float
    new: float
    bits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """The difference of two tensors of one shape, NEW minus OLD.

    Attributes:
        exact: Whether values were compared; else the elements are packed (``Q4_K``) and bytes were
            compared: then ``elements`` and ``changed`` count bytes, and only they and the bits count.
        elements: How many there are; of complex types each counts as two.
        changed: How many differ in any bit (in value, when the types differ).
        non_finite: Elements that are NaN or infinite in either; left out of norms and cosine.
        l2: Euclidean norm of the difference.
        l2_old: Euclidean norm of OLD.
        l2_new: Euclidean norm of NEW.
        max_change: Largest absolute difference of finite elements.
        cosine: Of the angle between OLD and NEW; None when either is zero.
        correlation: The same after each mean is taken away; None when either is constant.
        bits: Bits that differ; 0 when the types differ.
        sign_bits: Of these, signs.
        exponent_bits: Of these, bits of exponents.
        single_bits: Elements of which exactly one bit differs.
        highest_bit: Position of the highest bit that differs in any element, 0 is the lowest; None for none.
        zeros_old: Elements that are zero in OLD.
        zeros_new: Elements that are zero in NEW.
        zeroed: Elements that became zero.
        largest_zeroed: Largest absolute value that became zero.
        smallest_kept: Smallest absolute value in NEW that is not zero; None when all are.
        distinct_old: Different bit patterns in OLD; None for more than are counted.
        distinct_new: The same in NEW.
        levels: Share of different values in small groups (parts of rows, parts of columns, zeros left
            out), NEW relative to OLD; near 1 when NEW takes as many values as OLD, small when it was rounded to a grid.
        narrow_old: The narrower type (``BF16``, ``F16``, ``F32``) that holds all of OLD exactly; empty for none.
        narrow_new: The same for NEW.
        rows: Rows in which anything differs (first dimension; 0 for vectors).
        columns: Columns in which anything differs (all other dimensions together).
        rank: Singular values that hold 99 % of the energy of the difference; None when unknown.
        rank_exact: Singular values above what rounding explains; None when unknown or many.
        rank_beyond: Why ``rank`` is None: it is larger than this; 0 when it was not measured.
        first: The first elements that changed, a few.
    """

    exact: bool
    elements: int
    changed: int
    non_finite: int = 0
    l2: float = 0.0
    l2_old: float = 0.0
    l2_new: float = 0.0
    max_change: float = 0.0
    cosine: float | None = None
    correlation: float | None = None
    bits: int = 0
    sign_bits: int = 0
    exponent_bits: int = 0
    single_bits: int = 0
    highest_bit: int | None = None
    zeros_old: int = 0
    zeros_new: int = 0
    zeroed: int = 0
    largest_zeroed: float = 0.0
    smallest_kept: float | None = None
    distinct_old: int | None = None
    distinct_new: int | None = None
    levels: float = 1.0
    narrow_old: str = ""
    narrow_new: str = ""
    rows: int = 0
    columns: int = 0
    rank: int | None = None
    rank_exact: int | None = None
    rank_beyond: int = 0
    first: tuple[Element, ...] = ()

    @property
    def share(self) -> float:
        """Share of elements that changed, 0 to 1."""
        return self.changed / self.elements if self.elements else 0.0

    @property
    def relative(self) -> float | None:
        """L2 of the difference relative to that of OLD; None when OLD is zero or not decoded."""
        return self.l2 / self.l2_old if self.exact and self.l2_old else None

    @property
    def thin(self) -> bool:
        """Whether the difference is a product of two thin factors, which no chance makes.

        The factors hold at most half as many numbers as the rows and columns that changed, and, as
        a product does, the difference fills these.
        """
        room = self.rows * self.columns
        if self.rank_exact is None or self.non_finite or self.changed < FILLED * room:
            return False
        return 2 * self.rank_exact * (self.rows + self.columns) <= room

    def as_json(self) -> dict[str, object]:
        """The numbers by name; what is infinite or NaN is null, for JSON has no word for it."""
        plain = {field.name: _finite(getattr(self, field.name)) for field in fields(self) if field.name != "first"}
        first = [
            {"index": list(one.index), "old": _finite(one.old), "new": _finite(one.new), "bits": list(one.bits)}
            for one in self.first
        ]
        return {**plain, "changed_share": self.share, "l2_relative": _finite(self.relative), "first": first}


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class TensorChange:
    """One tensor of either model, and how it relates to the other model.

    Attributes:
        status: How.
        old: Where it is in OLD; None when it was added.
        new: Where it is in NEW; None when it was removed.
        measures: The difference; None unless the status is ``changed`` or ``retyped``.
    """

    status: Status
    old: Place | None
    new: Place | None
    measures: Measures | None = None

    @property
    def place(self) -> Place:
        """Where it is in NEW, or in OLD when it is no more."""
        place = self.new or self.old
        if place is None:
            raise ValueError("a change is of a tensor in one model at least")
        return place

    @property
    def name(self) -> str:
        """Its name."""
        return self.place.name

    def as_json(self) -> dict[str, object]:
        """As ``assay diff --json`` prints it."""
        places = {"old": self.old, "new": self.new}
        return {
            "name": self.name,
            "status": self.status.value,
            **{
                side: None
                if place is None
                else {"file": place.file, "name": place.name, "dtype": place.dtype, "shape": list(place.shape)}
                for side, place in places.items()
            },
            "measures": self.measures.as_json() if self.measures else None,
        }


def kind_of(name: str) -> tuple[str, int | None]:
    """The name with ``*`` for the number of its layer, and that number; None where it has none."""
    number = _LAYER.search(name)
    if number is None:
        return name, None
    return f"{name[: number.start()]}*{name[number.end() :]}", int(number[1])
