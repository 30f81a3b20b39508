"""Measure a model on disk: one read of each file gives every digest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.artifacts.digest import CHUNK_BYTES, Pass
from assay.artifacts.files import Tree, refused
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.artifacts.names import shown
from assay.errors import ArtifactError, FormatError
from assay.findings import Finding, Severity
from assay.formats import shelf
from assay.formats.base import Content, Part


@dataclass(frozen=True, slots=True)
class Measured:
    """What one file measures.

    Attributes:
        file: Its size and digests.
        tensors: Its tensors with their digests.
        findings: What is malformed about it.
    """

    file: FileDigest
    tensors: tuple[TensorDigest, ...]
    findings: tuple[Finding, ...]


def measure(
    root: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None, collect: bool = False
) -> Manifest:
    """Measure every file and tensor of a model, keeping no bytes.

    What is measured may be changed afterwards; to load what was measured, take a
    :class:`~assay.artifacts.snapshot.Snapshot` instead.

    Args:
        root: A folder, or a single file.
        ignore: What to leave out, as :meth:`~assay.artifacts.files.Tree.of` takes it.
        signature: The signature's path, left out when it lies in the model.
        collect: Put what is wrong into ``Manifest.findings`` instead of raising, so that a
            comparison can report every reason at once. Never sign such a manifest.

    Raises:
        ArtifactError: The model is missing or empty; without ``collect`` also for links, devices,
            odd names, unreadable files and malformed containers, each named in the findings.
    """
    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        findings = list(tree.findings)
        measured: list[Measured] = []
        buffer = memoryview(bytearray(CHUNK_BYTES))
        for entry in tree.entries:
            try:
                measured.append(_measure_file(tree, entry.name, buffer))
            except ArtifactError as err:
                findings += err.findings
        return manifest(tree.name, measured, tree.ignore, findings, collect=collect)


def manifest(
    name: str,
    measured: Sequence[Measured],
    ignore: tuple[str, ...],
    findings: Sequence[Finding],
    *,
    collect: bool,
) -> Manifest:
    """Put measured files together.

    Raises:
        ArtifactError: Nothing could be measured, or something is wrong and ``collect`` is False.
    """
    every = (*findings, *(finding for one in measured for finding in one.findings))
    if every and (not collect or not measured):
        raise refused(name, every)
    # Two names that are one cannot stand in a manifest; the finding names them, and both are left out.
    clashing = {finding.subject for finding in every if finding.rule == "artifact.name-clash"}
    kept = [one for one in measured if not _lies_in(shown(one.file.name), clashing)]
    return Manifest(
        name,
        tuple(one.file for one in kept),
        tuple(tensor for one in kept for tensor in one.tensors),
        ignore,
        every,
    )


def _lies_in(name: str, places: set[str]) -> bool:
    return name in places or any(name.startswith(f"{place}/") for place in places)


def measure_open(name: str, descriptor: int, buffer: memoryview) -> Measured:
    """Measure one open file from its first byte, whatever its file offset is.

    Args:
        name: Its name in the model; the ending says which format it must have.
        descriptor: Open for reading; stays open.
        buffer: Writable memory to read through.

    Raises:
        ArtifactError: It cannot be read.
    """
    try:
        parts, findings = _parts(name, _OpenFile(descriptor, os.fstat(descriptor).st_size))
        run = Pass([(part.start, part.end) for part in parts])
        while count := os.preadv(descriptor, [buffer], run.size):
            run.update(buffer[:count])
    except OSError as err:
        finding = _finding("artifact.unreadable", name, f"cannot be read: {err.strerror or err}")
        raise ArtifactError(finding.detail, [finding]) from err
    digests, found = run.digests(), run.parts()
    if len(found) != len(parts):
        findings = (*findings, _finding("artifact.unstable", name, "changed while it was being read"))
    tensors = tuple(
        TensorDigest(name, part.name, part.dtype, part.shape, part.start, part.end, digest)
        for part, digest in zip(parts, found, strict=False)
    )
    return Measured(FileDigest(name, run.size, digests.sha256, digests.blake3), tensors, findings)


@dataclass(frozen=True, slots=True)
class _OpenFile:
    """Content that lies in an open file."""

    descriptor: int
    size: int

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self.descriptor, length, start)


def _parts(name: str, content: Content) -> tuple[tuple[Part, ...], tuple[Finding, ...]]:
    container = shelf.find(name)
    if container is None:
        return (), ()
    try:
        return container.parts(content), ()
    except FormatError as err:
        what = f"is not a sound {container.name} file: {err.message}"
        return (), (_finding("artifact.malformed", name, what),)


def _finding(rule: str, name: str, what: str) -> Finding:
    return Finding(rule, shown(name), Severity.ERROR, f"{shown(name)} {what}")


def _measure_file(tree: Tree, name: str, buffer: memoryview) -> Measured:
    descriptor = tree.open(name)
    try:
        return measure_open(name, descriptor, buffer)
    finally:
        os.close(descriptor)
