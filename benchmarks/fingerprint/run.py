"""How soon an exchanged model is found behind an API, and how often the same one is accused.

A character model (an MLP of 8 characters' embeddings) is trained on the text of Python's own manual, then exchanged for
what an operator or an attacker would put in its place. Each run is the product's own verdict on fresh answers.

    python benchmarks/fingerprint/run.py [--same 400] [--others 60] [--write]

``--write`` replaces RESULTS.md beside this file. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from assay.monitoring.fingerprint.judge import Judged, judge
from assay.monitoring.fingerprint.probes import OTHER, Reply
from assay.monitoring.fingerprint.record import Plan, known, record
from assay.monitoring.fingerprint.reference import Reference

HERE = Path(__file__).resolve().parent
LETTERS = "abcdefghijklmnopqrstuvwxyz .,:;()'\"-_\n*"
CONTEXT, WIDTH, HIDDEN = 8, 16, 128
MOST = 3000  # queries of one run
RATE = 0.01
BITS = (8, 6, 4, 3)


def texts() -> tuple[np.ndarray, np.ndarray]:
    """Two texts as numbers of letters: Python's manual of the language, and its library's source."""
    from pydoc_data import topics

    manual = "\n".join(topics.topics[name] for name in sorted(topics.topics))
    source = "\n".join(Path(os.__file__).with_name(name).read_text() for name in ("argparse.py", "inspect.py"))
    place = {letter: at for at, letter in enumerate(LETTERS)}
    return tuple(
        np.array([place[one] for one in text.lower() if one in place], dtype=np.int64) for text in (manual, source)
    )


class Characters(torch.nn.Module):
    """The next letter's logits from the last eight."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = torch.nn.Embedding(len(LETTERS), WIDTH)
        self.first = torch.nn.Linear(CONTEXT * WIDTH, HIDDEN)
        self.second = torch.nn.Linear(HIDDEN, len(LETTERS))

    def forward(self, contexts: torch.Tensor) -> torch.Tensor:
        """Logits, shape (contexts, letters)."""
        return self.second(torch.relu(self.first(self.embedding(contexts).flatten(1))))


