"""A sealed copy of a model: the bytes that are verified are the bytes that are loaded.

Each file is copied into an anonymous memory file (memfd_create(2)) that is then sealed against
writing, growing and shrinking (fcntl(2), F_ADD_SEALS), and only then hashed. What happens on disk
afterwards does not matter. The copy counts as shared memory until it is closed.

Where the kernel offers no memory files (or forbids them), the copy goes into a folder only its
owner can enter. That keeps out who can write to the model store, but not who runs as the same
user; :attr:`Snapshot.sealed` says which of the two it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from assay.artifacts.digest import CHUNK_BYTES
from assay.artifacts.files import FileEntry, Tree
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure_descriptors
from assay.artifacts.names import shown
from assay.errors import ArtifactError
from assay.findings import Finding, Severity

_SPARE_FILES = 64  # descriptors left for everything else
_NOEXEC_SEAL = 0x8  # MFD_NOEXEC_SEAL, Linux 6.3; not yet named by Python 3.11's os


class Snapshot:
    """A private copy of a model's files, sealed where the kernel can.

    Take one with :meth:`of`; use it as a context manager or call :meth:`close`. Views and paths
    are valid until then.
    """

    def __init__(self, name: str, ignore: tuple[str, ...], findings: tuple[Finding, ...]) -> None:
        self.name = name
        self._ignore = ignore
        self._findings = list(findings)
        self._descriptors: dict[str, int] = {}
        self._views: dict[str, memoryview] = {}
        self._folder: str | None = None
        self._real: str | None = None
        self._store: str | None = None
        self._manifest: Manifest | None = None
        self._pid = os.getpid()

    @classmethod
    def of(cls, root: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None) -> Snapshot:
        """Copy and seal every file of a model.

        Links, devices and odd names are never copied; they are in the manifest's findings, so that
        a comparison with what was signed refuses.

        Args:
            root: A folder, or a single file.
            ignore: What to leave out, as :meth:`~assay.artifacts.files.Tree.of` takes it.
            signature: The signature's path, left out when it lies in the model.

        Raises:
            ArtifactError: The model is missing, empty, or larger than the memory there is, or has
                more files than this process may open.
        """
        with Tree.of(root, ignore=ignore, signature=signature) as tree:
            check_memory(f"model {shown(tree.name)}", sum(entry.size for entry in tree.entries))
            _check_descriptors(len(tree.entries))
            snapshot = cls(tree.name, tree.ignore, tree.findings)
            try:
                for entry in tree.entries:
                    snapshot._take(tree, entry)
            except BaseException:
                snapshot.close()
                raise
            return snapshot

    @property
    def sealed(self) -> bool:
        """Whether no process at all can change the copy, this one included."""
        return self._store is None

    def names(self) -> tuple[str, ...]:
        """The names of the files, by code point."""
        return tuple(self._descriptors)

    def view(self, name: str) -> memoryview:
        """The bytes of a file, read-only.

        Raises:
            ArtifactError: There is no such file.
        """
        if name not in self._views:
            descriptor = self._descriptor(name)
            size = os.fstat(descriptor).st_size
            # Private and read-only: a shared map of a sealed file is refused before Linux 6.7.
            self._views[name] = (
                memoryview(mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
                if size
                else memoryview(b"")
            )
        return self._views[name]

    def path(self, name: str) -> str:
        """A path under which this process and its children can open a file's copy.

        Raises:
            ArtifactError: There is no such file.
        """
        descriptor = self._descriptor(name)
        if self._store is not None and not Path("/proc/self/fd").is_dir():
            return str(Path(self._store) / str(list(self._descriptors).index(name)))
        # Never /proc/self: in another process the number is another file.
        return f"/proc/{self._pid}/fd/{descriptor}"

    def folder(self) -> str:
        """A folder with the model's own file names, each leading to its copy; gone after :meth:`close`."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="assay-")
            for name in self._descriptors:
                link = Path(self._folder) / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.path(name))
        return self._folder

    def real_folder(self) -> str:
        """A folder of real files, written from the copy, for what resolves links; gone after :meth:`close`.

        Only its owner can enter it, and nothing seals it: who runs as the same user can change it.

        Raises:
            ArtifactError: The disk does not take it.
        """
        if self._real is None:
            self._real = tempfile.mkdtemp(prefix="assay-")  # mode 0700
            try:
                for name in self._descriptors:
                    place = Path(self._real) / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(self.view(name))
                    place.chmod(0o400)
            except OSError as err:
                raise ArtifactError(f"the verified files cannot be written to {self._real}: {err.strerror}") from err
        return self._real

    def manifest(self) -> Manifest:
        """The manifest of the copy; what was wrong on disk is in its findings.

        Raises:
            ArtifactError: Nothing could be copied.
        """
        if self._manifest is None:
            self._manifest = measure_descriptors(self.name, self._descriptors, self._ignore, self._findings)
        return self._manifest

    def close(self) -> None:
        """Let go of the copy; a second call does nothing. Memory that a loaded model still uses stays until it goes."""
        self._views.clear()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        for folder in (self._folder, self._real, self._store):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._folder = self._real = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _descriptor(self, name: str) -> int:
        if name not in self._descriptors:
            raise ArtifactError(f"the model has no file {shown(name)}")
        return self._descriptors[name]

    def _take(self, tree: Tree, entry: FileEntry) -> None:
        try:
            source = tree.open(entry.name)
        except ArtifactError as err:
            self._findings += err.findings
            return
        try:
            size = os.fstat(source).st_size
            self._descriptors[entry.name] = self._copy(source, size, entry.name)
        except OSError as err:
            detail = f"{shown(entry.name)} cannot be copied into memory: {err.strerror or err}"
            finding = Finding("artifact.unreadable", shown(entry.name), Severity.ERROR, detail)
            raise ArtifactError(detail, [finding]) from err
        finally:
            os.close(source)

    def _copy(self, source: int, size: int, name: str) -> int:
        target = self._sealable() if self._store is None else None
        if target is None:
            return self._copy_privately(source, size, name)
        try:
            _pour(source, target, size, name)
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(target, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            os.close(target)
            raise
        return target

    def _sealable(self) -> int | None:
        """A new memory file, or None where the first one of this snapshot cannot be made."""
        if not hasattr(os, "memfd_create"):
            return None
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        for extra in (_NOEXEC_SEAL, 0):  # older kernels refuse a flag that they do not know
            try:
                return os.memfd_create("assay", flags | extra)
            except OSError as err:
                reason = err
        if self._descriptors:  # half sealed, half not would let `sealed` lie
            raise reason
        return None

    def _copy_privately(self, source: int, size: int, name: str) -> int:
        if self._store is None:
            self._store = tempfile.mkdtemp(prefix="assay-")  # mode 0700
        place = Path(self._store) / str(len(self._descriptors))
        target = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            _pour(source, target, size, name)
        finally:
            os.close(target)
        return os.open(place, os.O_RDONLY | os.O_CLOEXEC)


def _pour(source: int, target: int, size: int, name: str) -> None:
    """Copy ``size`` bytes. What was appended since then is left behind: the digests decide about the rest."""
    buffer = memoryview(bytearray(min(size, CHUNK_BYTES)))
    done = 0
    while done < size:
        count = os.preadv(source, [buffer[: size - done]], done)
        if count == 0:
            detail = f"{shown(name)} shrank while it was being read"
            raise ArtifactError(detail, [Finding("artifact.unstable", shown(name), Severity.ERROR, detail)])
        written = 0
        while written < count:
            written += os.write(target, buffer[written:count])
        done += count


def check_memory(what: str, needed: int) -> None:
    """Refuse early what does not fit into memory.

    Args:
        what: For the message.
        needed: Bytes.

    Raises:
        ArtifactError: Fewer bytes are free.
    """
    free = _free_memory_bytes()
    if needed > free:
        raise ArtifactError(
            f"{what} needs {needed} bytes of memory and {free} are free: loading exactly the verified bytes needs "
            f"{needed - free} bytes more"
        )


def _free_memory_bytes() -> int:
    """Memory that can be had: what the kernel calls available, and the limit of the container."""
    free = sys.maxsize
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with contextlib.suppress(OSError, ValueError):  # "max", or no such file, means no limit
        free = min(free, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return free


def _check_descriptors(files: int) -> None:
    import resource

    needed = 2 * files + _SPARE_FILES  # a view holds a second one
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ArtifactError(
            f"the model has {files} files and this process may open {hard}: raise the limit (ulimit -n {needed})"
        )
    with contextlib.suppress(ValueError, OSError):  # then opening a file says so
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
