"""Watching single clients: who copies the model or probes it, from the prediction log of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from assay.engines.base import ColumnFamily, Engine, Source
from assay.engines.forbearing import Forbearing
from assay.engines.shelf import find as find_engine
from assay.errors import AssayError
from assay.findings import Finding, Severity
from assay.monitoring import store as monitoring
from assay.monitoring.clients import store
from assay.monitoring.clients.counting import LEAD, count, newest
from assay.monitoring.clients.judge import ClientAlarm, Doubt, judge
from assay.monitoring.clients.roster import MOST_SEEN, Roster
from assay.monitoring.clients.sight import MOST_CLIENTS, NEWCOMERS, NOBODY, ClientWindow, Columns, Seen, Sight
from assay.monitoring.clients.space import SAMPLE, Space
from assay.monitoring.clients.words import SIGNAL, alike, sentence, untold, who, world
from assay.monitoring.clock import readable
from assay.monitoring.monitor import FEWEST_WINDOWS
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.windows import floor_to
from assay.project import checks
from assay.project.config import ModelConfig, Predictions
from assay.project.project import Project
from assay.project.reference import schema_of
from assay.storage.clock import from_text, utc_text

KIND: Final = "clients"
FIRST_BACK: Final = timedelta(days=30)
"""At first so much of the log is looked at; later all that came since."""

MOST_REFERENCE: Final = 200_000
"""Rows of the reference by which clients that are in it are known; of more, the newest."""


@dataclass(frozen=True, slots=True)
class ClientWatch:
    """What one look at a model's clients saw.

    Attributes:
        windows: Windows judged.
        clients: Different clients in them.
        alarms: All alarms of these windows.
        new: Those that were not known before.
        doubts: What is so now and is no alarm, because it may be the world that has moved.
        findings: What was odd, and the new alarms.
    """

    windows: int = 0
    clients: int = 0
    alarms: tuple[ClientAlarm, ...] = ()
    new: tuple[ClientAlarm, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    findings: tuple[Finding, ...] = ()


def watch_clients(project: Project, name: str, now: datetime, *, engine: Forbearing | None = None) -> ClientWatch:
    """Look at all rows since the last look and judge every client; nothing where no column says who asked.

    Doing it again changes nothing. Trouble is a finding: the rest of a monitor run stands.

    Args:
        project: Whose model.
        name: Which.
        now: The reading of the clock.
        engine: What reads the log and tells itself what it leaves out; None for the declared one, and it is told here.
    """
    model = project.config.model(name)
    predictions = model.predictions
    if predictions is None or predictions.client is None:
        return ClientWatch()
    try:
        with checks.attempted(project.state, name, KIND, now):
            reader = engine or Forbearing(find_engine(predictions.engine))
            seen = _watch(project, model, predictions, predictions.client, now=now, engine=reader)
            return seen if engine is not None else replace(seen, findings=(*reader.findings(), *seen.findings))
    except AssayError as err:
        return ClientWatch(findings=(Finding("client.unknown", name, Severity.ERROR, err.message),))


def _watch(
    project: Project, model: ModelConfig, predictions: Predictions, column: str, *, now: datetime, engine: Forbearing
) -> ClientWatch:
    name, width, source = model.name, model.clients.window, Source((predictions.path,))
    there = engine.columns(source)
    missing = [one for one in (column, predictions.time, predictions.prediction) if one not in there]
    if missing or model.reference is None:
        what = f"the log has no column {missing[0]!r}" if missing else "there is no reference: set one"
        return _not_judged(project, name, what, now)
    look = _Look(project, model, schema_of(predictions), engine, source, there, column, now)
    space = look.space()
    key = f"clients:{space.digest[:32]}:{round(width.total_seconds())}"
    known = store.load(project.state, name, key)
    usual = look.usual(space, key)
    fresh = look.windows(space, known, usual)
    merged = {one.start: one for one in known}
    grown = [one for one in fresh if one.start not in merged or _rows(one) > _rows(merged[one.start])]
    merged |= {one.start: one for one in grown}
    every = [merged[start] for start in sorted(merged)]
    windows = newest(every[-store.KEPT :])
    judged = judge(
        windows,
        windows_per_alarm=max(model.clients.false_alarm_every / width, FEWEST_WINDOWS),
        usual=usual,
        trusted=model.clients.trusted,
    )
    new = store.record(
        project.state,
        model=name,
        space=key,
        changed=[one for one in grown if one.start >= windows[0].start],
        oldest=windows[0].start if windows else "",
        raised=judged.alarms,
        column=column,
        now=now,
        actor=project.actor,
    )
    monitoring.drain(project.state, project.log)
    clients = {who for window in windows for who in window.seen} - {NEWCOMERS}
    watch = ClientWatch(len(windows), len(clients), judged.alarms, new, judged.doubts)
    return _said(project, name, watch, windows, lacking=engine.findings(), now=now)


@dataclass(frozen=True)
class _Look:
    """Where the rows are, and what they mean."""

    project: Project
    model: ModelConfig
    schema: PredictionSchema
    engine: Engine
    source: Source
    there: Mapping[str, ColumnFamily]
    column: str
    now: datetime

    def reference(self) -> tuple[Engine, Source]:
        return find_engine("duckdb"), Source((self.model.reference or "",))

    def space(self) -> Space:
        """What is usual, learned from the reference: the same each time."""
        engine, source = self.reference()
        families = engine.columns(source)
        features = [one for one in self.schema.features_of(families) if one in families and one in self.there]
        rows = engine.rows(source, columns=features, limit=SAMPLE)
        return Space.learn(rows, families, features)

    def columns(self) -> Columns:
        """Which column says what; a narrow answer is one of the least sure twentieth of the baseline's."""
        baseline = monitoring.load_baseline(self.project.state, self.model.name)
        spec = next((one for one in baseline.specs if one.name == "confidence"), None) if baseline else None
        sure = self.schema.confidence if spec is not None and self.schema.confidence in self.there else None
        low = spec.edges[0] if spec is not None and sure is not None else None
        return Columns(self.column, self.schema.prediction, sure, low)

    def usual(self, space: Space, key: str) -> Mapping[str, Seen]:
        """What each client did in the reference, where the reference says who asked; looked at once."""
        kept = store.load_usual(self.project.state, self.model.name, key)
        if kept is not None:
            return kept
        engine, source = self.reference()
        families = engine.columns(source)
        found: dict[str, Seen] = {}
        if {self.column, self.schema.time, self.schema.prediction} <= set(families):
            span = engine.span(source, self.schema.time)
            if span.first is not None and span.last is not None:
                steps = engine.steps(source, self.schema.time, MOST_REFERENCE)
                first = steps[-2] if len(steps) > 1 else span.first
                cuts = (first, span.last + timedelta(microseconds=1))
                columns = Columns(self.column, self.schema.prediction)
                sight = Sight(space, columns)
                (window,) = count(engine, source, sight, time=self.schema.time, cuts=cuts, roster=Roster())
                found = {name: one for name, one in window.seen.items() if name != NEWCOMERS}
        store.save_usual(self.project.state, self.model.name, key, found)
        return found

    def windows(self, space: Space, known: Sequence[ClientWindow], usual: Mapping[str, Seen]) -> Sequence[ClientWindow]:
        """The windows that ended since the last look, and those of the day before it again, for rows that came late."""
        width = self.model.clients.window
        through = floor_to(self.now, width)
        start = floor_to(self.now - FIRST_BACK, width)
        if known:
            start = max(start, floor_to(from_text(known[-1].end) - LEAD, width), from_text(known[0].start))
        else:
            first = self.engine.span(self.source, self.schema.time).first
            start = through if first is None else max(start, floor_to(first, width))
        cuts = [start + i * width for i in range(max(0, (through - start) // width) + 1)]
        if len(cuts) < 2:  # noqa: PLR2004 - no window has ended
            return ()
        before = [one for one in known if one.start < utc_text(start)]
        roster = Roster.of(before)
        for name in (*usual, *self.model.clients.trusted):  # who is in the reference, or trusted, is no newcomer
            roster.first[name] = start - 2 * FIRST_BACK
            roster.last[name] = max(roster.last.get(name, start), start)
        sight = Sight(space, self.columns())
        return count(self.engine, self.source, sight, time=self.schema.time, cuts=cuts, roster=roster)


def _rows(window: ClientWindow) -> int:
    return sum(one.rows for name, one in window.seen.items() if name != NEWCOMERS)


def _not_judged(project: Project, name: str, what: str, now: datetime) -> ClientWatch:
    detail = f"single clients are not judged: {what}"
    checks.record(project.state, name, KIND, outcome="unknown", detail=detail, now=now)
    return ClientWatch(findings=(Finding("client.not-judged", name, Severity.WARNING, detail),))


def _before(watch: ClientWatch) -> str:
    """Who was accused and is calm now: an incident may be open for it, and this must not read as if nobody had been."""
    ended = [alarm for alarm in watch.alarms if alarm.until is not None]
    if not ended:
        return ""
    last = max(ended, key=lambda alarm: (alarm.until or "", alarm.client))
    return f" now; {who(last.client)} did, until {readable(last.until or '')}"


def _said(
    project: Project,
    name: str,
    watch: ClientWatch,
    windows: Sequence[ClientWindow],
    *,
    lacking: Sequence[Finding],
    now: datetime,
) -> ClientWatch:
    """Remember how it ended, and say what was found; ``lacking``: what of the log could not be read."""
    standing = [alarm for alarm in watch.alarms if alarm.until is None]
    unsure = [one for one in watch.doubts if not one.is_world]
    if standing:
        outcome, detail = "fail", sentence(standing[0])
    elif not windows:
        outcome, detail = "unknown", "no complete window yet"
    elif lacking:
        outcome, detail = "unknown", f"part of the log could not be read: {lacking[0].detail}"
    elif unsure:
        outcome, detail = "unknown", untold(unsure[0])
    else:
        alone = "1 client, and nobody to compare it with, not"
        many = alone if watch.clients == 1 else f"{watch.clients:,} clients, none"
        may = "the others do, and the world has moved" if watch.doubts else "any client may do"
        outcome, detail = "pass", f"{many} beyond what {may}{_before(watch)}"
    body = {"windows": len(windows), "clients": watch.clients, "standing": len(standing)}
    checks.record(project.state, name, KIND, outcome=outcome, detail=detail, now=now, body=body)
    findings = [
        Finding(
            f"{SIGNAL.replace(':', '.')}{alarm.question}",
            name,
            Severity.CRITICAL,
            sentence(alarm),
            {"queries": alarm.rows, "share": alarm.share, "tolerance": alarm.tolerance, "log_e": alarm.log_e}
            | ({} if alarm.others is None else {"others": alarm.others, "others_queries": alarm.others_rows}),
        )
        for alarm in watch.new
    ]
    return replace(watch, findings=(*findings, *_doubted(name, watch.doubts), *_odd(name, windows)))


def _doubted(name: str, doubts: Sequence[Doubt]) -> list[Finding]:
    """What may be the client or the world: each client that cannot be told, and once of all that do as all do."""
    found = [
        Finding("client.untold", name, Severity.WARNING, untold(one), {"queries": one.rows, "share": one.share})
        for one in doubts
        if not one.is_world
    ]
    for question in dict.fromkeys(one.question for one in doubts if one.is_world):
        those = [one for one in doubts if one.is_world and one.question == question]
        numbers = {"clients": len({one.client for one in those} - {NEWCOMERS}) or 1, "others": those[0].others or 0.0}
        found.append(Finding("client.world", name, Severity.WARNING, world(those, name), numbers))
    return found


def _odd(name: str, windows: Sequence[ClientWindow]) -> list[Finding]:
    """What is odd about who is said to have asked."""
    found = []
    unnamed = sum(window.seen[NOBODY].rows for window in windows if NOBODY in window.seen)
    if unnamed:
        said = f"{unnamed:,} rows do not say who asked: they are judged as one client"
        found.append(Finding("client.unnamed", name, Severity.INFO, said, {"rows": unnamed}))
    twice = alike({who for window in windows for who in window.seen} - {NEWCOMERS})
    if twice:
        found.append(Finding("client.alike", name, Severity.INFO, twice))
    if any(len(window.seen) > MOST_CLIENTS for window in windows):
        said = f"a window has more than {MOST_CLIENTS:,} clients: those with the fewest rows are left out"
        found.append(Finding("client.too-many", name, Severity.WARNING, said))
    crowd = sum(len(window.seen) for window in windows)
    if crowd > MOST_SEEN - MOST_CLIENTS:
        said = f"{len(windows)} windows have {crowd:,} clients, about as many as are judged: older ones are let go"
        found.append(Finding("client.too-many", name, Severity.WARNING, said))
    return found
