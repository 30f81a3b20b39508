"""Record a fingerprint: choose the probes, and store what the model answers as long as it is known to be right."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.errors import FingerprintError
from assay.frameworks.base import Predictor
from assay.monitoring.fingerprint.probes import OTHER, Reply, Row, alphabet, ask, choose, cut, plain_rows
from assay.monitoring.fingerprint.reference import MOST_PROBES, Probe, Reference

ROUNDING = 1e-6  # two computations of one softmax in 32 bits differ by less
UNSTEADY = 0.05  # numbers that move more between two calls are no exact answer
SLACK = 4.0  # times the largest difference seen between repeats
BATCH = 512


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is asked when a fingerprint is recorded.

    Attributes:
        probes: How many requests are chosen.
        candidates: How many are tried.
        tries: How often each candidate is asked, where the model gives no probabilities.
        repeats: How often each probe is asked to learn whether answers vary, and by how much.
        training: Stored answers for each probe that the guess is made from.
        pairs: Stored answers for each probe that live ones are held against, each once.
    """

    probes: int = 5
    candidates: int = 40
    tries: int = 8
    repeats: int = 20
    training: int = 200
    pairs: int = 400

    def __post_init__(self) -> None:
        if not 1 <= self.probes <= MOST_PROBES:
            raise FingerprintError(f"found {self.probes} probes; wanted 1 to {MOST_PROBES}, 5 to 10 are best")
        if min(self.candidates, self.tries) < 1 or min(self.repeats, self.training) < 10 or self.pairs < 1:  # noqa: PLR2004
            raise FingerprintError("at least 10 repeats, 10 answers to learn from and one pair are wanted")


def record(predictor: Predictor, rows: Sequence[Row], plan: Plan) -> tuple[Reference, int]:
    """Ask a model that is known to be right, and keep what it says.

    Args:
        predictor: The model.
        rows: Requests to choose from.
        plan: How much to ask.

    Returns:
        What to keep, and how many requests were asked.

    Raises:
        FingerprintError: There are no rows that can be kept, or answers that cannot be compared.
        AssayError: The model cannot be asked.
    """
    candidates = plain_rows(rows)[: max(plan.candidates, plan.probes)]
    if not candidates:
        raise FingerprintError("there is no request to ask: rows of texts, numbers and lists are wanted")
    queries, chosen = _chosen(predictor, candidates, plan)
    found = _asked(predictor, chosen, plan.repeats)
    queries += len(chosen) * plan.repeats
    exact = _exact(chosen, found)
    if exact is not None:
        return exact, queries
    more = plan.training + plan.pairs - plan.repeats
    later = _asked(predictor, chosen, max(more, 0))
    queries += len(chosen) * max(more, 0)
    answers = [[one.label for one in (*first, *then)] for first, then in zip(found, later, strict=True)]
    return _sampled(chosen, answers, plan), queries


def known(probes: Sequence[Mapping[str, object]]) -> Reference:
    """A reference whose probabilities somebody computed from the weights, so that nothing need be asked.

    Args:
        probes: Each has ``request``, ``probabilities`` (by answer) and perhaps ``variants`` (by name of the change).

    Raises:
        FingerprintError: The probabilities are none, or belong to different changes.
    """
    given = []
    for one in probes:
        request, law, variants = one.get("request"), one.get("probabilities"), one.get("variants", {})
        if not isinstance(request, dict) or not isinstance(variants, dict) or not plain_rows([request]):
            raise FingerprintError("each probe needs a request, an object of columns")
        given.append((request, _checked(law), {name: _checked(each) for name, each in variants.items()}))
    names = tuple(sorted(given[0][2])) if given else ()
    if any(tuple(sorted(variants)) != names for _, _, variants in given):
        raise FingerprintError("each probe needs the probabilities of the same variants")
    symbols = sorted({json.dumps(name, ensure_ascii=False) for _, law, _ in given for name in law})
    order = (*symbols, OTHER)
    made = [
        Probe(request, law=_in_order(law, order), variants=tuple(_in_order(variants[name], order) for name in names))
        for request, law, variants in given
    ]
    return Reference("known", tuple(made), symbols=order, variants=names)


