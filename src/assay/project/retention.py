"""Keeping recorded predictions in order: labels joined, few files, and nothing deleted that is still needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from assay.engines.addresses import ELSEWHERE, shown
from assay.engines.base import Source
from assay.engines.files import find, recorded_span
from assay.engines.shelf import find as find_engine
from assay.errors import ConfigError, StorageError, TableError
from assay.findings import Finding, Severity
from assay.inference.evidence import LOOK_BACKS
from assay.monitoring import store as monitoring
from assay.monitoring.compaction import Compacted, compact
from assay.monitoring.partitions import Settled, alone, settle
from assay.monitoring.retention import DAY, EVER, Doomed, Need, delete, doom, floor_of, label_delay, midnight
from assay.monitoring.run import RECOUNTED
from assay.project.config import ModelConfig
from assay.project.monitoring import predictions_of
from assay.project.project import Project
from assay.release.store import live_at
from assay.storage.clock import from_text, utc_text

LOOK_BACK = LOOK_BACKS[-1]
"""Windows that an incident may reach back."""
ROWS = 100_000
"""Rows that are looked at for how late labels come."""
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be.

    Attributes:
        doomed: The days.
        wanted: The day that was asked for; what lies between is still needed.
        needs: What still needs rows, the earliest first.
        labels: Labels deleted with them.
        log: Position of the log entry; None when nothing was deleted.
    """

    doomed: Doomed
    wanted: datetime
    needs: tuple[Need, ...]
    labels: int = 0
    log: int | None = None


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done for the predictions of one model; ``pruned`` is None where assay.toml keeps them for ever."""

    settled: Settled
    compacted: Compacted
    pruned: Pruned | None


def recorded_folder(model: ModelConfig) -> Path | None:
    """The folder that a Recorder writes a model's predictions to; None where they come from elsewhere."""
    if model.predictions is None or ELSEWHERE.match(model.predictions.path):
        return None
    parts = Path(model.predictions.path).parts
    place = next((at for at, part in enumerate(parts) if part.startswith("date=")), None)
    return Path(*parts[:place]) if place else None


def _folder(model: ModelConfig) -> Path:
    predictions = predictions_of(model)
    folder = recorded_folder(model)
    if folder is None:
        raise ConfigError(
            f"the predictions of {model.name}, {shown(predictions.path)}, are not a Recorder's: its path has date=* in "
            'it, as "predictions/date=*/**/*.parquet"'
        )
    return folder


def tidy(project: Project, name: str, *, now: datetime) -> Tidied:
    """Join labels that have come, compact hours and days that are over, and delete what assay.toml does not keep.

    Raises:
        ConfigError: The predictions are not a Recorder's.
        StorageError: The disk refused.
    """
    model = project.config.model(name)
    folder, keep = _folder(model), predictions_of(model).keep
    room = None
    try:
        settled, compacted = settle(folder, now=now), compact(folder, now=now)
    except StorageError:
        if keep is None:
            raise
        # On a full disk nothing can be written before the days that need not be kept are gone.
        room = prune(project, name, before=ago(keep, now), now=now)
        settled, compacted = settle(folder, now=now), compact(folder, now=now)
    pruned = prune(project, name, before=ago(keep, now), now=now) if keep else None
    return Tidied(settled, compacted, room if room is not None and room.log is not None else pruned)


def ago(span: timedelta, now: datetime) -> datetime:
    """The time so long ago; the earliest there is where that would be before it."""
    return now - min(span, now - EVER)


def prune(
    project: Project,
    name: str,
    *,
    before: datetime,
    now: datetime,
    whole: bool = False,
    reason: str | None = None,
    dry: bool = False,
) -> Pruned:
    """Delete recorded days before a time, as far as nothing needs them; each time an act in the audit log.

    Args:
        project: Whose predictions.
        name: Of which model.
        before: Days that end by then.
        now: The present.
        whole: All of them or none: an error where some are still needed.
        reason: Why days are deleted that are still needed; None never deletes them.
        dry: Tell only.

    Raises:
        ConfigError: The predictions are not a Recorder's, or days are still needed and ``whole`` is asked for.
        StorageError: The disk refused.
        LogError: It cannot be logged; nothing was deleted.
    """
    folder = _folder(project.config.model(name))
    wanted = midnight(min(before, now))
    needs = tuple(sorted(needs_of(project, name, now=now), key=lambda need: need.since))
    floor = floor_of(needs)
    below = floor is not None and wanted > midnight(floor)
    if floor is not None and below and whole and reason is None:
        raise ConfigError(
            f"days before {wanted:%Y-%m-%d} are still needed: "
            + (f"those before {floor:%Y-%m-%d} may be deleted" if floor > EVER else "none may be deleted")
            + "; --below-floor deletes them all the same",
            [_told(need) for need in needs if need.since < wanted],
        )
    cut = wanted if floor is None or reason is not None else min(wanted, midnight(floor))
    with alone(folder):
        doomed = doom(folder, cut)
        if dry or not doomed.files:
            return Pruned(doomed, wanted, needs)
        # Logged first: a deletion that nobody can see is worse than an entry for one that was cut short.
        position = project.log.append(
            "predictions.pruned", name, _entry(doomed, needs, reason if below else None), actor=project.actor, now=now
        )
        return Pruned(doomed, wanted, needs, delete(folder, doomed), position)


