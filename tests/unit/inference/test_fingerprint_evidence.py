"""Fingerprints of models whose answers vary: the promise of few false alarms, and real changes found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from assay.inference.fingerprint import Fingerprint, guess_from

SYMBOLS, PROBES = 39, 8
LIMIT = float(np.log(100))  # one false alarm in a hundred runs
Laws = dict[str, npt.NDArray[np.float64]]


def laws(seed: int, *, temperature: float = 1.0, noise: float = 0.0) -> Laws:
    """Answers' laws of a made model: Zipf-like, another order for each probe."""
    rng = np.random.default_rng(seed)
    found: Laws = {}
    for number in range(PROBES):
        logits = rng.normal(0, 1.3, SYMBOLS) + noise * np.random.default_rng(number + 99).normal(0, 1, SYMBOLS)
        share = np.exp(logits / temperature)
        found[f"probe {number}"] = share / share.sum()
    return found


def known(reference: Laws, live: Laws, *, queries: int, seed: int) -> int | None:
    """Queries until the evidence reaches the limit; None when it never does."""
    rng = np.random.default_rng(seed)
    run = Fingerprint(reference)
    for query in range(queries):
        name = f"probe {query % PROBES}"
        run.answer(name, int(rng.choice(SYMBOLS, p=live[name])))
        if run.log_e >= LIMIT:
            return query + 1
    return None


def paired(reference: Laws, live: Laws, *, queries: int, seed: int, training: int = 200) -> int | None:
    rng = np.random.default_rng(seed)
    stored = {name: rng.choice(SYMBOLS, training, p=law) for name, law in reference.items()}
    run = Fingerprint(
        {
            name: guess_from(own.tolist(), SYMBOLS, others=[one.tolist() for one in stored.values()])
            for name, own in stored.items()
        }
    )
    for query in range(queries):
        name = f"probe {query % PROBES}"
        run.pair(name, int(rng.choice(SYMBOLS, p=reference[name])), int(rng.choice(SYMBOLS, p=live[name])))
        if run.log_e >= LIMIT:
            return query + 1
    return None


@pytest.mark.parametrize("way", [known, paired])
def test_the_same_model_is_accused_in_at_most_one_run_of_a_hundred(way: object) -> None:
    # 60 runs: more than 4 accusations have a chance of 0.1 % at the promised rate.
    assert callable(way)
    same = laws(1)
    assert sum(way(same, same, queries=400, seed=seed) is not None for seed in range(60)) <= 4


@pytest.mark.parametrize("way", [known, paired])
@pytest.mark.parametrize("change", [{"temperature": 0.7}, {"noise": 0.8}], ids=["sharper", "other weights"])
def test_a_changed_model_is_found_within_hundreds_of_queries(way: object, change: dict[str, float]) -> None:
    assert callable(way)
    found = [way(laws(1), laws(1, **change), queries=3000, seed=seed) for seed in range(8)]
    assert None not in found
    assert np.median([one for one in found if one is not None]) <= 900


def test_a_bank_of_variants_finds_its_own_change_sooner() -> None:
    reference, slightly = laws(1), laws(1, noise=0.25)
    rng = np.random.default_rng(3)
    alone, banked = Fingerprint(reference), Fingerprint(reference, [slightly])
    for query in range(800):
        name = f"probe {query % PROBES}"
        symbol = int(rng.choice(SYMBOLS, p=slightly[name]))
        alone.answer(name, symbol)
        banked.answer(name, symbol)
    assert banked.log_e > alone.log_e + 2


def test_the_bets_are_fair_whatever_the_live_law_was_before() -> None:
    # The expectation of one more answer's factor, computed exactly, is 1 for each expert, and at most 1 for pairs.
    reference = laws(1)
    run = Fingerprint(reference)
    rng = np.random.default_rng(0)
    for _ in range(50):
        run.answer("probe 0", int(rng.integers(SYMBOLS)))
    at = run._probes["probe 0"]
    law, guess = reference["probe 0"], at.guesses()
    assert np.allclose(guess.sum(axis=1), 1)
    factors = guess / at.reference
    assert np.allclose(factors @ law, 1)
    mix = (at.reference + guess) / 2
    assert ((at.reference / mix) @ law * ((guess / mix) @ law) <= 1 + 1e-12).all()


@pytest.mark.parametrize(
    "law", [np.array([1.0]), np.array([0.5, np.nan]), np.array([-1.0, 2.0]), np.zeros(3), np.ones((2, 2))]
)
def test_what_is_no_law_is_refused(law: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="probe 'a'"):
        Fingerprint({"a": law})


def test_no_probe_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one probe"):
        Fingerprint({})
