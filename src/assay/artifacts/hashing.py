"""Hash the files of a model on every core, reading each byte once and little ahead.

One large file is read by one thread while others hash what was read before, SHA-256 in one and
BLAKE3 in another; for BLAKE3 alone even the reading is saved where it can be. Many files are shared
out: each thread takes a few at a time and reads them through one buffer of its own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self

from assay.artifacts.digest import CHUNK_BYTES, Pass, Wanted, digest
from assay.artifacts.mapped import mapped_blake3
from assay.artifacts.names import shown
from assay.errors import ArtifactError, AssayError, ConfigError
from assay.findings import Finding, Severity

VARIABLE = "ASSAY_THREADS"
MAX_THREADS = 256

# Two of them are in use at a time: one is filled while the other is hashed. Large enough for BLAKE3 to
# spread over the cores, small enough to stay in their caches.
BLOCK_BYTES = 4 * 1024 * 1024
_LARGE_BYTES = 8 * 1024 * 1024  # below this, handing blocks over costs more than it gains
_BATCH_BYTES = 2 * 1024 * 1024  # a thread takes files of about so many bytes at a time
_BATCH_FILES = 64

Report = Callable[[int], None]


class Reader(Protocol):
    """Opens the files of a model; each thread has one of its own."""

    def open(self, name: str) -> int:
        """A descriptor of a file, to be closed by the caller."""
        ...

    def close(self) -> None:
        """Let go of what is kept open."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One file to be hashed.

    Attributes:
        name: As the reader opens it.
        size: Bytes when it was listed; decides only who hashes it.
        ranges: (start, end) of each part, sorted.
        after: Called with the open file after it was hashed, in the same thread.
    """

    name: str
    size: int
    ranges: tuple[tuple[int, int], ...] = ()
    after: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class Hashed:
    """What a file gave.

    Attributes:
        size: Bytes read.
        sha256: Hexadecimal, empty when not wanted.
        blake3: Hexadecimal, empty when not wanted.
        parts: BLAKE3 of each range; empty for one that lies beyond the end.
    """

    size: int
    sha256: str
    blake3: str
    parts: tuple[str, ...]


def thread_count() -> int:
    """How many threads hash: the variable ASSAY_THREADS, else one for each processor this process may use.

    Raises:
        ConfigError: The variable is no whole number from 1 to 256.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(usable, MAX_THREADS)
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_THREADS:
        return int(text[:9])
    raise ConfigError(f"{VARIABLE} is {text[:40]!r}, wanted a whole number from 1 to {MAX_THREADS}")