def train(model: Characters, text: np.ndarray, *, steps: int, rate: float, seed: int) -> Characters:
    """Some steps of Adam on random places of a text."""
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        at = rng.integers(0, len(text) - CONTEXT - 1, 256)
        windows = torch.from_numpy(text[at[:, None] + np.arange(CONTEXT + 1)])
        loss = torch.nn.functional.cross_entropy(model(windows[:, :-1]), windows[:, -1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def copied(model: Characters) -> Characters:
    """The same weights, to be changed."""
    other = Characters(0)
    other.load_state_dict(model.state_dict())
    return other.eval()


def quantised(model: Characters, bits: int) -> Characters:
    """Each row of each weight matrix rounded to so many bits, symmetrically; biases stay."""
    other = copied(model)
    with torch.no_grad():
        for weights in (other.embedding.weight, other.first.weight, other.second.weight):
            step = weights.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
            weights.copy_(torch.round(weights / step) * step)
    return other


@dataclass(frozen=True)
class Live:
    """A model and its temperature: what answers."""

    model: Characters
    temperature: float = 1.0

    def laws(self, contexts: Sequence[str]) -> np.ndarray:
        """Probabilities of the next letter, shape (contexts, letters)."""
        numbers = torch.tensor([[LETTERS.index(one) for one in text] for text in contexts])
        with torch.no_grad():
            return torch.softmax(self.model(numbers).double() / self.temperature, dim=1).numpy()

    def greedy(self, contexts: Sequence[str], length: int) -> list[str]:
        """The likeliest letters, one after another."""
        numbers = torch.tensor([[LETTERS.index(one) for one in text] for text in contexts])
        with torch.no_grad():
            for _ in range(length):
                best = self.model(numbers[:, -CONTEXT:]).argmax(dim=1, keepdim=True)
                numbers = torch.cat([numbers, best], dim=1)
        return ["".join(LETTERS[at] for at in row[CONTEXT:]) for row in numbers.tolist()]


class Sampling:
    """Draws letters; takes tables as a predictor does, or places as a judge asks."""

    def __init__(self, laws: np.ndarray, seed: int) -> None:
        self._sums = laws.cumsum(axis=1)
        self._rng = np.random.default_rng(seed)

    def ask(self, places: Sequence[int]) -> list[Reply]:
        """One letter for each place."""
        draws = self._rng.random(len(places))
        last = self._sums.shape[1] - 1
        found = [min(int(np.searchsorted(self._sums[at], draw)), last) for at, draw in zip(places, draws, strict=True)]
        return [Reply(f'"{escaped(LETTERS[at])}"') for at in found]


def escaped(letter: str) -> str:
    """The letter as it stands in JSON text."""
    return {'"': '\\"', "\n": "\\n"}.get(letter, letter)


def uncertain(reference: Live, text: np.ndarray, *, count: int, seed: int) -> list[str]:
    """The contexts of the text after which the next letter is least certain, no two alike, of 400 candidates."""
    rng = np.random.default_rng(seed)
    at = rng.integers(0, len(text) - CONTEXT, 400)
    candidates = sorted({"".join(LETTERS[one] for one in text[start : start + CONTEXT]) for start in at})
    laws = reference.laws(candidates)
    entropy = -(laws * np.log(laws)).sum(axis=1)
    return [candidates[one] for one in np.argsort(-entropy)[:count]]


def white(reference: Live, contexts: Sequence[str], *, bank: bool) -> Reference:
    """The probabilities are known; with a bank also those of four quantised versions."""
    laws = reference.laws(contexts)
    banked = {f"{bits} bits": Live(quantised(reference.model, bits)).laws(contexts) for bits in BITS} if bank else {}
    return known(
        [
            {
                "request": {"context": text},
                "probabilities": dict(zip(LETTERS, laws[at].tolist(), strict=True)),
                "variants": {name: dict(zip(LETTERS, each[at].tolist(), strict=True)) for name, each in banked.items()},
            }
            for at, text in enumerate(contexts)
        ]
    )


def black(laws: np.ndarray, seed: int) -> Reference:
    """Stored answers: 200 a probe to learn from, and as many pairs as a run may need."""
    from assay.monitoring.fingerprint.reference import Probe

    rng = np.random.default_rng(seed)
    pairs = -(-MOST // len(laws))
    symbols = tuple(f'"{escaped(letter)}"' for letter in LETTERS)
    probes = [
        Probe(
            {"context": str(at)},
            training=tuple(rng.choice(len(LETTERS), 200, p=law).tolist()),
            pairs=tuple(rng.choice(len(LETTERS), pairs, p=law).tolist()),
        )
        for at, law in enumerate(laws)
    ]
    return Reference("sampled", tuple(probes), symbols=(*symbols, OTHER))


def divergence(laws: np.ndarray, live: np.ndarray) -> float:
    """Kullback-Leibler divergence of what answers from the reference, nats an answer."""
    return float((live * np.log(live / laws)).sum(axis=1).mean())


@dataclass
class Row:
    """One change under one way of looking."""

    change: str
    way: str
    found: list[Judged]

    def line(self) -> str:
        """The row as Markdown."""
        asked = [one.alarm for one in self.found if one.outcome == "changed"]
        share = f"{len(asked)} of {len(self.found)}"
        if not asked:
            return f"| {self.change} | {self.way} | {share} | | | |"
        told = Counter(str(one.change) for one in self.found if one.outcome == "changed")
        said = ", ".join(f"{name} {count}" for name, count in told.most_common())
        reached = np.array([float(one.alarm or 0) if one.outcome == "changed" else np.inf for one in self.found])
        worst = np.quantile(reached, 0.95, method="higher")
        p95 = f"{worst:,.0f}" if np.isfinite(worst) else f"over {MOST:,}"
        return f"| {self.change} | {self.way} | {share} | {np.median(reached):,.0f} | {p95} | {said} |".replace(
            "| inf |", f"| over {MOST:,} |"
        )


def runs(make: Callable[[int], tuple[Reference, Sampling]], count: int) -> list[Judged]:
    """So many runs, each with fresh answers."""
    found = []
    for seed in range(count):
        reference, live = make(seed)
        found.append(judge(reference, live.ask, rate=RATE, queries=MOST))
    return found


def exact(reference: Live, live: Live, contexts: Sequence[str], *, greedy: int = 0) -> Judged:
    """One pass over an API that tells probabilities, or answers so many letters greedily."""

    class Predicting:
        def __init__(self, which: Live) -> None:
            self._which = which

        def predict(self, table: object) -> object:
            from assay.frameworks.base import Prediction

            asked = table.column("context").to_pylist()  # type: ignore[attr-defined]  # an Arrow table
            if greedy:
                return Prediction(np.array(self._which.greedy(asked, greedy), dtype=object))
            laws = self._which.laws(asked)
            best = np.array([LETTERS[at] for at in laws.argmax(axis=1)], dtype=object)
            return Prediction(best, laws.max(axis=1), laws, tuple(LETTERS))

    from assay.monitoring.fingerprint.probes import ask

    rows = [{"context": text} for text in contexts]
    stored, _ = record(Predicting(reference), rows, Plan(probes=len(rows), candidates=len(rows)))  # type: ignore[arg-type]
    predictor = Predicting(live)
    return judge(
        stored,
        lambda places: ask(predictor, [stored.probes[at].request for at in places]),
        rate=RATE,  # type: ignore[arg-type]
    )


def main() -> None:
    """Train, exchange, judge, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--same", type=int, default=400)
    parser.add_argument("--others", type=int, default=60)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    manual, source = texts()
    original = train(Characters(0), manual, steps=1500, rate=3e-3, seed=0)
    reference = Live(original)
    changes = {
        "none": Live(original),
        "temperature .7": Live(original, 0.7),
        "temperature 1.3": Live(original, 1.3),
        "temperature .9": Live(original, 0.9),
        "other training seed": Live(train(Characters(1), manual, steps=1500, rate=3e-3, seed=1)),
        "fine-tuned": Live(train(copied(original), source, steps=150, rate=1e-3, seed=2)),
        "lightly fine-tuned": Live(train(copied(original), source, steps=30, rate=1e-3, seed=2)),
        **{f"{bits} bits": Live(quantised(original, bits)) for bits in (3, 4, 6, 8)},
    }
    ten, five = (uncertain(reference, manual, count=count, seed=5) for count in (10, 5))
    laws10, laws5 = reference.laws(ten), reference.laws(five)
    entropy = float(-(laws10 * np.log(laws10)).sum(axis=1).mean())
    print(f"trained in {time.perf_counter() - begin:.0f} s, mean entropy of the probes {entropy:.2f} nats", flush=True)
    plain, banked = white(reference, ten, bank=False), white(reference, ten, bank=True)
    lines = []
    for change, live in changes.items():
        now10, now5 = live.laws(ten), live.laws(five)
        named = f"{change} ({divergence(laws10, now10):.2g})"
        count = options.same if change == "none" else options.others
        ways: list[tuple[str, Callable[[int], tuple[Reference, Sampling]]]] = [
            ("probabilities known, 10 probes", lambda seed, now=now10: (plain, Sampling(now, 1000 + seed))),
            ("and a bank of variants", lambda seed, now=now10: (banked, Sampling(now, 3000 + seed))),
            ("pairs, 5 probes", lambda seed, now=now5: (black(laws5, 5000 + seed), Sampling(now, 7000 + seed))),
        ]
        for way, make in ways:
            row = Row(named, way, runs(make, count))
            lines.append(row.line())
            print(row.line(), f"{time.perf_counter() - begin:.0f} s", flush=True)
    facts = []
    for change in ("none", "8 bits", "6 bits", "4 bits", "lightly fine-tuned", "temperature .9"):
        live = changes[change]
        counts = []
        for greedy in (0, 1, 40, 200):
            sets = [uncertain(reference, manual, count=10, seed=100 + number) for number in range(40)]
            judged = [exact(reference, live, contexts, greedy=greedy) for contexts in sets]
            counts.append(sum(one.outcome == "changed" for one in judged))
        facts.append(f"| {change} | {' | '.join(f'{one} of 40' for one in counts)} |")
        print(facts[-1], f"{time.perf_counter() - begin:.0f} s", flush=True)
    page = _page(entropy, lines, facts, seconds=time.perf_counter() - begin)
    if options.write:
        (HERE / "RESULTS.md").write_text(page, encoding="utf-8")


def _page(entropy: float, lines: Sequence[str], facts: Sequence[str], *, seconds: float) -> str:
    return "\n".join(
        [
            "# How soon an exchanged model is found behind an API",
            "",
            f"A character model of {len(LETTERS)} letters, mean entropy of its probes {entropy:.2f} nats,",
            f"one letter an answer. Error rate {RATE:g} over all answers since the recording; at most",
            f"{MOST:,} answers a run; runs that found nothing count as infinite in median and p95. In brackets",
            "the Kullback-Leibler divergence, nats an answer. What changed is told from as many answers again.",
            f"Made by `benchmarks/fingerprint/run.py` in {seconds:.0f} s, Python {platform.python_version()},",
            f"numpy {np.__version__}, torch {torch.__version__}.",
            "",
            "## Where answers vary",
            "",
            "| change | what is known | found | median answers | p95 | told as |",
            "| --- | --- | --- | --- | --- | --- |",
            *lines,
            "",
            "## Where the API tells probabilities, or answers greedily",
            "",
            "One pass over 10 probes (a difference is asked again before it counts), 40 sets of probes.",
            "",
            "| change | probabilities | greedy, 1 letter | greedy, 40 letters | greedy, 200 letters |",
            "| --- | --- | --- | --- | --- |",
            *facts,
            "",
        ]
    )


if __name__ == "__main__":
    main()
