"""What is watched of a column of vectors: its norm, and its length along directions that are fixed at the baseline.

Principal directions see what usually varies, random ones everything else: a shift of length s in any direction moves
a random one by about s / sqrt(dimensions), and among several some by more (Johnson, Lindenstrauss 1984). Directions
are whole numbers, so that every engine adds up the same.

What no direction shows by itself, a vector's coordinates that go together otherwise than before, is looked for in the
corners that the medians of the first principal directions make: a set of corners is learned on past windows and tested
on later ones (`assay.inference.learnedset`), which is a sequential two-sample test by betting on that partition.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.engines.base import Engine, Profile, Source
from assay.engines.made import CLIP, MOST_DIMENSIONS, UNIT, Along
from assay.monitoring.bins import QUANTILES, at, edges_of
from assay.monitoring.quantities import Corner
from assay.monitoring.signals import SignalSpec

SAMPLE: Final = 2_000
"""Rows of the baseline that directions are learned from."""
FEWEST: Final = 50
"""Sound vectors below which nothing can be learned."""
PRINCIPAL: Final = 8
RANDOM: Final = 8
CUT: Final = 5
"""Directions whose medians make corners: 32 of them."""

_ROOM: Final = CLIP / 32  # steps of the largest usual coordinate: 32 times as far is still told apart
_USUAL: Final = 0.999
_LEAST_POWER, _MOST_POWER = -800, 800


def learn(engine: Engine, source: Source, column: str) -> tuple[SignalSpec, ...]:
    """The signals of one column of vectors; none where too few of one length are in it.

    Args:
        engine: What reads the table.
        source: Rows of when the model was known to work.
        column: Which.

    Raises:
        TableError: When the table cannot be read.
    """
    sample = sound(engine.rows(source, columns=[column], limit=SAMPLE).column(0))
    if sample is None:
        return ()
    scale = _scale(sample)
    directions = {"norm": (0,) * sample.shape[1]} | _principal(sample) | _random(column, sample)
    lengths = {name: Along(column, direction, scale) for name, direction in directions.items()}
    known = engine.profile(source, dict(lengths), quantiles=QUANTILES)
    name = f"feature:{column}"
    specs = [
        SignalSpec(f"{name}:{word}", "inputs", "ordered", column, edges=edges, of=lengths[word])
        for word in lengths
        if (edges := edges_of(known[word], low=0.0 if word == "norm" else -np.inf))
    ]
    if not specs:
        return ()
    edges, norm = specs[0].edges, specs[0].of
    return (
        *specs,
        *_corners(name, column, specs, known),
        SignalSpec(f"{name}:infinite", "inputs", "rate", column, edges=edges, sides="up", of=norm),
        SignalSpec(f"{name}:null", "inputs", "rate", column, edges=edges, of=norm),
    )


def _corners(
    name: str, column: str, specs: Sequence[SignalSpec], known: Mapping[str, Profile]
) -> tuple[SignalSpec, ...]:
    """The corners that the medians of the first principal directions make; none where there are not two of these."""
    found: dict[Along, float] = {}
    for spec in specs:
        word = spec.name.rpartition(":")[2]
        cut = at(known[word], 0.5)
        if word.startswith("principal-") and isinstance(spec.of, Along) and cut is not None and len(found) < CUT:
            found[spec.of] = cut
    if len(found) < 2:  # noqa: PLR2004  one direction has no corners
        return ()
    of = Corner(tuple(found), tuple(found.values()))
    return (SignalSpec(f"{name}:corner", "inputs", "values", column, values=of.corners, of=of),)


def sound(column: pa.ChunkedArray) -> npt.NDArray[np.float64] | None:
    """The finite vectors of the length that most have, (n, dimensions); None when they are too few."""
    vectors = [vector for vector in column.to_pylist() if vector]
    if not vectors:
        return None
    usual = Counter(map(len, vectors)).most_common(1)[0][0]
    if usual > MOST_DIMENSIONS:
        return None
    table = np.array([v for v in vectors if len(v) == usual and None not in v], np.float64).reshape(-1, usual)
    table = table[np.isfinite(table).all(1)]
    return table if len(table) >= FEWEST else None


def _scale(sample: npt.NDArray[np.float64]) -> float:
    usual = float(np.quantile(np.abs(sample), _USUAL))
    power = int(np.floor(np.log2(_ROOM / usual))) if usual > 0 else 0
    return float(2.0 ** min(max(power, _LEAST_POWER), _MOST_POWER))


def _principal(sample: npt.NDArray[np.float64]) -> dict[str, tuple[int, ...]]:
    """The directions in which the baseline varies most; their sign is that of the largest coordinate."""
    scaled = sample / max(float(np.abs(sample).max()), 1e-300)  # squares of huge numbers overflow
    _, spread, ways = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    ways = ways[: min(PRINCIPAL, int((spread > spread[0] * 1e-9).sum()))] if spread[0] > 0 else ways[:0]
    return {f"principal-{place}": _whole(way * np.sign(way[np.abs(way).argmax()])) for place, way in enumerate(ways, 1)}


def _random(column: str, sample: npt.NDArray[np.float64]) -> dict[str, tuple[int, ...]]:
    """Directions that nobody can foresee without the baseline: their seed is the digest of its rows."""
    digest = hashlib.sha256(column.encode() + b"\0" + sample.tobytes()).digest()
    drawn = np.random.default_rng(np.frombuffer(digest, np.uint32)).normal(size=(RANDOM, sample.shape[1]))
    ways = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return {f"random-{place}": _whole(way) for place, way in enumerate(ways, 1)}


def _whole(way: npt.NDArray[np.float64]) -> tuple[int, ...]:
    numbers = np.rint(way * UNIT).astype(int)
    if not numbers.any():  # so many dimensions that each is below half a step
        numbers[np.abs(way).argmax()] = 1
    return tuple(int(w) for w in numbers)
