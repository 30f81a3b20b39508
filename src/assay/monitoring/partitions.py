"""Hour partitions on disk: written whole or not at all, and labels joined into them.

A file is written under a hidden temporary name in its own folder, flushed to the disk and renamed; a reader
of ``**/*.parquet`` sees it whole or not at all. Labels that come later wait in ``labels/``, under names that no
such pattern takes for predictions, until `settle` joins them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assay.engines.files import RECORDED as RECORDED_FILE
from assay.engines.files import without_replaced
from assay.errors import StorageError, TableError
from assay.findings import Finding, Severity
from assay.monitoring.rows import TIME, column_of, instant, instants, together
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.storable import storable

_LOG = logging.getLogger("assay.recorder")

RECORDED: Final = PredictionSchema(
    time="time",
    prediction="prediction",
    confidence="confidence",
    latency_s="latency_s",
    error="error",
    label="label",
    label_time="label_time",
    model="model",
    request_id="request_id",
)
"""The columns that a Recorder writes beside the model's inputs."""

LABELS: Final = "labels"
LABEL_FILE: Final = ".labels"
NOBODYS: Final = timedelta(days=1)
"""A label whose request is not recorded this long after is told."""


@dataclass(frozen=True, slots=True)
class Label:
    """What turned out to be true of a request."""

    request_id: str
    label: str | float | bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What `settle` did.

    Attributes:
        joined: Labels that are in the partitions now.
        waiting: Labels whose request is in no partition: they stay.
        findings: Labels that contradict each other, that nobody asked for, and files that cannot be read.
    """

    joined: int
    waiting: int
    findings: tuple[Finding, ...]


def write_whole(table: pa.Table, path: Path) -> None:
    """Write a Parquet file so that it is there whole or not at all, even when the machine stops.

    Raises:
        OSError: The disk refused; nothing is left behind but, at worst, a hidden file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.unlink(missing_ok=True)  # of a process that was killed, or a link that somebody laid there
    try:
        with hidden.open("xb") as file:
            pq.write_table(table, file, compression="zstd", use_dictionary=_repeating(table))
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    synced(path.parent)


