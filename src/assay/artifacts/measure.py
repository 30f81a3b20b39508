"""Measure a model: where its tensors lie is read first, then each byte is read once for every digest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from assay.artifacts.digest import Wanted
from assay.artifacts.files import FileEntry, Tree, refused
from assay.artifacts.hashing import Hashed, Reader, Report, hash_files, unreadable
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.artifacts.names import shown
from assay.artifacts.plan import Plan, unstable
from assay.errors import AssayError
from assay.findings import Finding
from assay.formats.base import OPAQUE


class Listed(Protocol):
    """The files that a model has."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """Its files, by code point of the name."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What must not be there."""
        ...

    @property
    def ignore(self) -> tuple[str, ...]:
        """Names that were left out, sorted."""
        ...


class Source(Listed, Protocol):
    """A model's files where they can be opened; an opened :class:`~assay.artifacts.files.Tree` is one."""

    def reader(self) -> Reader:
        """Opens its files; each thread takes one."""
        ...


def measure(
    root: Path,
    *,
    ignore: Sequence[Path | str] = (),
    signature: Path | None = None,
    collect: bool = False,
    wanted: Wanted = "both",
    report: Report | None = None,
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
        wanted: Which digests of files; tensors are hashed with ``both`` only, and only such a
            manifest can be signed.
        report: Called with the number of bytes hashed since the last call, from any thread.

    Raises:
        ArtifactError: The model is missing or empty; without ``collect`` also for links, devices,
            odd names, unreadable files and malformed containers, each named in the findings.
        ConfigError: ASSAY_THREADS is no number of threads.
    """
    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        return measure_source(tree, collect=collect, wanted=wanted, report=report)


def measure_source(
    source: Source, *, collect: bool = False, wanted: Wanted = "both", report: Report | None = None
) -> Manifest:
    """Measure files that are open already, as :func:`measure` does.

    Raises:
        ArtifactError: Nothing could be measured, or something is wrong and ``collect`` is False.
        ConfigError: ASSAY_THREADS is no number of threads.
    """
    plan = _plan(source)
    if wanted != "both":
        plan = Plan(findings=plan.findings, unread=plan.unread)
    found = _hash(source, plan, wanted, report)
    return put_together(source, plan, found, collect=collect)


def measure_again(
    root: Path,
    signed: Manifest,
    *,
    ignore: Sequence[Path | str] = (),
    signature: Path | None = None,
    report: Report | None = None,
) -> Manifest | None:
    """Measure by BLAKE3 of whole files alone, several times as fast as :func:`measure`.

    Every check is made but two: SHA-256, and the digests of tensors one by one. That each tensor is
    where and what was signed is read from the containers.

    Args:
        root: A folder, or a single file.
        signed: What it must be, with a BLAKE3 digest of each file.
        ignore: What to leave out, as :meth:`~assay.artifacts.files.Tree.of` takes it.
        signature: The signature's path, left out when it lies in the model.
        report: Called with the number of bytes hashed since the last call, from any thread.

    Returns:
        The manifest with the signed tensors; None when anything is not as signed, so that
        :func:`measure` must say what.

    Raises:
        ArtifactError: The model is missing or empty.
        ConfigError: ASSAY_THREADS is no number of threads.
    """
    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        plan = _plan(tree)
        if tree.findings or plan.findings or plan.unread or not _placed_as_signed(plan, signed):
            return None
        found = _hash(tree, Plan(), "blake3", report)
    files = [
        FileDigest(entry.name, one.size, "", one.blake3)
        for entry in tree.entries
        if isinstance(one := found[entry.name], Hashed)
    ]
    if not _files_as_signed(files, signed):
        return None
    return Manifest(tree.name, tuple(files), signed.tensors, tree.ignore)


def _files_as_signed(files: Sequence[FileDigest], signed: Manifest) -> bool:
    return {file.name for file in files} == signed.by_name.keys() and all(
        file.blake3 == signed.by_name[file.name].blake3 and signed.by_name[file.name].size in (None, file.size)
        for file in files
    )


def _placed_as_signed(plan: Plan, signed: Manifest) -> bool:
    """Whether the containers hold the signed tensors; a container signed without tensors may hold any."""
    for name, placed in plan.placed.items():
        wanted = signed.by_file.get(name, {})
        parts = {one.part.name: one.part for one in placed}
        if wanted and (
            parts.keys() != wanted.keys()
            or any(
                (part.dtype, part.shape, part.start, part.end)
                != (wanted[tensor].dtype, wanted[tensor].shape, wanted[tensor].start, wanted[tensor].end)
                for tensor, part in parts.items()
            )
        ):
            return False
    return True


def measure_descriptors(
    name: str, descriptors: Mapping[str, int], ignore: tuple[str, ...], findings: Sequence[Finding]
) -> Manifest:
    """Measure files that this process holds open, from their first bytes, whatever their file offsets are.

    Args:
        name: The model's name.
        descriptors: Open for reading, by name; they stay open.
        ignore: Names that were left out.
        findings: What was wrong with the files where they were found; it goes into the manifest.

    Raises:
        ArtifactError: Nothing could be measured.
        ConfigError: ASSAY_THREADS is no number of threads.
    """
    entries = tuple(FileEntry(one, os.fstat(descriptors[one]).st_size) for one in sorted(descriptors))
    return measure_source(_Held(name, descriptors, entries, ignore, tuple(findings)), collect=True)


class _Held:
    """Files that this process holds open."""

    def __init__(
        self,
        name: str,
        descriptors: Mapping[str, int],
        entries: tuple[FileEntry, ...],
        ignore: tuple[str, ...],
        findings: tuple[Finding, ...],
    ) -> None:
        self.name, self.entries, self.ignore, self.findings = name, entries, ignore, findings
        self._descriptors = descriptors

    def reader(self) -> Reader:
        return self

    def open(self, name: str) -> int:
        try:
            return os.dup(self._descriptors[name])
        except OSError as err:
            raise unreadable(name, err) from err

    def close(self) -> None:
        """Nothing is kept."""


def _plan(source: Source) -> Plan:
    reader = source.reader()
    try:
        return Plan.of(source.entries, reader)
    finally:
        reader.close()


def _hash(source: Source, plan: Plan, wanted: Wanted, report: Report | None) -> Mapping[str, Hashed | AssayError]:
    jobs = [plan.job(entry) for entry in source.entries if entry.name not in plan.unread]
    return hash_files(jobs, source.reader, wanted=wanted, report=report)


def put_together(
    source: Listed, plan: Plan, found: Mapping[str, Hashed | AssayError], *, collect: bool = False
) -> Manifest:
    """Make the manifest of what was measured, in the order of the files.

    Args:
        source: Which files there are, and what is wrong with them already.
        plan: Where the tensors lie.
        found: What hashing gave, by name.
        collect: As for :func:`measure`.

    Raises:
        ArtifactError: Nothing could be measured, or something is wrong and ``collect`` is False.
    """
    files: list[FileDigest] = []
    tensors: list[TensorDigest] = []
    findings = [*source.findings, *plan.findings]
    # Two names that are one cannot stand in a manifest; the finding names them, and both are left out.
    clashing = {finding.subject for finding in findings if finding.rule == "artifact.name-clash"}
    for entry in source.entries:
        one = plan.unread[entry.name] if entry.name in plan.unread else found[entry.name]
        if isinstance(one, AssayError):
            findings += one.findings
            continue
        listed, trouble = _tensors(entry.name, plan, one)
        findings += trouble
        if not _lies_in(shown(entry.name), clashing):
            files.append(FileDigest(entry.name, one.size, one.sha256, one.blake3))
            tensors += listed
    if findings and (not collect or not files):
        raise refused(source.name, findings)
    return Manifest(source.name, tuple(files), tuple(tensors), source.ignore, tuple(findings))


def _tensors(name: str, plan: Plan, found: Hashed) -> tuple[list[TensorDigest], list[Finding]]:
    late = plan.late.get(name)
    findings = [] if late is None else [late]
    if late is None and not all(found.parts):
        findings = [unstable(name)]
    contents = plan.contents.get(name, {})
    tensors = []
    for position, (one, digest) in enumerate(zip(plan.placed.get(name, ()), found.parts, strict=True)):
        part = one.part
        if not digest:
            continue
        content = "" if part.dtype == OPAQUE else digest if part.plain else contents.get(position, "")
        tensors.append(TensorDigest(name, part.name, part.dtype, part.shape, part.start, part.end, digest, content))
    return tensors, findings


def _lies_in(name: str, places: set[str]) -> bool:
    return name in places or any(name.startswith(f"{place}/") for place in places)
