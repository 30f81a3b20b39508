"""A model's files on disk: found and opened without following a link.

Everything is opened relative to the folder that was opened first, part by part, so that a folder
swapped for a link between listing and reading is noticed and never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from assay.artifacts.manifest import clash_findings
from assay.artifacts.names import fault, shown
from assay.errors import ArtifactError
from assay.findings import Finding, Severity

DEFAULT_IGNORES = (".git", ".gitattributes", ".github", ".gitignore")  # OMS v1.0: at the top of the model only

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO put in place must not block us


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One regular file of a model.

    Attributes:
        name: Relative to the model, parts joined by ``/``.
        size: Bytes when it was listed.
    """

    name: str
    size: int


class TreeReader:
    """Opens the files of a model below a folder that is open already.

    Args:
        root: Descriptor of the model's folder; stays open.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._folder: tuple[str, int] | None = None

    def open(self, name: str) -> int:
        """A descriptor of a file, to be closed by the caller; no link is followed on the way.

        Raises:
            ArtifactError: The file is gone, is unreadable, or something else took its place.
        """
        folder, _, base = name.rpartition("/")
        try:
            descriptor = os.open(base, _FILE, dir_fd=self.folder(folder))
        except OSError as err:
            finding = _unreadable(name, err)
            raise ArtifactError(finding.detail, [finding]) from err
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            finding = _finding("artifact.special", name, _kind(mode))
            raise ArtifactError(finding.detail, [finding])
        return descriptor

    def folder(self, folder: str) -> int:
        """The descriptor of a folder of the model; only the last one is kept open, so never close it."""
        if not folder:
            return self._root
        if self._folder is not None and self._folder[0] == folder:
            return self._folder[1]
        self.close()
        at = self._root
        for part in folder.split("/"):
            try:
                below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            finally:
                if at != self._root:
                    os.close(at)
            at = below
        self._folder = (folder, at)
        return at

    def close(self) -> None:
        """Let go of the folder that is kept open; a second call does nothing."""
        if self._folder is not None:
            os.close(self._folder[1])
            self._folder = None


@dataclass(slots=True)
class Tree:
    """An opened model: its folder is held, so that all reads are of the same folder.

    Attributes:
        name: The model's name: that of its folder or file.
        entries: Its regular files, by code point of the name.
        findings: What must not be there: links, devices, odd names. Never descended into or read.
        ignore: Names relative to the model that were left out, sorted.
    """

    name: str
    entries: tuple[FileEntry, ...]
    findings: tuple[Finding, ...]
    ignore: tuple[str, ...]
    _root: int
    _reader: TreeReader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._reader = TreeReader(self._root)

    @classmethod
    def of(cls, root: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None) -> Tree:
        """Open a model and list its files.

        Args:
            root: A folder, or a single file. A link to a folder is followed (a deployment's
                ``current``), a link to a file is refused, as is every link inside.
            ignore: What to leave out. A ``str`` is a name relative to the model; a ``Path`` is a
                path on disk, taken relative to the model when it is relative and does not lie
                in the model as seen from the working folder.
            signature: The signature's path, left out when it lies in the model.

        Raises:
            ArtifactError: The model is not there, is empty, or is neither a folder nor a file.
        """
        path = Path(os.path.abspath(root))  # noqa: PTH100  resolve() would follow the links we look for
        try:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode) and stat.S_ISDIR(path.stat().st_mode):
                found = path.stat()
            if stat.S_ISDIR(found.st_mode):
                return cls._folder_model(path, ignore, signature)
            if stat.S_ISREG(found.st_mode):
                return cls._file_model(path, found.st_size)
        except OSError as err:
            raise ArtifactError(f"{shown(str(root))} cannot be read: {err.strerror or err}") from err
        reason = _kind(found.st_mode)
        raise ArtifactError(f"{shown(str(root))} {reason}", [_finding("artifact.link", path.name, reason)])

    @classmethod
    def _file_model(cls, path: Path, size: int) -> Tree:
        reason = fault(path.name)
        if reason is not None:
            raise ArtifactError(
                f"{shown(path.name)} is refused: {reason}", [_finding("artifact.name", path.name, reason)]
            )
        return cls(path.name, (FileEntry(path.name, size),), (), (), os.open(path.parent, _FOLDER))

    @classmethod
    def _folder_model(cls, path: Path, ignore: Sequence[Path | str], signature: Path | None) -> Tree:
        ignored = _ignored(path, ignore, signature)
        tree = cls(path.name, (), (), tuple(sorted(ignored)), os.open(path, _FOLDER))
        try:
            tree._list(ignored)
        except BaseException:
            tree.close()
            raise
        return tree

    def _list(self, ignored: frozenset[str]) -> None:
        entries: list[FileEntry] = []
        findings: list[Finding] = []
        folders = [""]
        while folders:
            self._list_folder(folders.pop(), ignored, entries, findings, folders)
        entries.sort(key=lambda entry: entry.name)
        findings += clash_findings(tuple(entry.name for entry in entries))
        if not entries:
            findings.append(_finding("artifact.empty", self.name, "has no files: there is nothing to sign or verify"))
            raise ArtifactError("; ".join(finding.detail for finding in findings[:5]), findings)
        self.entries, self.findings = tuple(entries), tuple(findings)

    def _list_folder(
        self,
        folder: str,
        ignored: frozenset[str],
        entries: list[FileEntry],
        findings: list[Finding],
        folders: list[str],
    ) -> None:
        try:
            with os.scandir(self._reader.folder(folder)) as listing:
                for entry in listing:
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if name in ignored:
                        continue
                    reason = fault(name)
                    if reason is not None:
                        findings.append(_finding("artifact.name", name, f"is refused: {reason}"))
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    else:
                        _take(entry, name, entries, findings)
        except OSError as err:
            findings.append(_unreadable(folder or self.name, err))

    def open(self, name: str) -> int:
        """A descriptor of a file, to be closed by the caller; no link is followed on the way.

        Not for several threads at once: each takes a :meth:`reader`.

        Raises:
            ArtifactError: The file is gone, is unreadable, or something else took its place.
        """
        return self._reader.open(name)

    def reader(self) -> TreeReader:
        """Opens files of this model as :meth:`open` does, for one thread; valid while the tree is open."""
        return TreeReader(self._root)

    def close(self) -> None:
        """Let go of the folder; a second call does nothing."""
        self._reader.close()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def walk(root: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None) -> tuple[FileEntry, ...]:
    """The regular files of a model, by code point of the name.

    Args:
        root: A folder, or a single file.
        ignore: What to leave out, as :meth:`Tree.of` takes it.
        signature: The signature's path, left out when it lies in the model.

    Raises:
        ArtifactError: A link, a device, an odd name, two names that are one, or nothing at all;
            the findings name every one.
    """
    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        if tree.findings:
            raise refused(tree.name, tree.findings)
        return tree.entries


def refused(name: str, findings: Sequence[Finding]) -> ArtifactError:
    """The error that carries every reason why a model's files are refused."""
    first = "; ".join(finding.detail for finding in findings[:5])
    more = f"; and {len(findings) - 5} more" if len(findings) > 5 else ""  # noqa: PLR2004
    return ArtifactError(f"model {shown(name)} is refused: {first}{more}", findings)


