"""What this process keeps between two monitor runs, so that the next goes on from there.

It is only a shortcut: what goes on says what a run from the first window would say, bit for bit. Whoever takes what is
kept has it alone until it is put back, so two threads never carry on from one judgement; the second begins anew.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from assay.monitoring.judgement import Judged
from assay.monitoring.settled import Counts

MOST_BYTES: Final = 256 << 20
"""What all judgements together may take, and all counts; what was not asked for the longest goes first."""


class Sized(Protocol):
    """Something that says how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """About how much, in bytes."""
        ...


Kept = TypeVar("Kept", bound=Sized)


class Keeper(Generic[Kept]):
    """Things by model, in bounded memory."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, ...], Kept] = OrderedDict()
        self._alone = Lock()

    def take(self, *key: str) -> Kept | None:
        """What is kept under this key, and is not any more; None for nothing."""
        with self._alone:
            return self._kept.pop(key, None)

    def put(self, kept: Kept | None, *key: str) -> None:
        """Keep something under this key; None keeps nothing."""
        with self._alone:
            self._kept.pop(key, None)
            if kept is None:
                return
            self._kept[key] = kept
            while self._kept and self.nbytes > self.most_bytes:
                self._kept.popitem(last=False)

    @property
    def nbytes(self) -> int:
        """About how much memory all of them take, in bytes."""
        return sum(one.nbytes for one in self._kept.values())


JUDGED: Final = Keeper[Judged]()
"""The judgements of this process."""
COUNTED: Final = Keeper[Counts](MOST_BYTES // 4)
"""The windows that this process has counted."""
