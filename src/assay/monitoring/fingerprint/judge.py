"""Is what answers now the model that was recorded? Pure: answers come in through a function, a verdict goes out.

Error rates hold since the reference was recorded, however often it is asked: run ``k`` may spend
``rate / (k (k + 1))``, and these add up to the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from assay.errors import AssayError
from assay.inference.fingerprint import Fingerprint, Shares, guess_from
from assay.monitoring.fingerprint.probes import Ask, Reply, cut
from assay.monitoring.fingerprint.record import difference
from assay.monitoring.fingerprint.reference import Probe, Reference

Outcome = Literal["same", "changed", "unknown"]
Run = tuple[tuple[int, int], ...]
"""Live answers of one run, in order: place of the probe, place of the symbol."""

SURE = 0.9  # share of the evidence that one kind of change must hold to be named
AGAIN = 20  # how often each probe is asked where an exact answer wavers
MOST_STARTS = 12
_UNEXPLAINED = 0.01  # share of all squared differences that one temperature may leave
_SEEN = 1e-6  # probabilities below are rounding


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found.

    Attributes:
        outcome: ``same``: nothing beyond the error rate was found; ``changed``; ``unknown``: it could not be told.
        change: ``sharper`` or ``flatter`` (a temperature), ``variant``, ``other model``, ``varies``; None unless
            changed.
        detail: One sentence.
        queries: Live answers of this run.
        log_e: Evidence since it was recorded, natural logarithm; None where single answers are compared.
        difference: The largest difference of two numbers; None where there are none.
        temperature: What the answers' temperature was multiplied by, about; None when it is no temperature.
        run: The live answers, to be kept; empty where single answers are compared.
        trouble: Why asking ended early; None when it did not.
        alarm: After how many of this run's answers the evidence was enough; the rest told what changed.
    """

    outcome: Outcome
    detail: str
    queries: int
    change: str | None = None
    log_e: float | None = None
    difference: float | None = None
    temperature: float | None = None
    run: Run = ()
    trouble: str | None = None
    alarm: int | None = None


def judge(
    reference: Reference,
    ask: Ask,
    *,
    rate: float,
    number: int = 1,
    earlier: Sequence[Run] = (),
    forgotten: Sequence[int] = (),
    queries: int = 500,
) -> Judged:
    """Ask the live model and judge its answers.

    Args:
        reference: What was recorded.
        ask: Asks the probes at these places, once each, in this order.
        rate: Chance that an unchanged model is ever accused, from 0 to 1.
        number: The how manieth run since the recording this is, from 1.
        earlier: Live answers of the runs just before that are still known.
        forgotten: How many stored answers of each probe were used in runs that are known no more.
        queries: Most live answers of this run, where answers vary.
    """
    if reference.kind == "exact":
        return _Exact(reference, ask, rate / (number * (number + 1))).judge()
    return _sampled(reference, ask, Evidence(reference, number, earlier, forgotten), rate=rate, queries=queries)


