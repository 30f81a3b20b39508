"""Is what answers still the same model? Two-sample tests for outputs that vary from call to call.

A probe is a request that is asked again and again; its answer is one of a fixed number of symbols. Evidence
is an e-process: for an unchanged model its expectation is at most 1 at every stopping time, so the chance
that it ever reaches ``1 / rate`` is at most ``rate`` however often one looks (Ville's inequality). A bet is
placed before each answer by several experts, each guessing how the model may have changed; the evidence is
the average of their products.

References:
    Ville, J. (1939). Étude critique de la notion de collectif. Gauthier-Villars.
    Grünwald, P., de Heide, R. and Koolen, W. (2024). Safe testing. J. R. Stat. Soc. B 86(5), 1091-1128.
    The frozen, add-one or Dirichlet predictive of few stored answers is no such bet: it accuses an unchanged
    model in 95 to 100 % of runs, because the prior fills the rare symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

TEMPERATURES = (0.5, 0.7, 0.85, 1.2, 1.4, 2.0)
"""Sharper and flatter versions of the reference that one expert each bets on."""

STRENGTHS = (5.0, 20.0, 80.0)
"""How many answers the reference counts for where an expert learns from the live ones."""

WEIGHTS = (2.0, 10.0, 50.0)
"""How many answers each symbol counts for where an expert learns what all probes' answers have in common."""

GROUPS = 8  # symbols of like probability move together: learnt from few answers
_STRENGTHS = np.array(STRENGTHS)[:, None]
_WEIGHTS = np.array(WEIGHTS)[:, None]
_LEARNERS = 2 * len(STRENGTHS) + len(WEIGHTS)
_LEAST = 1e-12  # no symbol is impossible: a bet of nothing could never be taken back


@dataclass(frozen=True, slots=True)
class Shares:
    """What the evidence speaks for; all shares add up to 1.

    Attributes:
        sharper: Share of the bets on a lower temperature.
        flatter: Share of the bets on a higher one.
        temperature: The temperature of the best of both.
        variants: Share of each bet on a likely change, in the order given.
        other: Share of the bets that learn: other weights.
    """

    sharper: float
    flatter: float
    temperature: float
    variants: tuple[float, ...]
    other: float


@dataclass(slots=True)
class _Pool:
    """Answers of all probes together: how often each symbol came, and how often the reference says it should have."""

    came: Array
    expected: Array


@dataclass(slots=True)
class _Probe:
    """One probe: what the reference says, and what came since."""

    reference: Array
    tempered: Array
    variants: Array
    group: npt.NDArray[np.intp]
    pool: _Pool
    share: Array = field(init=False)
    seen: Array = field(init=False)
    came: Array = field(init=False)

    def __post_init__(self) -> None:
        self.share = np.maximum(np.bincount(self.group, self.reference, GROUPS), _LEAST)
        self.seen = np.zeros_like(self.reference)
        self.came = np.zeros(GROUPS)

    def guesses(self, symbols: Sequence[int] | slice = slice(None)) -> Array:
        """Each expert's probabilities of these symbols as the next live answer, shape (experts, symbols)."""
        total = self.came.sum()
        law = self.reference[symbols]
        learned = (_STRENGTHS * law + self.seen[symbols]) / (_STRENGTHS + total)
        scale = (_STRENGTHS * self.share + self.came) / ((_STRENGTHS + total) * self.share)
        grouped = scale[:, self.group[symbols]] * law / (scale @ self.share)[:, None]
        tilt = (_WEIGHTS + self.pool.came) / (_WEIGHTS + self.pool.expected)
        tilted = tilt[:, symbols] * law / (tilt @ self.reference)[:, None]
        return np.concatenate([self.tempered[:, symbols], self.variants[:, symbols], learned, grouped, tilted])

    def note(self, symbol: int) -> None:
        """Count a live answer."""
        self.seen[symbol] += 1
        self.came[self.group[symbol]] += 1
        self.pool.came[symbol] += 1
        self.pool.expected += self.reference


