"""The case as arrays, with what several pieces of evidence need, each computed once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from assay.diagnosis.case import Case, sampling_seed, window_digest
from assay.diagnosis.columns import Inputs, compare_inputs
from assay.diagnosis.frames import UNKNOWN, Encoder, Frame, stack
from assay.diagnosis.learners import Floats, Forest, Ints, Linear, imitate, out_of_fold, out_of_fold_share
from assay.errors import DiagnosisError

LIMIT = 3_000  # rows looked at per period: keeps 5,000 rows a diagnosis of seconds, intervals still under .02
DOMAIN = 1_200  # rows per side of "before or recent?": its AUC then has a standard error of about .01
FEWEST = 30  # rows under which a rate says too little to compare


class Comparison:
    """Three periods side by side: the trusted reference, before the change, since the change.

    Args:
        case: What is known.

    Raises:
        DiagnosisError: Fewer than 20 recent rows, or the tables have no feature column.
    """

    def __init__(self, case: Case) -> None:
        if case.recent.num_rows < MIN_KNOWN:
            raise DiagnosisError(
                f"found {case.recent.num_rows} recent rows, a diagnosis needs at least {MIN_KNOWN}: "
                "wait for more predictions or take a longer span"
            )
        if not case.features:
            raise DiagnosisError("the tables have no feature column: name the features in the prediction schema")
        self.case = case
        self.seed = sampling_seed(case.key, window_digest(case.recent)) % (2**31)
        trusted = [table for table in (case.reference, case.before) if table.num_rows]
        self.encoder = Encoder.learn(trusted or [case.recent], [*trusted, case.recent], case.schema, case.features)
        self.names = self.encoder.names
        self.classes = self.encoder.classes

    def _frame(self, which: str) -> Frame:
        return self.encoder.frame(getattr(self.case, which), self.case.schema, limit=LIMIT, seed=self.seed)

    @cached_property
    def reference(self) -> Frame:
        """Trusted rows."""
        return self._frame("reference")

    @cached_property
    def before(self) -> Frame:
        """Logged rows from before the change."""
        return self._frame("before")

    @cached_property
    def recent(self) -> Frame:
        """Logged rows since the change."""
        return self._frame("recent")

    @cached_property
    def trusted(self) -> Frame:
        """Reference and before, one after the other."""
        return stack(self.reference, self.before)

    @cached_property
    def base(self) -> Frame:
        """The period performance is compared with: before when its truth is known, else the reference."""
        return self.before if int(self.before.known.sum()) >= FEWEST else self.reference

    @property
    def labelled(self) -> bool:
        """Whether performance can be compared at all."""
        return min(int(self.base.known.sum()), int(self.recent.known.sum())) >= MIN_KNOWN

    @property
    def lacking(self) -> str:
        """Why performance cannot be compared, and what it would take."""
        if not self.encoder.classified:
            return (
                "the answers are numbers, not classes, and performance is judged for classes only: replay still tells"
            )
        return "too few labels before or since: performance cannot be compared; wait for labels or load them"

    @cached_property
    def surrogate(self) -> Forest | Linear | None:
        """A stand-in for the model, fitted on the trusted labels only; None without labels of two classes.

        A forest or a linear learner, whichever did better at trusted rows it had not seen.
        """
        rows = self.reference.label != UNKNOWN
        labels = self.reference.label[rows]
        if len(labels) < FEWEST or len(np.unique(labels)) == 1:
            return None
        return imitate(self.reference.filled[rows], labels, seed=self.seed)[0]

    @cached_property
    def refit_recent(self) -> Ints:
        """Class of each known recent row, by a forest fitted on the other recent rows only."""
        rows = self.recent.known
        return out_of_fold(self.recent.filled[rows], self.recent.label[rows], seed=self.seed)

    @cached_property
    def refit_base(self) -> Ints:
        """The same for the period performance is compared with."""
        rows = self.base.known
        return out_of_fold(self.base.filled[rows], self.base.label[rows], seed=self.seed)

    @cached_property
    def domain(self) -> tuple[Frame, Frame, Floats, Floats]:
        """Trusted rows, recent rows, and each one's out-of-fold probability of being recent."""
        old, new = self.sample(self.trusted, DOMAIN), self.sample(self.recent, DOMAIN)
        x = np.concatenate([old.filled, new.filled])
        recent = np.arange(len(x)) >= len(old)
        share = out_of_fold_share(x, recent, seed=self.seed)
        return old, new, share[: len(old)], share[len(old) :]

    @cached_property
    def familiar(self) -> Frame:
        """Recent rows of a kind that trusted rows are too: where a stand-in knows what it is talking about."""
        _, new, _, share = self.domain
        return new.take(share < FOREIGN)

    @cached_property
    def blocks(self) -> tuple[Ints, ...]:
        """Trusted rows cut into stretches as long as the recent one: what is usual for such a stretch.

        A month of winter differs from the year as it should; only what exceeds every trusted stretch of
        the same length is news.
        """
        stretches = [
            *_stretches(self.reference, self.recent, 0),
            *_stretches(self.before, self.recent, len(self.reference)),
        ]
        if len(stretches) > MAX_BLOCKS:
            keep = np.linspace(0, len(stretches) - 1, MAX_BLOCKS).round().astype(int)
            stretches = [stretches[i] for i in keep]
        return tuple(stretches)

    @cached_property
    def inputs(self) -> Inputs:
        """How each input column of the recent rows compares with the trusted ones."""
        return compare_inputs(self.trusted.x, self.recent.x, self.blocks)

    def sample(self, frame: Frame, limit: int) -> Frame:
        """At most ``limit`` rows, seeded, in time order."""
        if len(frame) <= limit:
            return frame
        return frame.take(np.sort(np.random.default_rng(self.seed).choice(len(frame), size=limit, replace=False)))


MIN_KNOWN = 20
FOREIGN = 0.9  # a row this surely recent has no trusted neighbours to judge it by
MAX_BLOCKS = 12


def _stretches(frame: Frame, recent: Frame, offset: int) -> list[Ints]:
    if len(frame) < 2 * FEWEST:
        return []
    first, span = float(frame.time[0]), float(frame.time[-1] - frame.time[0])
    length = float(recent.time[-1] - recent.time[0])
    pieces = int(span // length) if length > 0 else len(frame) // max(FEWEST, len(recent))
    pieces = max(2, min(pieces, len(frame) // FEWEST))
    number = np.arange(len(frame)) * pieces // len(frame)
    if span > 0:
        number = np.minimum(((frame.time - first) / span * pieces).astype(np.int64), pieces - 1)
    blocks = [np.flatnonzero(number == i) + offset for i in range(pieces)]
    return [block.astype(np.int64) for block in blocks if len(block) >= FEWEST]
