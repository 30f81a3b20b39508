"""What was recorded of a model: its probes and its answers, as a signed statement carries them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from assay.errors import FingerprintError
from assay.monitoring.fingerprint.probes import CUTS, MOST_SYMBOLS, Row

VERSION = 1
Kind = Literal["exact", "sampled", "known"]
KINDS: tuple[Kind, ...] = ("exact", "sampled", "known")
MOST_PROBES = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe.

    Attributes:
        request: The row that is asked.
        label: Exact: the answer that came each time, as JSON text; None when it varied.
        numbers: Exact: the probabilities or the number that came.
        training: Sampled: stored answers that only the guess is made from, as places in the alphabet.
        pairs: Sampled: stored answers to be held against live ones, each once.
        law: Known: the probability of each symbol.
        variants: Known: the same under likely changes, in the order of the reference's ``variants``.
    """

    request: Row
    label: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    training: tuple[int, ...] = ()
    pairs: tuple[int, ...] = ()
    law: tuple[float, ...] = ()
    variants: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """What a model answered when it was recorded.

    Attributes:
        kind: ``exact``: the same request is answered alike each time; ``sampled``: answers vary; ``known``: they vary,
            and their probabilities were computed from weights somebody has.
        probes: At least one.
        repeats: Exact: how often each was asked.
        tolerance: Exact: the largest difference of two numbers that counts as none, learned from the repeats.
        symbols: Sampled, known: the answers told apart, as JSON text; the last stands for all others.
        cut: How much of an answer is compared.
        variants: Names of likely changes.
    """

    kind: Kind
    probes: tuple[Probe, ...]
    repeats: int = 0
    tolerance: float = 0.0
    symbols: tuple[str, ...] = ()
    cut: str = "whole"
    variants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not 1 <= len(self.probes) <= MOST_PROBES or self.cut not in CUTS:
            raise FingerprintError(f"a fingerprint has 1 to {MOST_PROBES} probes of a known kind")
        if self.kind == "exact":
            fine = self.repeats > 0 and math.isfinite(self.tolerance) and self.tolerance >= 0
            fine = fine and all(one.numbers or one.label is not None for one in self.probes)
        else:
            size = len(self.symbols)
            fine = 1 < size <= MOST_SYMBOLS and len(set(self.symbols)) == size
            fine = fine and all(0 <= at < size for one in self.probes for at in (*one.training, *one.pairs))
        if self.kind == "sampled":
            fine = fine and all(one.training and one.pairs for one in self.probes)
        if self.kind == "known":
            laws = [law for one in self.probes for law in (one.law, *one.variants)]
            fine = fine and all(len(one.variants) == len(self.variants) for one in self.probes)
            fine = fine and all(len(law) == len(self.symbols) and _is_law(law) for law in laws)
        if not fine:
            raise FingerprintError(f"the recorded fingerprint of kind {self.kind} is incomplete: record it again")

    @property
    def stock(self) -> int:
        """How many stored answers each probe has for pairs."""
        return min(len(one.pairs) for one in self.probes)

    def to_json(self) -> dict[str, object]:
        """Plain JSON values, as they are signed."""
        return {
            "version": VERSION,
            "kind": self.kind,
            "repeats": self.repeats,
            "tolerance": self.tolerance,
            "symbols": list(self.symbols),
            "cut": self.cut,
            "variants": list(self.variants),
            "probes": [
                {
                    "request": dict(one.request),
                    "label": one.label,
                    "numbers": dict(one.numbers),
                    "training": list(one.training),
                    "pairs": list(one.pairs),
                    "law": list(one.law),
                    "variants": [list(law) for law in one.variants],
                }
                for one in self.probes
            ],
        }

    @classmethod
    def parse(cls, data: Mapping[str, object]) -> Reference:
        """Read what :meth:`to_json` wrote.

        Raises:
            FingerprintError: It is none, or of a later version.
        """
        if data.get("version") != VERSION:
            raise FingerprintError("the recorded fingerprint is of another version of assay: record it again")
        try:
            return cls(
                kind=cast("Kind", data["kind"]),
                probes=tuple(_probe(one) for one in _list(data["probes"])),
                repeats=_number(data["repeats"], int),
                tolerance=float(_number(data["tolerance"], float)),
                symbols=tuple(_text(one) for one in _list(data["symbols"])),
                cut=_text(data["cut"]),
                variants=tuple(_text(one) for one in _list(data["variants"])),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as err:
            raise FingerprintError("the recorded fingerprint is malformed: record it again") from err


def _probe(value: object) -> Probe:
    if not isinstance(value, dict) or not isinstance(value["request"], dict):
        raise TypeError("probe")
    label = value["label"]
    return Probe(
        request=value["request"],
        label=None if label is None else _text(label),
        numbers={_text(key): float(_number(one, float)) for key, one in value["numbers"].items()},
        training=tuple(int(_number(one, int)) for one in _list(value["training"])),
        pairs=tuple(int(_number(one, int)) for one in _list(value["pairs"])),
        law=_law(value["law"]),
        variants=tuple(_law(one) for one in _list(value["variants"])),
    )


def _law(value: object) -> tuple[float, ...]:
    return tuple(float(_number(one, float)) for one in _list(value))


def _is_law(law: Sequence[float]) -> bool:
    return all(math.isfinite(one) and one >= 0 for one in law) and 0.99 <= sum(law) <= 1.01  # noqa: PLR2004


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _number(value: object, kind: type) -> int:
    """A number; JSON writes 1.0 as 1, so a float may come as a whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        raise TypeError("number")
    return cast("int", value)