class _Exact:
    """Answers that were alike each time: one that differs, and differs again, is a fact."""

    def __init__(self, reference: Reference, ask: Ask, allowed: float) -> None:
        self._reference = reference
        self._ask = ask
        self._allowed = allowed
        self._asked = 0
        self._worst: float | None = None
        self._said_again: set[str] = set()

    def judge(self) -> Judged:
        probes = self._reference.probes
        try:
            first = self._replies(range(len(probes)))
            differing = [at for at, reply in enumerate(first) if self._differs(at, reply)]
            if not differing:
                return self._said("same", f"all {len(probes)} probes are answered as recorded")
            for at in differing:
                self._said_again = {first[at].label}
                if self._again_and_again(at):
                    return self._changed(at, first)
            return self._wavering()
        except AssayError as err:
            return self._said("unknown", err.message, trouble=err.message)

    def _again_and_again(self, at: int) -> bool:
        """Whether a probe answers differently so often in a row as an unchanged model hardly would.

        In ``repeats + n`` exchangeable answers all ``n`` that differ come last with chance ``1 / C(repeats + n, n)``.
        """
        allowed = self._allowed / 2 / len(self._reference.probes)
        wanted, chance = 0, 1.0
        while chance > allowed and wanted < 10 * AGAIN:
            wanted += 1
            chance *= wanted / (self._reference.repeats + wanted)
        for _ in range(wanted - 1):
            reply = self._replies([at])[0]
            self._said_again.add(reply.label)
            if not self._differs(at, reply):
                return False
        return True

    def _wavering(self) -> Judged:
        """All probes together: ``d`` of ``n`` answers differ and no recorded one did; how likely is that by chance?"""
        probes = self._reference.probes
        order = [*range(len(probes))] * AGAIN
        counts = np.zeros(len(probes), dtype=np.int64)
        for at, reply in zip(order, self._replies(order), strict=True):
            counts[at] += self._differs(at, reply)
        log_chance = sum(
            math.log(math.comb(AGAIN, int(d))) - math.log(math.comb(AGAIN + self._reference.repeats, int(d)))
            for d in counts
        )
        told = f"{counts.sum()} of {len(order)} answers differ from those that came each time when it was recorded"
        if log_chance <= math.log(self._allowed / 2):
            return self._said("changed", f"{told}: its answers vary now", change="varies")
        return self._said("unknown", f"{told}; too few to tell a change from chance")

    def _changed(self, at: int, first: Sequence[Reply]) -> Judged:
        many = sum(self._differs(one, reply) for one, reply in enumerate(first))
        said = f"{many} of {len(first)} probes are answered otherwise than recorded, again and again"
        times = _temperature(self._reference.probes, first)
        if times is not None:
            change = "sharper" if times < 1 else "flatter"
            said = f"{said}: as the same model at {times:.2f} times the temperature"
            return self._said("changed", said, change=change, temperature=times)
        if len(self._said_again) > 1 and not self._reference.probes[at].numbers:
            return self._said("changed", f"{said}, and each time in another way: its answers vary now", change="varies")
        if self._worst:
            said = f"{said}, by up to {self._worst:.2g} where {self._reference.tolerance:.1g} is rounding"
        return self._said("changed", f"{said} (first: probe {at + 1})", change="other model")

    def _replies(self, places: Sequence[int]) -> list[Reply]:
        found = self._ask(places)
        self._asked += len(found)
        return found

    def _differs(self, at: int, reply: Reply) -> bool:
        probe, tolerance = self._reference.probes[at], self._reference.tolerance
        if not probe.numbers:
            return reply.label != probe.label
        far = difference(probe.numbers, reply.numbers)
        self._worst = max(self._worst or 0.0, far)
        best = sorted(probe.numbers.values())[-2:]
        tied = len(best) > 1 and best[1] - best[0] <= 2 * tolerance  # which of two equal ones wins is rounding
        named = "" not in probe.numbers and probe.label is not None and not tied
        return far > tolerance or (named and reply.label != probe.label)

    def _said(
        self,
        outcome: Outcome,
        detail: str,
        *,
        change: str | None = None,
        temperature: float | None = None,
        trouble: str | None = None,
    ) -> Judged:
        return Judged(
            outcome, detail, self._asked, change, difference=self._worst, temperature=temperature, trouble=trouble
        )


def _temperature(probes: Sequence[Probe], replies: Sequence[Reply]) -> float | None:
    """What one temperature explains all probes' numbers; None when none does."""
    before, after = [], []
    for probe, reply in zip(probes, replies, strict=True):
        names = [name for name in probe.numbers if probe.numbers[name] > _SEEN and reply.numbers.get(name, 0.0) > _SEEN]
        if len(names) < 2:  # noqa: PLR2004
            continue
        old, new = (np.log([side[name] for name in names]) for side in (probe.numbers, reply.numbers))
        before.append(old - old.mean())
        after.append(new - new.mean())
    if not before:
        return None
    x, y = np.concatenate(before), np.concatenate(after)
    if x.size - len(before) < 2 or not float(x @ x) or not float(y @ y):  # noqa: PLR2004 - two points always fit
        return None
    slope = float(x @ y) / float(x @ x)
    left, moved = float(((y - slope * x) ** 2).sum()), float(((y - x) ** 2).sum())
    return 1 / slope if slope > 0 and left <= _UNEXPLAINED * moved else None


def _sampled(reference: Reference, ask: Ask, evidence: Evidence, *, rate: float, queries: int) -> Judged:
    asking = _Asking(ask, evidence, len(reference.probes))
    limit = -math.log(rate)
    asking.go_on(queries, lambda: evidence.log_e >= limit)
    log_e, at = evidence.log_e, len(asking.live)
    asked = f"{at} answers now and {evidence.before} before, log e {log_e:.1f} of {limit:.1f}"
    if log_e >= limit:
        asking.go_on(min(2 * at, queries))  # the evidence stands; what it speaks for takes as many answers again
        change, temperature, said = _reading(evidence.shares(), reference.variants)
        return Judged(
            "changed",
            f"{said} ({asked})",
            len(asking.live),
            change,
            log_e=log_e,
            temperature=temperature,
            run=tuple(asking.live),
            alarm=at,
        )
    trouble = asking.trouble
    if trouble is None and at < queries:
        trouble = "the stored answers are used up, each counts once: record again"
    run = tuple(asking.live)
    if trouble is not None:
        return Judged("unknown", f"{trouble} ({asked})", at, log_e=log_e, run=run, trouble=trouble)
    return Judged("same", f"no other model within the error rate ({asked})", at, log_e=log_e, run=run)


