"""What a diagnosis is made from, gathered from the state: rows then and now, known-good copies, byte facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from assay.diagnosis.case import ByteFacts, Case, DeploymentFact
from assay.diagnosis.comparison import MIN_KNOWN
from assay.diagnosis.replaying import replay_samples
from assay.engines.base import Engine, Source
from assay.engines.shelf import find as find_engine
from assay.errors import BaselineError, ConfigError, LoadError, VerificationError
from assay.findings import Finding, Severity
from assay.incidents import store as incidents
from assay.monitoring.alarms import Alarm
from assay.monitoring.baseline import Baseline
from assay.monitoring.monitor import Evaluation
from assay.monitoring.signals import WindowCounts
from assay.project import integrity
from assay.project.config import ModelConfig
from assay.project.copies import Copies
from assay.project.project import Project
from assay.project.reference import reference_table
from assay.release.deployment import Deployment
from assay.release.store import deployments
from assay.storage.clock import from_text
from assay.storage.database import reading

MOST_ROWS = 5_000  # of each of the three tables a diagnosis compares
MOST_REPLAYED = 50_000  # rows of one monitor run that are read for replay; each window gives a sample of them
RECENT_WINDOWS = 4  # compared when nothing says since when
ENOUGH_ROWS = 300  # so many rows stand for a time
VOLUME = "volume"
FEWEST_ROWS = 60  # evidence from fewer says nothing; small windows are joined until there are as many


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything known about a model at one moment.

    Attributes:
        baseline: What normal is.
        evaluation: All windows, judged.
        windows: Those windows.
        copies: Known-good copies by root digest, verified and opened when they are asked.
        facts: What digests and signatures say.
        history: The deployment record.
        settled: When the last incident of the model was resolved, or another version went live: rows from before it
            have their explanation.
    """

    project: Project
    model: ModelConfig
    baseline: Baseline
    evaluation: Evaluation
    windows: tuple[WindowCounts, ...]
    copies: Copies
    facts: ByteFacts
    history: tuple[Deployment, ...]
    engine: Engine
    source: Source
    now: datetime
    settled: datetime | None = None

    @classmethod
    def of(
        cls,
        project: Project,
        name: str,
        *,
        baseline: Baseline,
        evaluation: Evaluation,
        windows: Sequence[WindowCounts],
        copies: Copies,
        now: datetime,
        engine: Engine | None = None,
    ) -> Situation:
        """Gather it; ``copies`` are whoever made them's to close. ``engine`` reads the rows; None for the declared."""
        model = project.config.model(name)
        assert model.predictions is not None  # noqa: S101 - the caller has a baseline of its predictions
        return cls(
            project=project,
            model=model,
            baseline=baseline,
            evaluation=evaluation,
            windows=tuple(windows),
            copies=copies,
            facts=integrity.byte_facts(project, name, served_roots=(), now=now),
            history=tuple(deployments(project.state, name)),
            engine=engine or find_engine(model.predictions.engine),
            source=Source((model.predictions.path,)),
            now=now,
            settled=_settled(project, name, baseline),
        )

    @property
    def bytes_differ(self) -> bool:
        """Whether digests and signatures alone say that something is wrong."""
        facts = self.facts
        return facts.refused or (
            facts.live_root is not None and facts.recorded_root is not None and facts.live_root != facts.recorded_root
        )

    def case(self, *, before: pa.Table, recent: pa.Table, reference: pa.Table, wait: bool = True) -> Case:
        """The case of a diagnosis over these rows.

        ``wait``: for the known-good copy to be open, so that the case says why it cannot be; else whoever asks
        it waits.
        """
        schema = self.baseline.schema
        column = schema.model
        served = (
            sorted({str(one) for one in recent.column(column).to_pylist() if one})
            if column in recent.column_names
            else []
        )
        recorded = self.facts.recorded_root
        return Case(
            schema=schema,
            reference=reference,
            before=before,
            recent=recent,
            known_good=self.copies.opened(recorded) if wait else self.copies.get(recorded or ""),
            bytes=_with_served(self.facts, tuple(served)),
            key=self.project.places.log_key.read_bytes(),
            deployments=tuple(DeploymentFact(one.root, one.since, one.until) for one in self.history),
            copies={root: copy for root, copy in self.copies.items() if root != recorded},
            no_copy=self.copies.why_none(recorded),
            alarms=tuple(alarm.detail for alarm in self.evaluation.alarms if alarm.until is None),
        )

    def rows(self, since: datetime | None, until: datetime | None, *, limit: int = MOST_ROWS) -> pa.Table:
        """Logged rows of a time, a seeded sample when there are more than ``limit``."""
        time = self.baseline.schema.time
        return self.engine.rows(self.source, time=time, since=since, until=until, limit=limit)


def _settled(project: Project, name: str, baseline: Baseline) -> datetime | None:
    with reading(project.state) as connection:
        times = [one.updated for one in incidents.listed(connection, model=name, state="resolved")]
    return max([*times, from_text(baseline.since)] if baseline.since else times, default=None)


def _with_served(facts: ByteFacts, served: tuple[str, ...]) -> ByteFacts:
    from dataclasses import replace

    return replace(facts, served_roots=served)


