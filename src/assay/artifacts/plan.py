"""Where the tensors of a model lie, read from its containers before anything is hashed.

Only headers and directories are read. A tensor may lie in another file than the one that names it
(ONNX external data), so all containers are read before the first byte is hashed.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from blake3 import blake3

from assay.artifacts.files import FileEntry
from assay.artifacts.hashing import Job, Reader, unreadable
from assay.artifacts.names import fault, shown
from assay.errors import ArtifactError, FormatError
from assay.findings import Finding, Severity
from assay.formats import sharded, shelf
from assay.formats.base import OPAQUE, Content, Format, Part, distinct

# Tensors may share bytes (tied weights, views of one storage), but a header must not make one byte be hashed
# thousands of times.
MAX_SHARING = 16
_ALWAYS_BYTES = 16 * 1024 * 1024  # small files may share as they like

MAX_DISAGREEMENTS = 64  # of an index with its files that are told

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """One part, and which container says so.

    Attributes:
        part: As the container's format gave it, with a name that no other part of the file has.
        container: The format that knows its elements.
    """

    part: Part
    container: Format


class Readable(Content, Protocol):
    """Content that can tell whether it is still the same."""

    def stamp(self) -> Stamp:
        """What changes whenever the file does."""
        ...


class Closable(Content, Protocol):
    """Content that is let go of."""

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class Examined:
    """What one file says about tensors.

    Attributes:
        container: Its format; None for most files.
        parts: Its parts, wherever their bytes lie.
        stamp: Tells whether it was changed since.
        fault: Why it is no such container, as the end of a sentence.
    """

    container: Format | None = None
    parts: tuple[Part, ...] = ()
    stamp: Stamp | None = None
    fault: str = ""


@dataclass(slots=True)
class Plan:
    """What to hash.

    Attributes:
        placed: The parts by the file that their bytes lie in, sorted by place.
        findings: What is malformed.
        unread: Containers that could not be read.
        contents: Filled in while hashing: by file, the digest of the elements of each part that is
            not plain, by its position.
        late: Filled in while hashing: what was found wrong then.
    """

    placed: Mapping[str, Sequence[Placed]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unread: dict[str, ArtifactError] = field(default_factory=dict)
    contents: dict[str, dict[int, str]] = field(default_factory=dict)
    late: dict[str, Finding] = field(default_factory=dict)
    _stamps: dict[str, Stamp] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Sequence[FileEntry], reader: Reader) -> Plan:
        """Read every container of a model.

        Args:
            entries: The model's files.
            reader: Opens them.
        """
        examined: dict[str, Examined] = {}
        unread: dict[str, ArtifactError] = {}
        for entry in entries:
            if not shelf.may_be(entry.name):
                continue
            content = OpenFile(reader, entry.name)
            try:
                examined[entry.name] = examine(entry.name, content)
            except ArtifactError as err:
                unread[entry.name] = err
            except OSError as err:
                unread[entry.name] = unreadable(entry.name, err)
            finally:
                content.close()
        return cls.put_together(entries, examined, unread, partial(OpenFile, reader))

    @classmethod
    def put_together(
        cls,
        entries: Sequence[FileEntry],
        examined: Mapping[str, Examined],
        unread: Mapping[str, ArtifactError],
        opened: Callable[[str], Closable],
    ) -> Plan:
        """Find for each part the file that its bytes lie in.

        Args:
            entries: The model's files.
            examined: What each file says, wherever that was read.
            unread: Files that could not be read.
            opened: Opens a file once more: the index of a sharded model.
        """
        plan = cls(unread=dict(unread))
        sizes = {entry.name: entry.size for entry in entries}
        raw: dict[str, list[Placed]] = {}
        for entry in entries:
            if entry.name in examined:
                plan._place(entry.name, examined[entry.name], sizes, raw)
        plan.placed = {name: tuple(_distinctly(parts)) for name, parts in raw.items()}
        plan._limit(sizes)
        for name in filter(sharded.is_index, sizes):
            plan._check_index(name, sizes, opened)
        return plan

    def _place(self, name: str, examined: Examined, sizes: Mapping[str, int], raw: dict[str, list[Placed]]) -> None:
        if examined.fault:
            self._malformed(name, examined.fault)
        if examined.container is None or examined.stamp is None:
            return
        self._stamps[name] = examined.stamp
        for part in examined.parts:
            target = posixpath.join(posixpath.dirname(name), part.file) if part.file else name
            reason = _misplaced(part, target, sizes) if part.file else None
            if reason is not None:
                self._malformed(name, f"keeps {shown(part.name)} in {shown(part.file)}, which {reason}")
                continue
            raw.setdefault(target, []).append(Placed(part, examined.container))

    def _check_index(self, name: str, sizes: Mapping[str, int], opened: Callable[[str], Closable]) -> None:
        """Hold the index of a sharded model against its files."""
        shards = {
            one: {placed.part.name for placed in self.placed.get(one, ())} if one in self._stamps else None
            for one in sizes
            if one.lower().endswith(".safetensors")
        }
        content = opened(name)
        try:
            for one in sharded.disagreements(name, content, shards)[:MAX_DISAGREEMENTS]:
                subject = f"{shown(name)}:{shown(one.tensor)}"
                detail = f"{shown(name)} {one.what}"
                self.findings.append(Finding("artifact.shard-index", subject, Severity.ERROR, detail))
        except FormatError as err:
            self._malformed(name, f"is not a sound index: {err.message}")
        except ArtifactError as err:
            self.unread[name] = err
        except OSError as err:
            self.unread[name] = unreadable(name, err)
        finally:
            content.close()

    def _malformed(self, name: str, what: str) -> None:
        self.findings.append(malformed(name, what))

    def _limit(self, sizes: Mapping[str, int]) -> None:
        for name, placed in list(self.placed.items()):
            ranges = {(one.part.start, one.part.end) for one in placed}
            total = sum(end - start for start, end in ranges)
            if total > max(MAX_SHARING * sizes[name], _ALWAYS_BYTES):
                self._malformed(name, f"has tensors that share its bytes more than {MAX_SHARING} times over")
                self.placed = {other: parts for other, parts in self.placed.items() if other != name}

    def job(self, entry: FileEntry) -> Job:
        """What to hash of one file: the whole, each part, and after that the elements of parts that are not plain."""
        placed = self.placed.get(entry.name, ())
        if not placed and entry.name not in self._stamps:
            return Job(entry.name, entry.size)

        def after(descriptor: int) -> None:
            self._after(entry.name, descriptor, placed)

        return Job(entry.name, entry.size, tuple((one.part.start, one.part.end) for one in placed), after)

    def _after(self, name: str, descriptor: int, placed: Sequence[Placed]) -> None:
        content = HeldFile(descriptor)
        try:
            self.contents[name] = packed_contents(placed, content)
        except FormatError as err:
            self.late[name] = malformed(name, err.message)
        if not self.unchanged(name, content.stamp()):
            self.late[name] = unstable(name)

    def stamp(self, name: str) -> Stamp | None:
        """What the container had when it was read; None for other files."""
        return self._stamps.get(name)

    def unchanged(self, name: str, stamp: Stamp) -> bool:
        """Whether what was hashed is what the container said before, not another file with the same name."""
        return self._stamps.get(name, stamp) == stamp


def examine(name: str, content: Readable) -> Examined:
    """Read what a file says about tensors.

    Args:
        name: Its name in the model.
        content: Its bytes; of a file that is no container few are read, or none.

    Raises:
        ArtifactError: It cannot be opened.
        OSError: It cannot be read.
    """
    container = shelf.find(name, content)
    if container is None:
        return Examined()
    try:
        return Examined(container, container.parts(content), content.stamp())
    except FormatError as err:
        return Examined(fault=f"is not a sound {container.name} file: {err.message}")


def packed_contents(placed: Sequence[Placed], content: Content) -> dict[int, str]:
    """The digest of the elements of each part that is a tensor and not plain, by its position.

    Raises:
        FormatError: Packed bytes are damaged; the message says in which format.
    """
    digests: dict[int, str] = {}
    for position, one in enumerate(placed):
        if one.part.plain or one.part.dtype == OPAQUE:
            continue
        run = blake3()
        try:
            for piece in one.container.elements(content, one.part):
                run.update(piece)
        except FormatError as err:
            raise FormatError(f"is not a sound {one.container.name} file: {err.message}") from err
        digests[position] = run.hexdigest()
    return digests


def malformed(name: str, what: str) -> Finding:
    """The finding for a container that cannot be read as what it is."""
    return _finding("artifact.malformed", name, what)


def unstable(name: str) -> Finding:
    """The finding for a file that was not the same all the time."""
    return _finding("artifact.unstable", name, "changed while it was being read")


def _misplaced(part: Part, target: str, sizes: Mapping[str, int]) -> str | None:
    if fault(target) is not None or target not in sizes:
        return "is no file of the model"
    if part.end > sizes[target]:
        return f"ends at byte {sizes[target]}, not {part.end}"
    return None


def _distinctly(placed: Sequence[Placed]) -> Iterator[Placed]:
    """The parts by place; one that two containers name alike is listed once, two under one name get a number."""
    once = {(one.part.name, one.part.dtype, one.part.shape, one.part.start, one.part.end): one for one in placed}
    ordered = sorted(once.values(), key=lambda one: (one.part.start, one.part.end))
    names = distinct(one.part.name for one in ordered)
    for one, name in zip(ordered, names, strict=True):
        yield one if name == one.part.name else Placed(replace(one.part, name=name), one.container)


def _finding(rule: str, name: str, what: str) -> Finding:
    return Finding(rule, shown(name), Severity.ERROR, f"{shown(name)} {what}")


class HeldFile:
    """Content that lies in an open file.

    Args:
        descriptor: Open for reading; stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return os.fstat(self._descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content ends."""
        return os.pread(self._descriptor, length, start)

    def stamp(self) -> Stamp:
        """What changes whenever the file does."""
        found = os.fstat(self._descriptor)
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class OpenFile:
    """Content of a file that is opened when it is first asked for: most files are no containers.

    Args:
        reader: Opens it.
        name: Its name in the model.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._name = name
        self._descriptor = -1

    def _held(self) -> HeldFile:
        if self._descriptor < 0:
            self._descriptor = self._reader.open(self._name)
        return HeldFile(self._descriptor)

    @property
    def size(self) -> int:
        """How many bytes there are.

        Raises:
            ArtifactError: The file cannot be opened.
        """
        return self._held().size

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content ends.

        Raises:
            ArtifactError: The file cannot be opened.
        """
        return self._held().read(start, length)

    def stamp(self) -> Stamp:
        """What changes whenever the file does."""
        return self._held().stamp()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
