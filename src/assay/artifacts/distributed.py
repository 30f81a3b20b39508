"""Measure a model that does not lie on this disk: in an object store, or where the executors of a cluster read it.

Each file is read by whoever is nearest to it, first for where its tensors lie, then once for all
digests; only those come back. The manifest is the one that :func:`~assay.artifacts.measure.measure`
would make of the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from assay.artifacts.digest import CHUNK_BYTES, Pass
from assay.artifacts.files import DEFAULT_IGNORES, FileEntry, refused
from assay.artifacts.hashing import Hashed, hashed, thread_count, unreadable
from assay.artifacts.manifest import Manifest, clash_findings
from assay.artifacts.measure import put_together
from assay.artifacts.names import fault, shown
from assay.artifacts.plan import Examined, Placed, Plan, Stamp, examine, malformed, packed_contents, unstable
from assay.errors import ArtifactError, ConfigError, FormatError
from assay.findings import Finding, Severity

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Opens a file of the model: bytes that can be read from any place (``seek``). Called several times and in any
# thread. With Spark it is sent to the executors: a module's function with ``functools.partial`` can be.
Opener = Callable[[], BinaryIO]

_Task = TypeVar("_Task")
_Done = TypeVar("_Done")


class _Run(Protocol):
    """Does one thing to each of many, in order, somewhere."""

    def __call__(self, work: Callable[[_Task], _Done], tasks: Sequence[_Task]) -> Sequence[_Done]: ...


def measure_objects(
    name: str,
    objects: Iterable[tuple[str, Opener]],
    *,
    ignore: Sequence[str] = DEFAULT_IGNORES,
    threads: int | None = None,
) -> Manifest:
    """Measure a model from an object store, several files at a time.

    Args:
        name: The model's name: that of its folder or file, as it will lie where it is verified.
        objects: Each file's name relative to the model, parts joined by ``/``, and what opens it.
        ignore: Names that are left out if they are there, and recorded; ``()`` for a single file.
        threads: How many files at a time; :func:`~assay.artifacts.hashing.thread_count` when None.

    Raises:
        ArtifactError: There are no files, a name may not be, or a file cannot be read or is malformed.
        ConfigError: ASSAY_THREADS is no number of threads.
    """
    count = thread_count() if threads is None else threads

    def run(work: Callable[[_Task], _Done], tasks: Sequence[_Task]) -> Sequence[_Done]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(count, "assay-hash") as pool:
            return list(pool.map(work, tasks))

    return _measure(name, objects, ignore, run)


def measure_on_spark(
    spark: SparkSession, name: str, objects: Iterable[tuple[str, Opener]], *, ignore: Sequence[str] = DEFAULT_IGNORES
) -> Manifest:
    """Measure a model on the executors of a Spark cluster, which have assay installed; a task for each file.

    Args:
        spark: A classic session; Spark Connect cannot send a task of ours.
        name: As for :func:`measure_objects`.
        objects: As for :func:`measure_objects`; what opens a file is called on the executors.
        ignore: As for :func:`measure_objects`.

    Raises:
        ArtifactError: There are no files, a name may not be, or a file cannot be read or is malformed.
        ConfigError: The session cannot run tasks.
    """
    context = getattr(spark, "sparkContext", None)
    if context is None:
        raise ConfigError("found a Spark Connect session, wanted a classic one: it must run tasks on executors")

    def run(work: Callable[[_Task], _Done], tasks: Sequence[_Task]) -> Sequence[_Done]:
        return list(context.parallelize(tasks, max(1, len(tasks))).map(work).collect())

    return _measure(name, objects, ignore, run)


@dataclass(frozen=True, slots=True)
class _File:
    """One file, and what is to be hashed of it."""

    name: str
    open: Opener
    placed: tuple[Placed, ...] = ()
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back about one file. Findings travel better than errors."""

    size: int = 0
    examined: Examined | None = None
    hashed: Hashed | None = None
    contents: Mapping[int, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """The files of a model that lies elsewhere."""

    name: str
    entries: tuple[FileEntry, ...]
    findings: tuple[Finding, ...]
    ignore: tuple[str, ...]


def _measure(name: str, objects: Iterable[tuple[str, Opener]], ignore: Sequence[str], run: _Run) -> Manifest:
    files = sorted(
        (_File(*one) for one in objects if not _ignored(one[0], frozenset(ignore))), key=lambda file: file.name
    )
    _check_names(name, files)
    looks = run(_examine, files)
    entries = tuple(FileEntry(file.name, look.size) for file, look in zip(files, looks, strict=True))
    opened = {file.name: file.open for file in files}
    plan = Plan.put_together(
        entries,
        {file.name: look.examined for file, look in zip(files, looks, strict=True) if look.examined is not None},
        {file.name: _error(look) for file, look in zip(files, looks, strict=True) if look.findings},
        lambda one: _Remote(opened[one]),
    )
    tasks = [
        _File(file.name, file.open, tuple(plan.placed.get(file.name, ())), plan.stamp(file.name))
        for file in files
        if file.name not in plan.unread
    ]
    found: dict[str, Hashed | ArtifactError] = {}
    for file, answer in zip(tasks, run(_hash, tasks), strict=True):
        found[file.name] = _error(answer) if answer.hashed is None else answer.hashed
        plan.contents[file.name] = dict(answer.contents)
        if answer.hashed is not None and answer.findings:
            plan.late[file.name] = answer.findings[0]
    return put_together(_Elsewhere(name, entries, (), tuple(sorted(ignore))), plan, found)


def _ignored(name: str, ignore: frozenset[str]) -> bool:
    parts = name.split("/")
    return any("/".join(parts[:count]) in ignore for count in range(1, len(parts) + 1))


def _check_names(name: str, files: Sequence[_File]) -> None:
    if not files:
        raise ArtifactError(f"model {shown(name)} has no files: there is nothing to sign or verify")
    findings = [
        Finding("artifact.name", shown(file.name), Severity.ERROR, f"{shown(file.name)} is refused: {reason}")
        for file in files
        if (reason := fault(file.name)) is not None
    ]
    findings += clash_findings(tuple(file.name for file in files))
    if findings:
        raise refused(name, findings)


def _error(answer: _Answer) -> ArtifactError:
    return ArtifactError(answer.findings[0].detail, answer.findings)


def _examine(file: _File) -> _Answer:
    content = _Remote(file.open)
    try:
        examined = examine(file.name, content)
        return _Answer(size=content.size, examined=examined)
    except OSError as err:
        return _Answer(findings=unreadable(file.name, err).findings)
    finally:
        content.close()


def _hash(file: _File) -> _Answer:
    content = _Remote(file.open)
    run = Pass([(one.part.start, one.part.end) for one in file.placed])
    try:
        for piece in content.pieces():
            run.update(piece)
        if file.stamp not in (None, content.stamp()):
            return _Answer(hashed=hashed(run, run), findings=(unstable(file.name),))
        return _Answer(hashed=hashed(run, run), contents=packed_contents(file.placed, content))
    except OSError as err:
        return _Answer(findings=unreadable(file.name, err).findings)
    except FormatError as err:
        return _Answer(hashed=hashed(run, run), findings=(malformed(file.name, err.message),))
    finally:
        content.close()


class _Remote:
    """Content that is opened when it is first asked for."""

    def __init__(self, opener: Opener) -> None:
        self._open = opener
        self._file: BinaryIO | None = None

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self._open()
        return self._file

    @property
    def size(self) -> int:
        return self._opened().seek(0, 2)

    def read(self, start: int, length: int) -> bytes:
        file = self._opened()
        file.seek(start)
        found = bytearray()
        while len(found) < length and (more := file.read(length - len(found))):
            found += more
        return bytes(found)

    def stamp(self) -> Stamp:
        # All that every store tells. A file replaced meanwhile by one of as many bytes has the digests of the new
        # one, at the places of the old one's tensors: whoever verifies the files then finds that.
        return (self.size,)

    def pieces(self) -> Iterable[bytes]:
        file = self._opened()
        file.seek(0)
        while piece := file.read(CHUNK_BYTES):
            yield piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