def synced(folder: Path) -> None:
    """Bring the names in a folder to the disk as well."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _repeating(table: pa.Table) -> list[str]:
    """Columns worth a dictionary: making one of numbers and ids takes three quarters of the time and helps nobody."""
    return [field.name for field in table.schema if field.name != "request_id" and not pa.types.is_floating(field.type)]


def by_hour(table: pa.Table) -> list[pa.Table]:
    """Rows apart by the hour of their time.

    Args:
        table: Has a column ``time`` of timestamps in UTC.
    """
    hours = pc.floor_temporal(table["time"], unit="hour")
    every = pc.unique(hours)
    if len(every) == 1:
        return [table]
    return [table.filter(pc.equal(hours, hour)) for hour in every]


def parted(tables: Sequence[pa.Table]) -> tuple[list[pa.Table], int]:
    """Rows of several tables apart by the hour of their time, and how many have none; one table costs no other."""
    try:
        return by_hour(storable(together(tables))) if tables else [], 0
    except Exception:  # noqa: BLE001 - whatever a service logs, the other rows are written
        if len(tables) > 1:
            each = [parted([table]) for table in tables]
            return [part for parts, _ in each for part in parts], sum(lost for _, lost in each)
        _LOG.exception("%d rows could not be recorded: they are no table of hours", tables[0].num_rows)
        return [], tables[0].num_rows


def write_hour(folder: Path, table: pa.Table, name: str) -> None:
    """Write rows of one hour into its partition.

    Args:
        folder: Where the partitions are.
        table: As `by_hour` gives them.
        name: Name of the file: the same rows under the same name are there once.

    Raises:
        OSError: The disk refused.
    """
    hour = table["time"][0].as_py()
    write_whole(table, folder / f"date={hour.date().isoformat()}" / f"hour={hour:%H}" / f"{name}.parquet")


def recorded_files(folder: Path, days: str = "date=*") -> list[Path]:
    """The files of a Recorder's folder that hold rows, in the order of their names; read these, not all there are.

    A file whose rows are in another one now is left out: compaction keeps it for whoever has begun to read it.

    Args:
        folder: A Recorder's folder.
        days: Pattern of the days wanted.

    Raises:
        TableError: When what compaction has written down cannot be read.
    """
    found = (path for path in folder.glob(f"{days}/**/*.parquet") if RECORDED_FILE.search(path.as_posix()))
    every = sorted(str(path) for path in found if path.is_file())  # to open a pipe would wait for ever
    return [Path(path) for path in without_replaced(every)]


def write_labels(folder: Path, labels: Sequence[Label], name: str) -> None:
    """Write labels where `settle` finds them.

    Raises:
        OSError: The disk refused.
    """
    table = pa.table(
        {
            "request_id": column_of([one.request_id for one in labels], pa.string()),
            "label": column_of([one.label for one in labels]),
            "label_time": pa.array([one.at for one in labels], TIME),
        }
    )
    write_whole(table, folder / LABELS / f"{name}{LABEL_FILE}")


def settle(folder: Path, *, now: datetime | None = None) -> Settled:
    """Join labels that have come into the partitions of their requests. Killed anywhere and run again, all is there.

    Every partition is replaced whole, and a label file is taken away only when its labels are in place. Labels
    without a request stay, and are told when they are older than a day. Of two labels the later counts, also when it
    was joined before, and contradictions are told; a label that comes again keeps the time when it first came.

    Args:
        folder: A Recorder's folder.
        now: The reading of the clock, timezone-aware; without it, no label is too old.

    Raises:
        StorageError: There is no such folder, the disk refused, or a label file is damaged.
        TableError: When what compaction has written down cannot be read.
    """
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder} to settle labels in")
    findings: list[Finding] = []
    try:
        with alone(folder):
            files = _label_files(folder)
            labels, nameless = _read_labels(files)
            joined: set[str] = set()
            contradicted = {request_id for request_id, told in labels.items() if len(_course(told)) > 1}
            for path in recorded_files(folder) if labels else ():
                joined |= _join(path, labels, findings, contradicted)
            left = [one for request_id, told in labels.items() if request_id not in joined for one in told]
            if files and (joined or len(files) > 1):
                if left:
                    write_labels(folder, left, uuid.uuid4().hex)
                for file in files:
                    file.unlink()
    except (OSError, pa.ArrowException) as err:
        raise StorageError(f"labels in {folder} cannot be settled: {type(err).__name__}; check the disk") from err
    findings += _about(contradicted, [] if now is None else [one for one in left if now - one.at > NOBODYS], nameless)
    return Settled(len(joined), len({one.request_id for one in left}), tuple(findings))


def _about(contradicted: Collection[str], nobodys: Sequence[Label], nameless: int) -> Iterator[Finding]:
    if nameless:
        detail = f"{nameless:,} labels name no request: they cannot be joined, and keep no other waiting"
        yield Finding("label.without-request", "label", Severity.ERROR, detail, {"labels": nameless})
    if contradicted:
        detail = f"{len(contradicted):,} requests have labels that contradict each other: the later one counts"
        numbers = {"requests": len(contradicted)}
        yield Finding("label.contradicted", "label", Severity.WARNING, detail, numbers)
    if nobodys:
        requests = len({one.request_id for one in nobodys})
        detail = f"{requests:,} requests were labelled more than a day ago and are not recorded: check their ids"
        yield Finding("label.unknown-request", "label", Severity.WARNING, detail, {"requests": requests})


def drop_labels(folder: Path, before: datetime) -> int:
    """Delete labels that were known before a time and wait for their rows; gives how many. The caller is `alone`.

    Raises:
        OSError: The disk refused.
        StorageError: A label file is damaged.
    """
    files = _label_files(folder)
    every = [one for told in _read_labels(files)[0].values() for one in told]
    left = [one for one in every if one.at >= before]
    if len(left) < len(every):
        if left:
            write_labels(folder, left, uuid.uuid4().hex)
        for file in files:
            file.unlink()
    return len(every) - len(left)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two processes must not replace one partition at the same time: the later would lose rows or labels.

    Raises:
        StorageError: The folder is not there, or cannot be locked.
    """
    try:
        # Never through a link, and nothing is emptied: who may write here may not write elsewhere by our hand.
        lock = os.open(folder / ".settle.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as err:
        raise StorageError(f"{folder} cannot be locked: {err.strerror}") from err
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _label_files(folder: Path) -> list[Path]:
    if (folder / LABELS).is_symlink():  # joined labels are taken away, and these may be another model's
        raise StorageError(f"{folder / LABELS} is a link: no label is taken from behind it; take the link away")
    return sorted((folder / LABELS).glob(f"*{LABEL_FILE}"))


def _read_labels(files: Sequence[Path]) -> tuple[dict[str, list[Label]], int]:
    """Labels by their request, and how many name none: they must not keep the others waiting."""
    labels: dict[str, list[Label]] = {}
    nameless = 0
    for file in files:
        try:
            table = pq.ParquetFile(file).read(columns=["request_id", "label", "label_time"])
            ids, times = table["request_id"].cast(pa.string()), instants(table["label_time"])
        except (KeyError, ValueError, pa.ArrowException) as err:
            raise StorageError(f"{file} is damaged, or holds no labels: restore it, or take it away") from err
        if times.null_count or (ids.null_count and ids.null_count == len(ids)):
            raise StorageError(f"{file} holds labels without a time, or of no request: take it away")
        for one in map(Label, ids.to_pylist(), table["label"].to_pylist(), times.to_pylist()):
            if one.request_id is None:
                nameless += 1
            else:
                labels.setdefault(one.request_id, []).append(one)
    return labels, nameless


def _course(told: Sequence[Label]) -> list[Label]:
    """What was said of a request, in the order of time; the same said again is said once, when it was first."""
    said: list[Label] = []
    for one in sorted(told, key=lambda label: (label.at, str(label.label))):
        if not said or (one.label != said[-1].label and str(one.label) != str(said[-1].label)):
            said.append(one)
    return said


def _join(
    path: Path, labels: Mapping[str, Sequence[Label]], findings: list[Finding], contradicted: set[str]
) -> set[str]:
    """Put labels into one partition, and say which requests are in it."""
    try:
        file = pq.ParquetFile(path)
        if "request_id" not in file.schema_arrow.names:
            return set()
        ids = file.read(columns=["request_id"])["request_id"]
        wanted = pc.is_in(ids, pa.array(list(labels), pa.string()))
        if not pc.any(wanted).as_py():
            return set()
        table = file.read()
        times = instants(table["time"]).to_pylist()
    except (KeyError, ValueError, pa.ArrowException):
        detail = f"{path.name} is damaged: labels cannot be joined into it"
        findings.append(Finding("table.damaged", str(path), Severity.ERROR, detail))
        return set()
    label, came = _values(table, "label"), [_moment(one) for one in _values(table, "label_time")]
    joined: set[str] = set()
    for place, (request_id, at) in enumerate(zip(ids.to_pylist(), times, strict=True)):
        told = list(labels.get(request_id, ()))
        if not told:
            continue
        joined.add(request_id)
        if label[place] is not None:  # joined before, or logged with the row
            told.append(Label(request_id, label[place], came[place] or at))
        course = _course(told)
        if len(course) > 1:
            contradicted.add(request_id)
        label[place], came[place] = course[-1].label, course[-1].at
    new = {"label": column_of(label), "label_time": pa.array(came, TIME)}
    for name, values in new.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
    write_whole(table, path)
    return joined


def _moment(value: object) -> datetime | None:
    """When a label came, as a service may have told it; None, as for every reader, where it says no time."""
    with suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(at, datetime):
            return instant(at if at.tzinfo else at.replace(tzinfo=UTC))
    return None


def _values(table: pa.Table, name: str) -> list[Any]:
    return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows


def check_columns(names: Sequence[str]) -> None:
    """Refuse inputs whose names a Recorder needs for itself.

    Raises:
        TableError: When there are some, naming them.
    """
    taken = sorted(set(names) & set(RECORDED.roles().values()))
    if taken:
        raise TableError(f"the Recorder writes columns of its own called {', '.join(taken)}: rename these inputs")