def hash_files(
    jobs: Sequence[Job],
    reader: Callable[[], Reader],
    *,
    wanted: Wanted = "both",
    report: Report | None = None,
    threads: int | None = None,
) -> Mapping[str, Hashed | AssayError]:
    """Hash files, each read once.

    Args:
        jobs: The files, each name once.
        reader: Makes a reader; called once per thread.
        wanted: Which digests of whole files.
        report: Called with the number of bytes hashed since the last call, from any thread.
        threads: How many; :func:`thread_count` when None.

    Returns:
        By name, the digests, or why the file could not be read.
    """
    count = thread_count() if threads is None else threads
    run = _Run(reader, wanted, report or _silent, {})
    # The largest first, so that the threads end together; small ones as listed, so that folders stay open.
    rest = sorted(jobs, key=lambda job: -job.size if job.size >= _BATCH_BYTES else 0)
    left = sum(job.size for job in rest)
    alone: list[Job] = []
    # A file that is larger than a fair share would be hashed on one core while the others wait.
    while count > 1 and rest and rest[0].size >= _LARGE_BYTES and rest[0].size * count > left:
        left -= rest[0].size
        alone.append(rest.pop(0))
    # What can be hashed without being read is done before this process has threads.
    alone = [job for job in alone if wanted != "blake3" or job.ranges or job.after or not run.map(job, count)]
    if alone:
        with _Alone(run, count) as together:
            for job in alone:
                together.hash(job)
    run.share(rest, min(count, 1 + left // _BATCH_BYTES))
    return run.found


def _silent(_: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What all threads of one measurement share."""

    reader: Callable[[], Reader]
    wanted: Wanted
    report: Report
    found: dict[str, Hashed | AssayError]

    def map(self, job: Job, threads: int) -> bool:
        """Hash one file where it lies in memory; False where it has to be read."""
        reader = self.reader()
        try:
            descriptor = reader.open(job.name)
        except ArtifactError:
            return False  # it will be told when it is read
        finally:
            reader.close()
        try:
            size = os.fstat(descriptor).st_size
            digest = mapped_blake3(descriptor, size, threads=threads, report=self.report)
        finally:
            os.close(descriptor)
        if digest is not None:
            self.found[job.name] = Hashed(size, "", digest, ())
        return digest is not None

    def share(self, jobs: Sequence[Job], threads: int) -> None:
        """Hash files in several threads, each file in one of them."""
        batches = deque(_batches(jobs))
        crew = [_Thread(lambda: self._serve(batches)) for _ in range(min(threads, len(batches)) - 1)]
        try:
            self._serve(batches)
        finally:
            batches.clear()  # on the way out of an interruption the others must end too
            for one in crew:
                one.join()

    def _serve(self, batches: deque[Sequence[Job]]) -> None:
        reader = self.reader()
        read = partial(self._read, memoryview(bytearray(CHUNK_BYTES)))
        try:
            while True:
                try:
                    batch = batches.popleft()
                except IndexError:
                    return
                for job in batch:
                    self.hash(job, reader, read)
        finally:
            reader.close()

    def _read(self, buffer: memoryview, job: Job, descriptor: int) -> Hashed:
        count = os.preadv(descriptor, [buffer], 0)
        if count < CHUNK_BYTES and not job.ranges and not os.preadv(descriptor, [buffer[count:]], count):
            self.report(count)
            found = digest(buffer[:count], self.wanted)
            return Hashed(count, found.sha256, found.blake3, ())
        run = Pass(job.ranges, wanted=self.wanted)
        while count := os.preadv(descriptor, [buffer], run.size):
            run.update(buffer[:count])
            self.report(count)
        return hashed(run, run)

    def hash(self, job: Job, reader: Reader, read: Callable[[Job, int], Hashed]) -> None:
        """Open a file, hash it, close it; what is wrong with it is its result."""
        try:
            descriptor = reader.open(job.name)
        except ArtifactError as err:
            self.found[job.name] = err
            return
        try:
            self.found[job.name] = read(job, descriptor)
            if job.after is not None:
                job.after(descriptor)
        except OSError as err:
            self.found[job.name] = unreadable(job.name, err)
        finally:
            os.close(descriptor)


def unreadable(name: str, err: OSError) -> ArtifactError:
    """The error for a file that the system does not give."""
    detail = f"{shown(name)} cannot be read: {err.strerror or err}"
    return ArtifactError(detail, [Finding("artifact.unreadable", shown(name), Severity.ERROR, detail)])


def hashed(sha256: Pass, blake3: Pass) -> Hashed:
    """What one or two passes over all bytes of a file gave.

    Args:
        sha256: The pass that made SHA-256.
        blake3: The pass that made BLAKE3 and the parts; it may be the same.
    """
    blake3.update(memoryview(b""))  # an empty part of an empty file is complete too
    return Hashed(blake3.size, sha256.digests().sha256, blake3.digests().blake3, blake3.parts())


def _batches(jobs: Sequence[Job]) -> list[Sequence[Job]]:
    """The files in lots for one thread at a time, the largest first."""
    lots: list[Sequence[Job]] = []
    lot: list[Job] = []
    size = 0
    for job in jobs:
        lot.append(job)
        size += job.size
        if size >= _BATCH_BYTES or len(lot) >= _BATCH_FILES:
            lots.append(lot)
            lot, size = [], 0
    return [*lots, lot] if lot else lots


class _Thread(threading.Thread):
    """A thread whose failure is raised where it is joined."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="assay-hash", daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as err:  # noqa: BLE001  raised again by join()
            self._error = err

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self._error is not None:
            raise self._error


class _Alone:
    """Hashes one file after the other, each on all cores."""

    def __init__(self, run: _Run, threads: int) -> None:
        self._run = run
        self._threads = threads
        self._reader = run.reader()
        self._blocks = [memoryview(bytearray(BLOCK_BYTES)) for _ in range(2)]
        self._crew = [_Hand() for _ in range(2 if run.wanted == "both" else 1)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hand in self._crew:
            hand.dismiss()
        self._reader.close()

    def hash(self, job: Job) -> None:
        """Hash one file."""
        self._run.hash(job, self._reader, self._read)

    def _read(self, job: Job, descriptor: int) -> Hashed:
        if self._run.wanted == "both":
            # SHA-256 is the slowest and has a core of its own; BLAKE3 of the file and of its parts share another.
            passes = [Pass(wanted="sha256"), Pass(job.ranges, wanted="blake3", threads=max(1, self._threads - 1))]
        else:
            passes = [Pass(job.ranges, wanted=self._run.wanted, threads=self._threads)]
        at, turn = 0, 0
        while count := os.preadv(descriptor, [self._blocks[turn]], at):
            self._await()
            for hand, one in zip(self._crew, passes, strict=True):
                hand.give(one, self._blocks[turn][:count])
            at, turn = at + count, 1 - turn
            self._run.report(count)
        self._await()
        return hashed(passes[0], passes[-1])

    def _await(self) -> None:
        for hand in self._crew:
            hand.wait()


class _Hand:
    """A thread that hashes the block it was given while the next one is read."""

    def __init__(self) -> None:
        self._blocks: SimpleQueue[tuple[Pass, memoryview] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._busy = False
        self._thread = _Thread(self._serve)

    def _serve(self) -> None:
        while (given := self._blocks.get()) is not None:
            one, block = given
            try:
                one.update(block)
            except BaseException as err:  # noqa: BLE001  raised again by wait()
                self._done.put(err)
            else:
                self._done.put(None)

    def give(self, one: Pass, block: memoryview) -> None:
        self._busy = True
        self._blocks.put((one, block))

    def wait(self) -> None:
        """Until the block is hashed."""
        if self._busy:
            self._busy = False
            error = self._done.get()
            if error is not None:
                raise error

    def dismiss(self) -> None:
        self._blocks.put(None)
        self._thread.join()
