"""What detectors with fixed sets of bins share: counting answers and weighing them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.inference.evidence import Paths, Terms, Watch, carried_on, log_evidence, mixed, terms_of
from assay.inference.natural import FEWEST, UPPER_TAIL, Floats, Ints, Natural
from assay.inference.quantiles import chi2_quantile
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.signals import SignalSpec

_SHORT_SDS = 3.0
_RARE_TAIL = 0.001


def parts_of(spec: SignalSpec) -> tuple[Question, ...]:
    """The questions that tell a whole distribution: every half-line of a number, every value of a category."""
    if spec.kind == "ordered":
        return tuple(Question(f"{spec.name}: below edge {i}", tuple(range(i + 1)), "up") for i in range(spec.bins - 1))
    return tuple(Question(f"{spec.name}: value {i}", (i,), "up") for i in range(spec.bins))


def count(questions: Sequence[Question], counts: Floats) -> tuple[Floats, Floats]:
    """Events and rows per window and question, (T, questions), from counts (T, bins)."""
    member = np.zeros((counts.shape[1], len(questions)))
    for i, question in enumerate(questions):
        member[list(question.bins), i] = 1.0
    return counts @ member, np.repeat(counts.sum(1, keepdims=True), len(questions), axis=1)


@dataclass(frozen=True, slots=True)
class FixedWatcher:
    """Questions with fixed sets of bins, at equal weight.

    Attributes:
        asked: The questions.
        path: Their running sums; None when nothing can be asked.
        terms: What a row and an event bring to each; None likewise.
        blend: 1 where the events of a question of the detector are theirs, else 0, (questions, asked); None likewise.
    """

    asked: tuple[Question, ...]
    path: Paths | None
    terms: Terms | None = None
    blend: Floats | None = None

    def log_evidence(self, first: Ints, last: Ints) -> Floats:
        """``log`` of the mean of E over the questions, (n,)."""
        if self.path is None:
            return np.full(len(first), -np.inf)
        return mixed(log_evidence(self.path, first, last))

    def strongest(self, first: int, last: int) -> Question:
        """The question with the largest E over these windows."""
        if self.path is None:
            raise ValueError("nothing is asked of this signal")
        each = log_evidence(self.path, np.array([first]), np.array([last]))[0]
        return self.asked[int(each.argmax())]


def watch(view: View, questions: tuple[Question, ...], answers: tuple[Floats, Floats], floor: Floats) -> FixedWatcher:
    """Judge the windows by these questions.

    A question whose answer is too rare in the baseline to say "this share is known" is not asked for a fall, and
    is asked for a rise only above what so few events leave possible: in rows, and in groups of rows that may vary as
    one. Not in groups where one window may do (failures, hard limits): those are facts about single rows.

    Args:
        view: The signal.
        questions: What is asked, in the order of ``view.natural``.
        answers: Events and rows per window and question.
        floor: Tolerance of each share, in share points, (questions,) or per stratum (S, questions).
    """
    natural = view.natural
    sign = np.array([1.0 if q.side == "up" else -1.0 for q in questions])
    ask, wide = askable(natural, sign)
    if not ask.any():
        return FixedWatcher(questions, None)
    floor = np.maximum(floor, wide)
    floor = short_floor(natural, floor)
    events, rows = answers
    limit = limit_of(natural, sign) if view.cap is not None else np.full(len(sign), np.nan)
    judged = Watch(natural.pick(ask), floor[..., ask], sign[ask], view.at, view.cap, limit[ask])
    asked = tuple(q for q, yes in zip(questions, ask, strict=True) if yes)
    terms = terms_of(judged)
    return FixedWatcher(
        asked, carried_on(events[:, ask], rows[:, ask], terms, view.at), terms, np.eye(len(ask))[:, ask]
    )


def short_floor(natural: Natural, floor: Floats) -> Floats:
    """The tolerance, or three standard errors of each share where the baseline is too short to tell how it varies."""
    if not natural.short:
        return floor
    spread = natural.share * (1 - natural.share) / np.maximum(natural.rows, 1.0)
    return np.asarray(np.maximum(floor, _SHORT_SDS * np.sqrt(spread)), dtype=np.float64)


def askable(natural: Natural, sign: Floats) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Which questions can be asked, and how much a rare answer must be tolerated, in share points.

    Rare answers: the exact Poisson upper limit, Garwood, F. (1936). Biometrika 28, 437-442.
    """
    gains = np.where(sign > 0, natural.events, natural.rows - natural.events)  # what must become more
    loses = natural.rows - gains
    ask = (loses >= FEWEST) & (natural.rows > 0)
    most = chi2_quantile(1 - _RARE_TAIL, 2 * (gains + 1)) / 2
    wide = np.where(gains < FEWEST, (most - gains) / np.maximum(natural.rows, 1.0), 0.0)
    return ask, wide


def limit_of(natural: Natural, sign: Floats) -> Floats:
    """Upper limit of the share of groups of rows where the baseline has hardly any gains; NaN where it has, (W,).

    At the level of the design effect, by the exact Poisson limit for groups.
    """
    gains = np.where(sign > 0, natural.events, natural.rows - natural.events)
    groups = np.where(sign > 0, natural.clusters[0], natural.clusters[1])
    most = chi2_quantile(1 - UPPER_TAIL, 2 * (groups + 1)) / 2
    return np.where(gains < FEWEST, most / np.maximum(natural.clusters[2], 1e-9), np.nan)
