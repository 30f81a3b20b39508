"""Tensors read one at a time, each handed out only when the bytes in hand have the signed digest.

No copy of the model is taken. A tensor's bytes are read into memory of this process alone, and that
very memory is hashed and then handed out: what is done to the file before, meanwhile or afterwards
is either refused or does not matter. Nothing but tensors is handed out, because the signature says
nothing apart of the other bytes of such a file, its metadata for instance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from blake3 import blake3

from assay.artifacts.files import Tree
from assay.artifacts.filling import Filling, private
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.artifacts.measure import measure
from assay.artifacts.names import shown
from assay.artifacts.snapshot import check_memory
from assay.errors import ArtifactError, FormatError, LoadError
from assay.findings import Finding, Number, Severity
from assay.formats.base import Part
from assay.formats.safetensors import Safetensors

_LARGE_BYTES = 4 * 1024 * 1024  # from here on a tensor is worth hashing on several cores

Refuse = Callable[[Sequence[Finding]], Exception]


def covered(signed: Manifest) -> tuple[str, ...]:
    """The safetensors files whose signed tensors say where each of their bytes belongs.

    Args:
        signed: The manifest from the signature.

    Returns:
        Their names. In such a file everything behind the header is a signed tensor.
    """
    container = Safetensors()
    return tuple(
        file.name
        for file in signed.files
        if container.recognises(file.name)
        and file.size is not None
        and file.name in signed.by_file
        and _without_gaps(sorted(signed.by_file[file.name].values(), key=_place), file.size)
    )


def lazily_readable(signed: Manifest) -> bool:
    """Whether every safetensors file of a model, and there is one, is :func:`covered`."""
    container = Safetensors()
    wanted = [file.name for file in signed.files if container.recognises(file.name)]
    return bool(wanted) and set(wanted) == set(covered(signed))


def measure_rest(root: Path, signed: Manifest, *, ignore: Sequence[Path | str], signature: Path | None) -> Manifest:
    """Measure a model but for the tensors that are :func:`covered`: those a :class:`TensorReader` checks later.

    Of a covered file, size and header are held against the signature now, and its digests are
    taken on trust. So the answer must not be used to tell whether the files are as signed.

    Args:
        root: The model on disk.
        signed: The manifest from the signature.
        ignore: What to leave out, as :meth:`~assay.artifacts.files.Tree.of` takes it.
        signature: The signature's path, left out when it lies in the model.

    Raises:
        ArtifactError: The model is missing or empty.
    """
    trusted = set(covered(signed))
    files: list[FileDigest] = []
    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        later = [entry.name for entry in tree.entries if entry.name in trusted]
        findings: list[Finding] = []
        for name in later:
            findings += _header_on_disk(tree, name, signed)
            files.append(signed.by_name[name])
        if len(later) == len(tree.entries):
            return Manifest(tree.name, tuple(files), (), tree.ignore, (*tree.findings, *findings))
    rest = measure(root, ignore=[*ignore, *later], signature=signature, collect=True)
    every = sorted([*files, *rest.files], key=lambda file: file.name)
    # An index names shards that were left out here; it agreed with them when it was signed, and is checked as a file.
    others = [finding for finding in rest.findings if finding.rule != "artifact.shard-index"]
    return Manifest(rest.name, tuple(every), rest.tensors, tree.ignore, (*others, *findings))


def _header_on_disk(tree: Tree, name: str, signed: Manifest) -> tuple[Finding, ...]:
    try:
        descriptor = tree.open(name)
    except ArtifactError as err:
        return err.findings
    try:
        return header_findings(descriptor, name, signed)
    finally:
        os.close(descriptor)


class TensorReader:
    """The tensors of a model's safetensors files, each checked when it is read. Close it after the last read.

    Args:
        root: The model on disk.
        signed: The manifest from the signature; :func:`lazily_readable` holds for it.
        signature: The signature's path, left out when it lies in the model.
        refuse: Makes the error to raise from the reasons.

    Raises:
        ArtifactError: The model cannot be read.
        LoadError: Two files hold a tensor of one name.
    """

    def __init__(self, root: Path, signed: Manifest, *, signature: Path | None, refuse: Refuse) -> None:
        self._refuse = refuse
        self._tensors = _by_name(signed)
        self._descriptors: dict[str, int] = {}
        findings: list[Finding] = []
        try:
            with Tree.of(root, ignore=signed.ignore, signature=signature) as tree:
                for name in covered(signed):
                    findings += self._open(tree, name, signed)
            if findings:
                raise refuse(findings)  # noqa: TRY301  the descriptors opened so far are closed below
        except BaseException:
            self.close()
            raise

    def _open(self, tree: Tree, name: str, signed: Manifest) -> tuple[Finding, ...]:
        try:
            self._descriptors[name] = tree.open(name)
        except ArtifactError as err:
            return err.findings
        return header_findings(self._descriptors[name], name, signed)

    def parts(self) -> Mapping[str, Part]:
        """The signed tensors by name: type, shape and place."""
        return {
            name: Part(name, tensor.dtype, tensor.shape, tensor.start, tensor.end)
            for name, tensor in self._tensors.items()
        }

    def read(self, name: str) -> memoryview:
        """One tensor's bytes, in memory of its own that nobody else has.

        Args:
            name: One of :meth:`parts`.

        Raises:
            VerificationError: The bytes are not the signed ones; the finding names tensor and range.
            LoadError: The reader was closed.
        """
        tensor = self._tensors[name]
        return self._read(tensor.file, [tensor])[name]

    def read_all(self) -> Mapping[str, memoryview]:
        """Every tensor's bytes; those of one file share one block of memory.

        Raises:
            VerificationError: Bytes are not the signed ones; the findings name each tensor and range.
            ArtifactError: Less memory is free than the tensors need.
            LoadError: The reader was closed.
        """
        check_memory("reading every tensor", sum(tensor.end - tensor.start for tensor in self._tensors.values()))
        found: dict[str, memoryview] = {}
        for file in self._files():
            found |= self._read(file, [tensor for tensor in self._tensors.values() if tensor.file == file])
        return {name: found[name] for name in self._tensors}

    def close(self) -> None:
        """Let go of the files; what was read stays."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _files(self) -> Sequence[str]:
        return tuple(dict.fromkeys(tensor.file for tensor in self._tensors.values()))

    def _read(self, file: str, tensors: Sequence[TensorDigest]) -> dict[str, memoryview]:
        if file not in self._descriptors:
            raise LoadError(f"{shown(file)} was closed with its model: read the tensors before that")
        ordered = sorted(tensors, key=_place)
        base = ordered[0].start
        memory = private(ordered[-1].end - base)
        with Filling(self._descriptors[file], base, memory) as filling:
            findings = [finding for tensor in ordered for finding in _check(tensor, memory, base, filling)]
        if findings:
            raise self._refuse(findings)
        return {tensor.name: memory[tensor.start - base : tensor.end - base] for tensor in tensors}