def _day(at: datetime | None) -> str:
    return "never" if at is None or at == EVER else f"{at:%Y-%m-%d}"


def _told(need: Need) -> Finding:
    return Finding("retention.needed", need.what, Severity.WARNING, need.detail)


def _entry(doomed: Doomed, needs: Sequence[Need], below_floor: str | None) -> Mapping[str, object]:
    return {
        "before": utc_text(doomed.before),
        "first": utc_text(doomed.first) if doomed.first else None,
        "rows": doomed.rows,
        "files": len(doomed.files),
        "bytes": doomed.bytes,
        "digest": doomed.digest,
        "needed": [{"what": need.what, "since": utc_text(need.since)} for need in needs],
        "below_floor": below_floor,
    }


def needs_of(project: Project, name: str, *, now: datetime) -> Iterator[Need]:
    """What still needs the recorded rows that a model has, and from when on: its own needs, and those of all others."""
    folder = _resolved(project.config.model(name))
    for model in project.config.models.values():
        yield from _reference(model, folder)
        if folder is None or _resolved(model) != folder:
            continue
        for need in _windows(project, model, now):
            yield need if model.name == name else replace(need, detail=f"{model.name}: {need.detail}")
        for incident in project.desk.list(model=model.name):
            if incident.state == "resolved":
                continue
            since = min([incident.opened, *_onsets(project, project.desk.show(incident.id).positions)])
            what = f"incident {incident.id}"
            yield Need(what, since, f"{what} is not resolved; it goes back to {_day(since)}: {incident.title}")


def _resolved(model: ModelConfig) -> Path | None:
    folder = recorded_folder(model)
    return None if folder is None else folder.resolve()


def _windows(project: Project, model: ModelConfig, now: datetime) -> Iterator[Need]:
    name = model.name
    baseline = monitoring.load_baseline(project.state, name)
    if baseline is None:
        yield Need("windows", EVER, "there is no baseline: no row was counted yet")
        return
    windows = monitoring.load_windows(project.state, name, baseline.digest)
    if not windows:
        live = live_at(project.state, name, now)
        since = live.since if live else EVER
        yield Need("windows", since, f"no window was counted by the newest baseline; they begin with {_day(since)}")
    else:
        newest = windows[-LOOK_BACK:]
        since = from_text(newest[0].start)
        yield Need("windows", since, f"evidence may reach back {LOOK_BACK} windows, of which there are {len(newest)}")
    late = _delay(model)
    if late:
        again = from_text(windows[-RECOUNTED:][0].start) if windows else now
        since = again - min(late, again - EVER)
        yield Need(
            "labels", since, f"labels come up to {_span(late)} after their rows: until then these wait for theirs"
        )


def _delay(model: ModelConfig) -> timedelta | None:
    """How long labels take, as far as the reference and the recorded rows tell; None where labels have no time."""
    predictions = predictions_of(model)
    if predictions.label_time is None:
        return None
    engine = find_engine(predictions.engine)
    found = []
    for path in (predictions.path, model.reference):
        if path is None:
            continue
        source = Source((path,))
        try:
            if {predictions.time, predictions.label_time} <= engine.columns(source).keys():
                wanted = (predictions.time, predictions.label_time)
                found.append(label_delay(engine.rows(source, columns=wanted, limit=ROWS)))
        except TableError:
            continue  # it is told where it is read
    return max((one for one in found if one is not None), default=None)


def _span(late: timedelta) -> str:
    return f"{late.days} days" if late >= 2 * DAY else f"{late // HOUR} hours"


def _reference(model: ModelConfig, folder: Path | None) -> Iterator[Need]:
    """Recorded days that a reference is made of: the next baseline, and a diagnosis, read them; also by links."""
    if model.reference is None or folder is None:
        return
    try:
        files = [Path(file).resolve() for file in find(Source((model.reference,)))]
    except TableError:
        return  # it is told where it is read
    spans = [recorded_span(str(file)) for file in files if file.is_relative_to(folder)]
    if starts := [span[0] for span in spans if span]:
        yield Need("reference", min(starts), f"the reference, {model.reference}, is made of recorded days")


def _onsets(project: Project, positions: Sequence[int]) -> Iterator[datetime]:
    """Since when the happenings of an incident are, as their entries tell."""
    for position in positions:
        for one in project.log.entries(after=position - 1, limit=1):
            for key in ("since", "onset"):
                told = one.entry.data.get(key)
                if isinstance(told, str):
                    try:
                        yield from_text(told)
                    except StorageError:
                        continue
