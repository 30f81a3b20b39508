"""Running logged rows again through a known-good copy, and comparing the answers.

Tampering changes the model and leaves the world alone; drift changes the world and leaves the model
alone. Replay asks the model alone, needs no labels, and one window is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.diagnosis.case import Case, DeploymentFact, sampling_seed, window_digest
from assay.diagnosis.frames import Texts, class_texts, encode_column, times
from assay.diagnosis.learners import Bools, Floats, Ints
from assay.errors import AssayError
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.schema import PredictionSchema

ROWS_PER_WINDOW = 500  # of each monitored window; all of a smaller one
FLOAT_TOLERANCE = 1e-5  # single precision, relative to 1: what a confidence in [0, 1] loses when stored so
HARD_CONFIDENCE = 0.02  # more than half precision, another build or another machine explain
HARD_MARGIN = 0.05
REPEATED = 200
ASKED_AT_ONCE = 20_000  # rows that go to a copy together: its answers for thousands of classes still fit


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of running rows again.

    Attributes:
        row: Positions of the replayed rows in their table.
        differs: Rows whose output differs beyond float tolerance.
        hard: Rows whose output differs by more than another precision or machine explains.
        pairs: How often (the known-good copy says, what was served), for rows of another class.
        skipped: Rows of versions of which there is no copy, and rows with nulls where trusted rows have none.
        varies: Share of rows the copy answers differently when asked twice (a sampling model); 0 for most.
        trouble: Why nothing could be replayed, or None.
        unanswered: Of copies that could not answer their rows, why; those rows are skipped.
    """

    row: Ints
    differs: Bools
    hard: Bools
    pairs: Mapping[tuple[str, str], int]
    skipped: int = 0
    varies: float = 0.0
    trouble: str | None = None
    unanswered: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.row)


def _nothing(trouble: str, skipped: int = 0, unanswered: tuple[str, ...] = ()) -> Replay:
    none = np.zeros(0, dtype=bool)
    return Replay(np.zeros(0, dtype=np.int64), none, none, {}, skipped, trouble=trouble, unanswered=unanswered)


def replay_sample(table: pa.Table, case: Case, *, rows: int = ROWS_PER_WINDOW) -> Replay:
    """Replay a seeded sample of some rows; see `replay_samples`."""
    return replay_samples([table], case, rows=rows)[0]


def replay_samples(tables: Sequence[pa.Table], case: Case, *, rows: int = ROWS_PER_WINDOW) -> list[Replay]:
    """Replay a seeded sample of each window: the cheap evidence of every monitor run.

    Half of a sample is uniform, half is spread over the predicted classes and declared slices, so that
    tampering with a rare class is met too. Results of several windows add up. A copy is asked about all
    windows at once, and about each by itself only when it cannot answer them together.

    Args:
        tables: Logged rows of each window.
        case: Holds the known-good copies, the deployment record, the schema and the sampling key.
        rows: Size of a sample; a smaller window is replayed whole.

    Returns:
        What came of each window, in their order.
    """
    copies: dict[str | None, Predictor] = {}
    copies.update(case.copies)
    if case.known_good is not None:
        copies[case.bytes.recorded_root] = case.known_good
    found = [_sampled(table, case, rows, copies) for table in tables]
    samples = [one for one in found if isinstance(one, _Sample)]
    for root in dict.fromkeys(root for sample in samples for root in sample.parts):
        assert root in copies  # noqa: S101 - others were skipped
        _ask(copies[root], [sample.parts[root] for sample in samples if root in sample.parts], case.schema)
    return [one.replay() if isinstance(one, _Sample) else one for one in found]


@dataclass(slots=True)
class _Part:
    """The rows of one sample that one version answered, and what came of asking its copy.

    Attributes:
        at: Their positions in the sample.
        table: They themselves.
    """

    at: Ints
    table: pa.Table
    again: Prediction | None = None
    varies: float = 0.0
    unanswered: str | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    """The rows of one window that are replayed, by the root digest of the version that served them."""

    schema: PredictionSchema
    chosen: Ints
    skipped: int
    parts: Mapping[str | None, _Part]

    def replay(self) -> Replay:
        """What came of it, once all copies were asked."""
        differs, hard, asked = (np.zeros(len(self.chosen), dtype=bool) for _ in range(3))
        pairs: Counter[tuple[str, str]] = Counter()
        for part in self.parts.values():
            if part.again is None:
                continue
            asked[part.at] = True
            own = np.array(class_texts(part.again.labels), dtype=object)
            served = np.array(class_texts(part.table.column(self.schema.prediction)), dtype=object)
            confidence = None
            if self.schema.confidence is not None and self.schema.confidence in part.table.column_names:
                confidence = encode_column(part.table.column(self.schema.confidence), None)
            differs[part.at], hard[part.at] = compare_outputs(served, confidence, part.again)
            far = hard[part.at]
            pairs.update((str(a), str(b)) for a, b in zip(own[far], served[far], strict=True) if a != b)
        unanswered = tuple(part.unanswered for part in self.parts.values() if part.unanswered is not None)
        if not asked.any():
            return _nothing(unanswered[0], self.skipped, unanswered)
        varies = max(part.varies for part in self.parts.values())
        kept = (self.chosen[asked], differs[asked], hard[asked])
        return Replay(*kept, dict(pairs), self.skipped + int((~asked).sum()), varies, unanswered=unanswered)