def header_findings(descriptor: int, name: str, signed: Manifest) -> tuple[Finding, ...]:
    """What the size and the header of an open safetensors file say other than the signature.

    Args:
        descriptor: Open for reading; stays open.
        name: The file's name in the model.
        signed: The manifest from the signature.
    """
    try:
        content = _OpenFile(descriptor)
        size = signed.by_name[name].size
        if content.size != size:
            detail = f"{shown(name)} has {content.size} bytes, signed {size}"
            return (Finding("artifact.changed", shown(name), Severity.CRITICAL, detail),)
        found = {part.name: part for part in Safetensors().parts(content)}
    except FormatError as err:
        detail = f"{shown(name)} is not a sound safetensors file: {err.message}"
        return (Finding("artifact.malformed", shown(name), Severity.CRITICAL, detail),)
    except OSError as err:
        detail = f"{shown(name)} cannot be read: {err.strerror or err}"
        return (Finding("artifact.unreadable", shown(name), Severity.ERROR, detail),)
    wanted = signed.by_file[name]
    return (
        *(
            _finding("missing", tensor, "was signed and is not there")
            for one, tensor in wanted.items()
            if one not in found
        ),
        *(_extra(name, part) for one, part in found.items() if one not in wanted),
        *(
            _finding(
                "retyped",
                tensor,
                f"is {found[one].dtype} {list(found[one].shape)} in the header at "
                f"bytes {found[one].start} to {found[one].end}, signed as {tensor.dtype} {list(tensor.shape)}",
            )
            for one, tensor in wanted.items()
            if one in found and _described(found[one]) != _described(tensor)
        ),
    )


def _described(one: Part | TensorDigest) -> tuple[object, ...]:
    return (one.dtype, one.shape, one.start, one.end)


def _place(tensor: TensorDigest) -> tuple[int, int]:
    return (tensor.start, tensor.end)


def _without_gaps(tensors: Sequence[TensorDigest], size: int) -> bool:
    ends = [tensors[0].start, *(tensor.end for tensor in tensors)]
    return ends[-1] == size and all(tensor.start == end for tensor, end in zip(tensors, ends, strict=False))


def _by_name(signed: Manifest) -> dict[str, TensorDigest]:
    found: dict[str, TensorDigest] = {}
    for file in covered(signed):
        for name, tensor in signed.by_file[file].items():
            if name in found:
                raise LoadError(f"{shown(file)} holds tensor {name!a}, and so does another file of the model")
            found[name] = tensor
    return found


class _OpenFile:
    """Content that lies in an open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, start)


def _check(tensor: TensorDigest, memory: memoryview, base: int, filling: Filling) -> tuple[Finding, ...]:
    """Hash the memory itself while it is being filled behind."""
    # One core reads meanwhile.
    run = blake3(max_threads=max(1, (os.cpu_count() or 1) - 1) if tensor.end - tensor.start > _LARGE_BYTES else 1)
    at, end = tensor.start - base, tensor.end - base
    while at < end:
        there = min(filling.beyond(at), end)
        if there <= at:
            return (_finding("changed", tensor, f"ends at byte {base + there}: the file was cut"),)
        run.update(memory[at:there])
        at = there
    if run.hexdigest() != tensor.blake3:
        return (_finding("changed", tensor, "has other bytes than were signed"),)
    return ()


def _finding(rule: str, tensor: TensorDigest, what: str) -> Finding:
    file, name = shown(tensor.file), shown(tensor.name)
    detail = f"tensor {name} of {file} (bytes {tensor.start} to {tensor.end}) {what}"
    numbers: dict[str, Number] = {"start_byte": tensor.start, "end_byte": tensor.end}
    return Finding(f"artifact.tensor-{rule}", f"{file}:{name}", Severity.CRITICAL, detail, numbers)


def _extra(file: str, part: Part) -> Finding:
    subject = f"{shown(file)}:{shown(part.name)}"
    detail = f"tensor {shown(part.name)} of {shown(file)} is there and was not signed"
    return Finding("artifact.tensor-extra", subject, Severity.CRITICAL, detail)