def _take(entry: os.DirEntry[str], name: str, entries: list[FileEntry], findings: list[Finding]) -> None:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as err:
        findings.append(_unreadable(name, err))
        return
    if stat.S_ISREG(found.st_mode):
        entries.append(FileEntry(name, found.st_size))
    else:
        rule = "artifact.link" if stat.S_ISLNK(found.st_mode) else "artifact.special"
        findings.append(_finding(rule, name, _kind(found.st_mode)))


def _ignored(root: Path, ignore: Sequence[Path | str], signature: Path | None) -> frozenset[str]:
    names = set(DEFAULT_IGNORES)
    real = Path(os.path.realpath(root))
    for what in ignore:
        inside = None if isinstance(what, str) else _inside(real, Path.cwd() / what)
        if inside is None and not Path(what).is_absolute():
            inside = os.path.normpath(PurePosixPath(what))
        if inside == ".":
            finding = _finding("artifact.empty", real.name, "would have nothing left to sign or verify: all is ignored")
            raise ArtifactError(finding.detail, [finding])
        if inside is not None and inside != ".." and not inside.startswith("../"):
            names.add(inside)
    if signature is not None and (inside := _inside(real, Path.cwd() / signature)) is not None:
        names.add(inside)
    return frozenset(names)


def _inside(real: Path, path: Path) -> str | None:
    """The name of a path relative to the model, or None when it lies outside.

    The path's folders are resolved and its last part is not: a link can be ignored itself.
    """
    flat = Path(os.path.normpath(path))
    place = real if flat == real else Path(os.path.realpath(flat.parent)) / flat.name
    return place.relative_to(real).as_posix() if place.is_relative_to(real) else None


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "is a symbolic link; only real files can be signed or verified, so put the file itself there"
    return "is neither a file nor a folder (a device, a pipe or a socket); take it out of the model"


def _finding(rule: str, name: str, what: str) -> Finding:
    return Finding(rule, shown(name), Severity.ERROR, f"{shown(name)} {what}")


def _unreadable(name: str, err: OSError) -> Finding:
    if err.errno in {errno.ELOOP, errno.ENOTDIR}:
        return _finding("artifact.link", name, "was swapped for a link while it was being read")
    if err.errno == errno.ENOENT:
        return _finding("artifact.missing", name, "vanished while the model was being read")
    return _finding("artifact.unreadable", name, f"cannot be read: {err.strerror or err}")