def _checked(law: object) -> dict[str, float]:
    if not isinstance(law, dict) or len(law) < 2:  # noqa: PLR2004
        raise FingerprintError("probabilities are an object from answer to number, of at least two answers")
    for value in law.values():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise FingerprintError("a probability is a number from 0 to 1")
    if not 0.9 <= sum(law.values()) <= 1 + 1e-6:  # noqa: PLR2004
        raise FingerprintError(
            "the probabilities of a probe must add up to 1; up to a tenth may be left to other answers"
        )
    return law


def _in_order(law: Mapping[str, float], order: Sequence[str]) -> tuple[float, ...]:
    """Each symbol's probability; what is left belongs to all others, of which none is impossible."""
    found = [law.get(json.loads(one), 0.0) if one != OTHER else 0.0 for one in order]
    found[-1] = max(1 - sum(found), ROUNDING)
    total = sum(found)
    return tuple(one / total for one in found)


def _chosen(predictor: Predictor, candidates: Sequence[Row], plan: Plan) -> tuple[int, list[Row]]:
    if len(candidates) <= plan.probes:
        return 0, list(candidates)
    tried = _asked(predictor, candidates, 1)
    queries = len(candidates)
    if any(len(one[0].numbers) <= 1 for one in tried) and plan.tries > 1:
        again = _asked(predictor, candidates, plan.tries - 1)
        tried = [[*first, *then] for first, then in zip(tried, again, strict=True)]
        queries *= plan.tries
    return queries, [candidates[at] for at in choose(tried, plan.probes)]


def _asked(predictor: Predictor, rows: Sequence[Row], times: int) -> list[list[Reply]]:
    """So many replies to each row, one round after another."""
    found: list[list[Reply]] = [[] for _ in rows]
    rounds = max(BATCH // len(rows), 1)
    for begin in range(0, times, rounds):
        count = min(rounds, times - begin)
        for at, reply in enumerate(ask(predictor, [*rows] * count)):
            found[at % len(rows)].append(reply)
    return found


def _exact(rows: Sequence[Row], found: Sequence[Sequence[Reply]]) -> Reference | None:
    """The reference of a model that answers alike each time; None when its answers vary."""
    repeats = len(found[0])
    labels = [one[0].label if len({each.label for each in one}) == 1 else None for one in found]
    if all(each.numbers for one in found for each in one):
        spread = max(difference(one[0].numbers, each.numbers) for one in found for each in one)
        if spread <= UNSTEADY:
            probes = [
                Probe(row, label=label, numbers=one[0].numbers)
                for row, label, one in zip(rows, labels, found, strict=True)
            ]
            return Reference("exact", tuple(probes), repeats=repeats, tolerance=max(ROUNDING, SLACK * spread))
    if all(label is not None for label in labels):
        probes = [Probe(row, label=label) for row, label in zip(rows, labels, strict=True)]
        return Reference("exact", tuple(probes), repeats=repeats)
    return None


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The largest difference of two replies' numbers; of large numbers, relative to the first."""
    worst = 0.0
    for name in one.keys() | other.keys():
        before, after = one.get(name, 0.0), other.get(name, 0.0)
        far = abs(after - before) / max(1.0, abs(before))
        worst = max(worst, far if math.isfinite(far) else math.inf)
    return worst


def _sampled(rows: Sequence[Row], answers: Sequence[Sequence[str]], plan: Plan) -> Reference:
    training = [one[: plan.training] for one in answers]
    how, symbols = alphabet([label for one in training for label in one])
    place = {name: at for at, name in enumerate(symbols)}
    other = len(symbols) - 1
    numbered = [tuple(place.get(cut(label, how), other) for label in one) for one in answers]
    probes = [
        Probe(row, training=one[: plan.training], pairs=one[plan.training :])
        for row, one in zip(rows, numbered, strict=True)
    ]
    return Reference("sampled", tuple(probes), symbols=symbols, cut=how)
