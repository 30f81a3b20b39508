"""A model's tensors on disk, read piece by piece; nothing is kept in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from blake3 import blake3

from assay.artifacts.digest import CHUNK_BYTES
from assay.artifacts.files import Tree, refused
from assay.artifacts.names import shown
from assay.errors import ArtifactError, FormatError
from assay.formats import shelf
from assay.formats.base import OPAQUE, Format, Part

# Of these, everything beside the parts is names and places; others also hold graphs, settings, code.
ONLY_TENSORS = frozenset({"safetensors", "npz", "npy"})
# Of these, everything that has a meaning is a part; what else differs are names of tensors, dates and places.
ALL_PARTS = ONLY_TENSORS | {"PyTorch", "skops"}
# PyTorch writes a digest of the other members here: it differs whenever they do.
NO_CONTENT = frozenset({".data/serialization_id"})


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor where it lies.

    Attributes:
        file: The file that names it, relative to the model.
        name: The name the container gives it.
        dtype: The element type, as :class:`~assay.formats.base.Part` has it.
        shape: Elements per dimension.
        part: The part itself.
    """

    file: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    part: Part


class Weights:
    """An opened model: its tensors by place, and the files that are no tensors. Close it, or use ``with``.

    Args:
        root: A folder, or a single file.
        ignore: What to leave out, as :meth:`~assay.artifacts.files.Tree.of` takes it.
        signature: The signature's path, left out when it lies in the model.

    Attributes:
        name: The model's name: that of its folder or file.
        sizes: Bytes of each file.
        tensors: Every tensor, in the order of files and bytes.
        opaque: Parts that are no tensors: members of archives, trees, settings.
        formats: The format of each file that has one.
        notes: What is malformed; such a file counts as bytes.
        damaged: The files that are.

    Raises:
        ArtifactError: The model is missing or empty, or holds links, devices or odd names.
    """

    def __init__(self, root: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None) -> None:
        self._tree = Tree.of(root, ignore=ignore, signature=signature)
        self.name = self._tree.name
        self.sizes: Mapping[str, int] = {entry.name: entry.size for entry in self._tree.entries}
        self.formats: dict[str, str] = {}
        self.notes: list[str] = []
        self.damaged: list[str] = []
        self._containers: dict[str, Format] = {}
        tensors: list[Stored] = []
        opaque: list[Stored] = []
        try:
            if self._tree.findings:
                raise refused(self.name, self._tree.findings)  # noqa: TRY301  the tree is closed below
            for file in self.sizes:
                for part in self._parts(file):
                    kind = opaque if part.dtype == OPAQUE else tensors
                    kind.append(Stored(file, part.name, part.dtype, part.shape, part))
        except BaseException:
            self.close()
            raise
        self.tensors, self.opaque = tuple(tensors), tuple(opaque)

    def _parts(self, file: str) -> tuple[Part, ...]:
        with self._opened(file) as content:
            try:
                container = shelf.find(file, content)
                if container is None:
                    return ()
                self.formats[file] = container.name
                self._containers[file] = container
                return container.parts(content)
            except FormatError as err:
                self.damaged.append(file)
                self.notes.append(f"{shown(file)} is compared as bytes, it cannot be read as tensors: {err.message}")
                return ()

    def elements(self, tensor: Stored) -> Iterator[bytes]:
        """The tensor's elements, little-endian and row-major, in pieces.

        Raises:
            FormatError: They cannot be had, for instance because packed bytes are damaged.
            ArtifactError: The file cannot be read any more.
        """
        part = tensor.part
        file = str(PurePosixPath(tensor.file).parent / part.file) if part.file else tensor.file
        with self._opened(file) as content:
            yield from self._containers[tensor.file].elements(content, part)

    def digest(self, tensor: Stored) -> str:
        """BLAKE3 of the tensor's elements, hexadecimal."""
        run = blake3()
        for piece in self.elements(tensor):
            run.update(piece)
        return run.hexdigest()

    def file_digest(self, file: str) -> str:
        """BLAKE3 of a whole file, hexadecimal."""
        run = blake3()
        with self._opened(file) as content:
            for at in range(0, content.size, CHUNK_BYTES):
                run.update(content.read(at, CHUNK_BYTES))
        return run.hexdigest()

    @contextmanager
    def _opened(self, file: str) -> Iterator[_OpenFile]:
        descriptor = self._tree.open(file)
        try:
            yield _OpenFile(shown(file), descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the folder; a second call does nothing."""
        self._tree.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _OpenFile:
    """Content that lies in an open file."""

    name: str
    descriptor: int
    size: int

    def read(self, start: int, length: int) -> bytes:
        try:
            return os.pread(self.descriptor, length, start)
        except OSError as err:
            raise ArtifactError(f"{self.name} cannot be read: {err.strerror or err}") from err


def same_elements(one: Iterator[bytes], other: Iterator[bytes]) -> bool:
    """Whether two streams hold the same bytes, however they are cut into pieces."""
    left = right = memoryview(b"")
    while True:
        left = left if left.nbytes else memoryview(next(one, b""))
        right = right if right.nbytes else memoryview(next(other, b""))
        length = min(left.nbytes, right.nbytes)
        if not length:
            return left.nbytes == right.nbytes
        if left[:length] != right[:length]:
            return False
        left, right = left[length:], right[length:]


def blocks(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """The stream cut into blocks of ``length`` bytes; the last may be shorter."""
    held: list[memoryview] = []
    size = 0
    for piece in pieces:
        rest = memoryview(piece)
        while size + rest.nbytes >= length:
            cut = length - size
            yield b"".join([*held, rest[:cut]])
            rest, held, size = rest[cut:], [], 0
        if rest.nbytes:
            held.append(rest)
            size += rest.nbytes
    if held:
        yield b"".join(held)