class Fingerprint:
    """Evidence that a model is no longer the reference, gathered answer by answer.

    Args:
        reference: For each probe the probabilities of its symbols, shape (symbols,), each > 0 somewhere. Exact ones
            (white box) for :meth:`answer`; for :meth:`pair` a guess from stored answers that are used for
            nothing else.
        variants: Probabilities of the same probes under likely changes (quantised weights); each is one more
            expert.

    Raises:
        ValueError: No probe, or probabilities that are none.
    """

    def __init__(self, reference: Mapping[str, Array], variants: Sequence[Mapping[str, Array]] = ()) -> None:
        if not reference:
            raise ValueError("a fingerprint needs at least one probe")
        # Probes of one alphabet learn from each other; a number of symbols stands for the alphabet.
        sizes = {np.asarray(one).size for one in reference.values()}
        pools = {size: _Pool(np.zeros(size), np.zeros(size)) for size in sizes}
        self._probes = {
            name: _probe(
                _shares(name, one),
                [_shares(name, variant[name]) for variant in variants],
                pools[np.asarray(one).size],
            )
            for name, one in reference.items()
        }
        experts = len(TEMPERATURES) + _LEARNERS + len(variants)
        self._logs = np.zeros(experts)
        self.queries = 0

    @property
    def log_e(self) -> float:
        """Natural logarithm of the evidence so far; 0 before the first answer."""
        top = float(self._logs.max())
        return top + float(np.log(np.mean(np.exp(self._logs - top))))

    def shares(self) -> Shares:
        """Which bets the evidence comes from: how likely each kind of change is, given that one of them is true."""
        logs = self._logs - self._logs.max()
        each = np.exp(logs) / np.exp(logs).sum()
        tempered = len(TEMPERATURES)
        banked = each[tempered : each.size - _LEARNERS]
        best = int(each[:tempered].argmax())
        return Shares(
            sharper=float(sum(share for share, t in zip(each, TEMPERATURES, strict=False) if t < 1)),
            flatter=float(sum(share for share, t in zip(each, TEMPERATURES, strict=False) if t > 1)),
            temperature=TEMPERATURES[best],
            variants=tuple(float(share) for share in banked),
            other=float(each[each.size - _LEARNERS :].sum()),
        )

    def answer(self, probe: str, symbol: int) -> None:
        """Take one live answer where the reference's probabilities are known exactly.

        Args:
            probe: Which was asked.
            symbol: What came, from 0.
        """
        at = self._probes[probe]
        self._logs += np.log(at.guesses([symbol])[:, 0] / at.reference[symbol])
        self._note(at, symbol)

    def pair(self, probe: str, stored: int, live: int) -> None:
        """Take one stored and one live answer of the same probe; each stored answer may be used once.

        With ``m = (a + b) / 2`` the bet ``a(x) b(y) / (m(x) m(y))`` has expectation at most 1 whenever x and y
        have one law: the two factors' expectations add up to 2.

        Args:
            probe: Which was asked.
            stored: The reference's answer, kept from before.
            live: What came now.
        """
        at = self._probes[probe]
        both = [stored, live]
        law, guess = at.reference[both], at.guesses(both)
        mix = (law + guess) / 2
        self._logs += np.log(law[0] * guess[:, 1] / (mix[:, 0] * mix[:, 1]))
        self._note(at, live)

    def _note(self, at: _Probe, symbol: int) -> None:
        at.note(symbol)
        self.queries += 1


def guess_from(answers: Sequence[int], symbols: int, *, others: Sequence[Sequence[int]] = ()) -> Array:
    """Guess a probe's probabilities from stored answers, for :meth:`Fingerprint.pair` only.

    Half a count for every symbol, spread as all probes' answers are spread.

    Args:
        answers: This probe's, numbers from 0; used here and nowhere else.
        symbols: How many there are.
        others: Stored answers of other probes, to tell common symbols from rare ones.
    """
    common = np.ones(symbols)
    for one in (answers, *others):
        common += np.bincount(np.asarray(one, np.intp), minlength=symbols)
    counts = np.bincount(np.asarray(answers, np.intp), minlength=symbols) + 0.5 * symbols * common / common.sum()
    shares: Array = counts / counts.sum()
    return shares


def _shares(name: str, values: Array) -> Array:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or found.size < 2 or not np.isfinite(found).all() or (found < 0).any() or found.sum() <= 0:  # noqa: PLR2004
        raise ValueError(f"probe {name!r} needs the probabilities of at least two symbols")
    found = np.maximum(found / found.sum(), _LEAST)
    shares: Array = found / found.sum()
    return shares


def _probe(reference: Array, variants: list[Array], pool: _Pool) -> _Probe:
    logs = np.log(reference)
    tempered = np.array([np.exp(logs / t - (logs / t).max()) for t in TEMPERATURES])
    tempered = np.maximum(tempered / tempered.sum(axis=1, keepdims=True), _LEAST)
    order = np.argsort(-reference, kind="stable")
    before = np.cumsum(reference[order]) - reference[order]
    group = np.empty(reference.size, np.intp)
    group[order] = np.minimum((before * GROUPS).astype(np.intp), GROUPS - 1)
    return _Probe(reference, tempered, np.array(variants).reshape(len(variants), reference.size), group, pool)
