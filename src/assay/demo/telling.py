"""How the demo speaks: chapters, lines, verdicts, and the closing table."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from datetime import datetime

from assay.demo.stage import Told
from assay.diagnosis.verdict import Diagnosis

WIDTH = 110


class Teller:
    """Says what happens, through a function that takes one line.

    Args:
        say: Takes a line of text.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""
        self._say("")
        self._say(f"── {number}. {title} ".ljust(WIDTH, "─"))

    def line(self, text: str) -> None:
        """Say one thing, wrapped and indented."""
        for part in textwrap.wrap(text, WIDTH - 3, break_long_words=False):
            self._say(f"   {part}")

    def diagnosis(self, now: datetime, found: Diagnosis) -> None:
        """Say a verdict with its three sentences and its strongest evidence."""
        scope = f", {found.scope}" if found.scope else ""
        alarm = "  ← security must look" if found.escalate else ""
        chance = found.probabilities.get(found.verdict)
        sure = f" ({chance:.0%})" if chance is not None else ""
        self._say(f"   {now:%Y-%m-%d}  verdict {found.verdict}{sure}{scope}{alarm}")
        for sentence in found.explanation:
            for part in textwrap.wrap(sentence, WIDTH - 7, break_long_words=False):
                self._say(f"       {part}")
        if found.onset:
            self._say(f"       began about {found.onset:%Y-%m-%d}")

    def table(self, rows: Sequence[Told]) -> None:
        """The closing table: chapter, truth, verdict, delay, evidence."""
        self._say("")
        self._say(f"   {'':2} {'chapter':18} {'truth':23} {'verdict':45} {'delay':>9}")
        for row in rows:
            delay = "" if row.delay_days is None else f"{row.delay_days:.0f} days"
            sign = "✓" if row.right else "✗"
            self._say(f"   {sign:2} {f'{row.chapter}. {row.what}':18} {row.truth:23} {row.verdict:45} {delay:>9}")
            for part in textwrap.wrap(row.evidence, WIDTH - 26, break_long_words=False)[:3]:
                self._say(f"{'':25}{part}")