def replay_windows(
    situation: Situation, windows: Sequence[WindowCounts]
) -> tuple[tuple[Finding, ...], datetime | None]:
    """Replay a sample of each window through the known-good copy: the cheap evidence of every monitor run.

    Returns:
        What was found, and the start of the first window whose outputs differ; None when none does.
    """
    if not windows or not situation.copies:
        return situation.copies.trouble, None
    found: list[Finding] = []
    first: datetime | None = None
    table = situation.rows(from_text(windows[0].start), from_text(windows[-1].end), limit=MOST_REPLAYED)
    if not table.num_rows:
        return situation.copies.trouble, None
    empty = table.slice(0, 0)
    at = table.column(situation.baseline.schema.time).cast(pa.int64()).to_numpy()
    starts = [from_text(window.start) for window in windows]
    spans = [(_micros(start), _micros(from_text(window.end))) for start, window in zip(starts, windows, strict=True)]
    parts = [table.filter(pa.array((at >= low) & (at < high))) for low, high in spans]
    case = situation.case(before=empty, recent=table, reference=empty, wait=False)
    for start, replayed in zip(starts, replay_samples(parts, case), strict=True):
        differing = int(replayed.differs.sum())
        told = situation.copies.trouble or any(one.rule == "replay.no-answer" for one in found)
        if replayed.unanswered and not told:
            what = f"in the window from {start:%Y-%m-%d}, {replayed.unanswered[0]}: nothing vouches for those outputs"
            found.append(Finding("replay.no-answer", situation.model.name, Severity.WARNING, what))
        if differing:
            first = first or start
            share = differing / len(replayed)
            numbers = {"differing": differing, "replayed": len(replayed)}
            detail = (
                f"in the window from {start:%Y-%m-%d}, {differing} of {len(replayed)} outputs ({share:.1%}) are not "
                "those of the signed model"
            )
            found.append(Finding("replay.differs", situation.model.name, Severity.CRITICAL, detail, numbers))
    return (*situation.copies.trouble, *found), first


def _micros(time: datetime) -> int:
    return int((time - datetime(1970, 1, 1, tzinfo=time.tzinfo)) / timedelta(microseconds=1))


def gather_case(situation: Situation, *, since: datetime | None) -> Case:
    """Split the rows into before and since the change, beside the trusted reference.

    Args:
        situation: What is known.
        since: When it may have begun, as `onsets` or replay say; None for all rows.
    """
    start = since
    first = from_text(situation.windows[0].start) if situation.windows else None
    if first and situation.baseline.since:  # what came before was answered by another version
        first = max(first, from_text(situation.baseline.since))
    end = from_text(situation.windows[-1].end) if situation.windows else None
    recent = situation.rows(start, end)
    for window in reversed(situation.windows):  # small windows: reach back until there is enough to compare
        enough = MIN_KNOWN if start == situation.settled else FEWEST_ROWS  # but not into what is explained
        if recent.num_rows >= enough or start is None:
            break
        if from_text(window.start) < start:
            start = from_text(window.start)
            recent = situation.rows(start, end)
    before = situation.rows(first, start) if first and start and first < start else recent.slice(0, 0)
    if before.num_rows < ENOUGH_ROWS:  # a few days know no seasons: the reference is what it was before
        before = before.slice(0, 0)
    source = _reference(situation)
    reference = find_engine("duckdb").rows(source, time=situation.baseline.schema.time, limit=MOST_ROWS)
    return situation.case(before=before, recent=recent, reference=reference)


def _reference(situation: Situation) -> Source:
    """The reference with the signed model's answers; without them where no verified bytes of it are left."""
    root = situation.facts.recorded_root or ""
    copy = situation.copies.opened(root)
    try:
        return reference_table(
            situation.project,
            situation.model.name,
            now=situation.now,
            known_good=(root, copy) if copy is not None else None,
            anew=bool(situation.baseline.root),
        )
    except (VerificationError, LoadError, ConfigError, BaselineError):
        if situation.model.reference is None:
            raise
        return Source((situation.model.reference,))


def begun(situation: Situation, alarm: Alarm) -> datetime:
    """Since when an alarm's change is there; not before the last incident was resolved: that explains what was."""
    since = from_text(alarm.since)
    return max(since, situation.settled) if situation.settled else since


def onsets(situation: Situation) -> tuple[datetime | None, ...]:
    """Since when it may be, likeliest first: the newest happening that stands, then the one alarm that is surest.

    How many rows came says little about why answers changed: an alarm about that comes last. Without an
    alarm it is the last few windows with enough rows; without windows, None: all rows.
    """
    standing = [alarm for alarm in situation.evaluation.alarms if alarm.until is None]
    if standing:
        newest = max(standing, key=lambda alarm: (alarm.signal != VOLUME, alarm.window, alarm.log_e))
        surest = max(standing, key=lambda alarm: (alarm.signal != VOLUME, alarm.log_e))
        return tuple(dict.fromkeys(begun(situation, alarm) for alarm in (newest, surest)))
    rows = 0
    for count, window in enumerate(reversed(situation.windows), 1):
        rows += window.rows
        if rows >= ENOUGH_ROWS and count >= RECENT_WINDOWS:
            return (from_text(window.start),)
    return (from_text(situation.windows[0].start) if situation.windows else None,)