def _sampled(table: pa.Table, case: Case, rows: int, copies: Collection[str | None]) -> _Sample | Replay:
    """The sample of one window; a `Replay` that says why there is none."""
    schema = case.schema
    if not copies:
        return _nothing(case.no_copy or "there is no verified known-good copy")
    if schema.prediction not in table.column_names:
        return _nothing(f"the rows have no column {schema.prediction!r}")
    served = np.array(class_texts(table.column(schema.prediction)), dtype=object)
    answered = np.flatnonzero(served != np.array(None))
    roots = roots_of(table, schema, case.deployments, case.bytes.recorded_root)
    whole = ~_newly_empty(table, case)
    able = np.array([roots[i] in copies and whole[i] for i in answered], dtype=bool)
    usable, skipped = answered[able], int((~able).sum())
    if not len(usable):
        return _nothing(
            "no complete, answered row was served by a version of which there is a known-good copy", skipped
        )
    seed = sampling_seed(case.key, window_digest(table))
    chosen = _draw(usable, _strata(table, schema, served), rows, seed)
    parts = {}
    for root in dict.fromkeys(roots[i] for i in chosen):
        at = np.flatnonzero([roots[i] == root for i in chosen])
        parts[root] = _Part(at, table.take(pa.array(chosen[at])))
    return _Sample(schema, chosen, skipped, parts)


def _ask(copy: Predictor, parts: Sequence[_Part], schema: PredictionSchema) -> None:
    """Ask a copy about all these rows, and about the first of them twice."""
    for some in _together(parts):
        tables = [part.table for part in some]
        features = [name for name in schema.features_of(tables[0].column_names) if name in tables[0].column_names]
        inputs = pa.concat_tables([table.select(features) for table in tables])
        try:
            again = copy.predict(inputs)
            twice = copy.predict(inputs.slice(0, REPEATED))
        except (AssayError, ValueError, TypeError, ArithmeticError) as err:
            if len(some) > 1:
                for part in some:
                    _ask(copy, [part], schema)
                continue
            some[0].unanswered = f"the known-good copy cannot answer these rows ({type(err).__name__}: {err})"[:300]
            continue
        own, other = (np.array(class_texts(answers.labels), dtype=object) for answers in (again, twice))
        varies = float((own[: len(other)] != other).mean())
        first = 0
        for part in some:
            part.again, part.varies = again.part(slice(first, first + part.table.num_rows)), varies
            first += part.table.num_rows


