"""Windows that need not be counted again, because their files are what they were when they were counted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from assay.engines.base import Bins, Code, ColumnFamily, Question, Values
from assay.engines.made import OfQuery
from assay.engines.stamps import Files, Stamp
from assay.monitoring.folding import Asking
from assay.monitoring.looking import Look, Met
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts

Odd = Mapping[str, Mapping[int, int]]
"""By question, values that are there and no finite number: by their code, how many."""

_COUNT_BYTES = 16
_ID_BYTES = 260


@dataclass(frozen=True, slots=True)
class Settled:
    """A window as it was counted.

    Attributes:
        window: Its counts.
        odd: Its values that are no finite number.
        files: All files that hold rows of it, as they were before it was counted.
        look: What was strange about its rows; None where that was not asked of it alone.
    """

    window: WindowCounts
    odd: Odd
    files: tuple[Stamp, ...]
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class What:
    """What was counted: other signals or columns have other counts.

    Attributes:
        schema: What the columns mean.
        specs: The signals.
        columns: The columns of the table.
    """

    schema: PredictionSchema
    specs: tuple[SignalSpec, ...]
    columns: Mapping[str, ColumnFamily]


@dataclass(frozen=True, slots=True)
class Counts:
    """Windows that were counted before, each with the files it was counted from.

    Attributes:
        of: What was counted.
        types: Of the files' columns, names and types in one digest.
        asking: The questions that can be asked of them.
        windows: The windows, by start and end.
        met: The request ids of their rows.
    """

    of: What
    types: str
    asking: Asking
    windows: Mapping[tuple[str, str], Settled] = field(default_factory=dict)
    met: Met = field(default_factory=Met, compare=False)

    def fits(self, types: str, schema: PredictionSchema, specs: Sequence[SignalSpec]) -> bool:
        """Whether the same is counted in files of these columns: then they need not be looked at to know it."""
        return self.types == types and self.of.schema == schema and self.of.specs == tuple(specs)

    @property
    def nbytes(self) -> int:
        """About how much memory is kept, in bytes."""
        ids = sum(len(one.look.ids) for one in self.windows.values() if one.look is not None)
        kept = _ID_BYTES * ids + self.asking.nbytes
        return kept + len(self.windows) * _COUNT_BYTES * sum(spec.bins + 8 for spec in self.of.specs)

    def still(self, window: tuple[str, str], files: tuple[Stamp, ...]) -> Settled | None:
        """A window whose files are what they were; None when it must be counted."""
        found = self.windows.get(window)
        return found if found is not None and found.files == files else None


def files_of(
    files: Files,
    spans: Sequence[tuple[datetime, datetime]],
    columns: Collection[str],
    *,
    schema: PredictionSchema,
    questions: Collection[Question],
) -> tuple[tuple[Stamp, ...], ...] | None:
    """The files of each window, when each file belongs to one window at most; None when windows cannot be told apart.

    They cannot where files cannot be read one by one; where a day's file holds rows of several windows; where labels of
    old rows come in new windows; and where a figure is made of the rows of a whole query.

    Args:
        files: The table.
        spans: Start and end of each window, in time order.
        columns: The columns of the table.
        schema: What they mean.
        questions: What is counted.
    """
    codes = (code for question in questions for code in question.codes)
    if not files.stamps or schema.label_time in columns or any(isinstance(_made(code), OfQuery) for code in codes):
        return None
    starts = [start for start, _ in spans]
    found: list[list[Stamp]] = [[] for _ in spans]
    for stamp in files.stamps:
        place = bisect_right(starts, stamp.first) - 1
        inside = place >= 0 and stamp.first < spans[place][1]
        last = spans[place][1] if inside else starts[place + 1] if place + 1 < len(starts) else None
        if last is not None and stamp.end > last:
            return None
        if inside:
            found[place].append(stamp)
    return tuple(map(tuple, found))


def _made(code: Code) -> object:
    return code.of if isinstance(code, Bins | Values) else None
