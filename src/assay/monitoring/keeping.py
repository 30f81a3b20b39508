"""What this process keeps of its judgements between two monitor runs, so that the next goes on from there.

It is only a shortcut: a judgement that goes on says what one from the first window would say, bit for bit. Whoever
takes what is kept has it alone until it is put back, so two threads never carry on from one judgement; the second
begins anew.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from assay.monitoring.judgement import Judged

MOST_BYTES: Final = 256 << 20
"""What all judgements together may take; the one that was not asked for the longest goes first."""


class Keeper:
    """Judgements by model, in bounded memory."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, ...], Judged] = OrderedDict()
        self._alone = Lock()

    def take(self, *key: str) -> Judged | None:
        """What is kept under this key, and is not any more; None for nothing."""
        with self._alone:
            return self._kept.pop(key, None)

    def put(self, judged: Judged | None, *key: str) -> None:
        """Keep a judgement under this key; None keeps nothing."""
        with self._alone:
            self._kept.pop(key, None)
            if judged is None:
                return
            self._kept[key] = judged
            while self._kept and self.nbytes > self.most_bytes:
                self._kept.popitem(last=False)

    @property
    def nbytes(self) -> int:
        """About how much memory all of them take, in bytes."""
        return sum(one.nbytes for one in self._kept.values())


KEEPER: Final = Keeper()
"""Those of this process."""