def _together(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """The same in groups that a copy is asked about at once: of one schema, and not too many rows."""
    group: list[_Part] = []
    for part in parts:
        rows = sum(one.table.num_rows for one in group) + part.table.num_rows
        if group and (rows > ASKED_AT_ONCE or part.table.schema != group[0].table.schema):
            yield group
            group = []
        group.append(part)
    yield group


def _newly_empty(table: pa.Table, case: Case) -> Bools:
    """Rows with a null in a column that trusted rows always fill.

    What the model was given for it is not in the log (a default, the last value), so replay cannot
    tell; the fault is the pipeline's and is told there.
    """
    empty = np.zeros(table.num_rows, dtype=bool)
    trusted = [part for part in (case.reference, case.before) if part.num_rows]
    for name in case.schema.features_of(table.column_names):
        if name not in table.column_names or not trusted:
            continue
        if not any(_empties(part, name).any() for part in trusted if name in part.column_names):
            empty |= _empties(table, name)
    return empty


def _empties(table: pa.Table, name: str) -> Bools:
    return np.asarray(pc.is_null(table.column(name), nan_is_null=True).to_numpy(), dtype=bool)


def roots_of(
    table: pa.Table, schema: PredictionSchema, deployments: Sequence[DeploymentFact], recorded: str | None
) -> list[str | None]:
    """Root digest of the version that served each row: its own, else the deployment record's, else the recorded one."""
    at = times(table, schema.time)
    roots = np.full(table.num_rows, recorded, dtype=object)
    for fact in deployments:  # where two overlap, the later one served
        until = np.inf if fact.until is None else fact.until.timestamp()
        roots[(fact.since.timestamp() <= at) & (at < until)] = fact.root
    if schema.model is None or schema.model not in table.column_names:
        return [*roots]
    own = table.column(schema.model).to_pylist()
    return [root if value is None else str(value) for value, root in zip(own, roots, strict=True)]


def _strata(table: pa.Table, schema: PredictionSchema, served: Texts) -> list[tuple[object, ...]]:
    columns: list[Sequence[object]] = [list(served)]
    columns += [table.column(name).to_pylist() for name in schema.slices if name in table.column_names]
    return list(zip(*columns, strict=True))


def _draw(usable: Ints, strata: Sequence[tuple[object, ...]], rows: int, seed: int) -> Ints:
    if len(usable) <= rows:
        return usable.astype(np.int64)
    order = np.random.default_rng(seed).permutation(usable)
    chosen = list(order[: rows - rows // 2])
    rest = order[rows - rows // 2 :]
    # Round robin over the strata: the n-th row of each comes before any stratum's n + 1-th.
    seen: Counter[tuple[object, ...]] = Counter()
    turn = np.empty(len(rest), dtype=np.int64)
    for i, row in enumerate(rest):
        turn[i] = seen[strata[row]]
        seen[strata[row]] += 1
    chosen += list(rest[np.argsort(turn, kind="stable")][: rows // 2])
    return np.sort(np.array(chosen, dtype=np.int64))


def compare_outputs(served: Texts, confidence: Floats | None, again: Prediction) -> tuple[Bools, Bools]:
    """Which served outputs differ from the copy's beyond float tolerance, and which beyond any lawful reason.

    Args:
        served: Served classes as text, shape (n,).
        confidence: Logged confidence in [0, 1], NaN where none was logged; None when it is not logged.
        again: The copy's answers to the same rows.
    """
    own = np.array(class_texts(again.labels), dtype=object)
    other = own != served
    margin = _margin(served, again)
    differs, hard = other & ~(margin <= FLOAT_TOLERANCE), other & ~(margin <= HARD_MARGIN)
    numeric = _both_numbers(own, served)
    if numeric is not None and other.any():
        a, b = numeric
        # Predicted numbers, not classes: single precision is lawful.
        close = np.abs(a - b) <= FLOAT_TOLERANCE * np.maximum(1.0, np.abs(a))
        fractional = (a % 1 != 0) | (b % 1 != 0)
        differs, hard = differs & ~(fractional & close), hard & ~(fractional & close)
    if confidence is not None and again.confidence is not None:
        gap = np.abs(confidence - np.asarray(again.confidence, dtype=np.float64))
        gap = np.where(np.isnan(gap) | other, 0.0, gap)
        differs, hard = differs | (gap > FLOAT_TOLERANCE + _rounding(confidence)), hard | (gap > HARD_CONFIDENCE)
    return np.asarray(differs, dtype=bool), np.asarray(hard, dtype=bool)


def _margin(served: Texts, again: Prediction) -> Floats:
    """By how much the copy's own score prefers its own class to the served one; infinite when it cannot say."""
    margin = np.full(len(served), np.inf)
    if again.scores is None or again.classes is None:
        return margin
    scores = np.asarray(again.scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != len(again.classes) or (scores < 0).any() or (scores > 1).any():  # noqa: PLR2004 - a matrix of probabilities
        return margin
    place = {text: j for j, text in enumerate(class_texts(list(again.classes)))}
    at = np.array([place.get(text, -1) for text in served])
    known = np.flatnonzero(at >= 0)
    margin[known] = scores[known].max(axis=1) - scores[known, at[known]]
    return margin


def _both_numbers(own: Texts, served: Texts) -> tuple[Floats, Floats] | None:
    try:
        return own.astype(np.float64), served.astype(np.float64)
    except (ValueError, TypeError):
        return None


def _rounding(confidence: Floats) -> float:
    """Half of the last decimal the log keeps, when it keeps six or fewer."""
    values = confidence[~np.isnan(confidence)]
    for decimals in range(1, 7):
        if len(values) and bool(np.allclose(values, np.round(values, decimals), rtol=0, atol=1e-9)):
            return float(0.5 * 10.0**-decimals)
    return 0.0