class _Asking:
    """Asks the probes in turn, as long as there are stored answers to hold live ones against."""

    def __init__(self, ask: Ask, evidence: Evidence, probes: int) -> None:
        self._ask = ask
        self._evidence = evidence
        self._left = [evidence.left(at) for at in range(probes)]
        self.live: list[tuple[int, int]] = []
        self.trouble: str | None = None

    def go_on(self, most: int, enough: Callable[[], bool] = lambda: False) -> None:
        """Ask until there are so many answers, or enough of them, or no more can be had."""
        while len(self.live) < most and self.trouble is None and not enough():
            places = [at for at, stock in enumerate(self._left) if stock > 0][: most - len(self.live)]
            if not places:
                return
            try:
                found = self._ask(places)
            except AssayError as err:
                self.trouble = err.message
                return
            for at, reply in zip(places, found, strict=True):
                symbol = self._evidence.symbol(reply)
                self._evidence.take(at, symbol)
                self.live.append((at, symbol))
                self._left[at] -= 1


class Evidence:
    """The e-process over all runs: a weighted sum over the run in which the model may have been exchanged.

    Args:
        reference: What was recorded.
        number: The present run, from 1.
        earlier: Answers of the runs before it that are still known, the last of them run ``number - 1``.
        forgotten: How many stored answers of each probe were used in runs that are known no more.

    Attributes:
        before: How many answers of earlier runs are known.
    """

    def __init__(
        self, reference: Reference, number: int, earlier: Sequence[Run], forgotten: Sequence[int] = ()
    ) -> None:
        self._reference = reference
        self._number = number
        first = number - len(earlier)
        back = {number} | {number - 2**step + 1 for step in range(MOST_STARTS)} | {first}
        # A start that is left out adds 0, so the sum stays below one whose expectation is at most 1.
        self._starts = [start for start in sorted(back) if first <= start <= number]
        self._tests = [_test(reference) for _ in self._starts]
        self._symbols = {name: at for at, name in enumerate(reference.symbols)}
        self._used = list(forgotten) or [0] * len(reference.probes)
        self.before = sum(map(len, earlier))
        for at, run in enumerate(earlier, first):
            for probe, symbol in run:
                self._take(probe, symbol, at)

    @property
    def plenty(self) -> bool:
        """Whether stored answers are not needed at all."""
        return self._reference.kind == "known"

    @property
    def log_e(self) -> float:
        """Natural logarithm of the evidence."""
        parts = [
            test.log_e - math.log(start * (start + 1)) for start, test in zip(self._starts, self._tests, strict=True)
        ]
        return float(np.logaddexp.reduce([*parts, -math.log(self._number + 1)]))

    def left(self, probe: int) -> int:
        """How many more answers to a probe can be judged."""
        return 1 << 30 if self.plenty else len(self._reference.probes[probe].pairs) - self._used[probe]

    def symbol(self, reply: Reply) -> int:
        """Which symbol a live answer is; the last one when no stored answer was like it."""
        return self._symbols.get(cut(reply.label, self._reference.cut), len(self._symbols) - 1)

    def take(self, probe: int, symbol: int) -> None:
        """Count one live answer of the present run."""
        self._take(probe, symbol, self._number)

    def _take(self, probe: int, symbol: int, number: int) -> None:
        name = str(probe)
        stored = None if self.plenty else self._reference.probes[probe].pairs[self._used[probe]]
        self._used[probe] += 1
        for start, test in zip(self._starts, self._tests, strict=True):
            if start > number:
                continue
            if stored is None:
                test.answer(name, symbol)
            else:
                test.pair(name, stored, symbol)

    def shares(self) -> Shares:
        """What the strongest start speaks for."""
        logs = [
            test.log_e - math.log(start * (start + 1)) for start, test in zip(self._starts, self._tests, strict=True)
        ]
        return self._tests[int(np.argmax(logs))].shares()


def _test(reference: Reference) -> Fingerprint:
    if reference.kind == "known":
        laws = {str(at): np.array(one.law) for at, one in enumerate(reference.probes)}
        variants = [
            {str(at): np.array(one.variants[place]) for at, one in enumerate(reference.probes)}
            for place in range(len(reference.variants))
        ]
        return Fingerprint(laws, variants)
    training = [one.training for one in reference.probes]
    size = len(reference.symbols)
    return Fingerprint({str(at): guess_from(own, size, others=training) for at, own in enumerate(training)})


def _reading(shares: Shares, variants: Sequence[str]) -> tuple[str, float | None, str]:
    """The kind of change, its temperature, and a sentence."""
    if shares.sharper >= SURE or shares.flatter >= SURE:
        change = "sharper" if shares.sharper >= SURE else "flatter"
        said = f"its answers are {change}, as at {shares.temperature:g} times the temperature"
        return change, shares.temperature, f"{said}; not as of another model"
    for share, name in zip(shares.variants, variants, strict=True):
        if share >= SURE:
            return "variant", None, f"another model answers, as {name} would"
    return "other model", None, "another model answers"
