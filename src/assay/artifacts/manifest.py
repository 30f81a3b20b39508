"""A model's manifest: every file and every tensor with its digests. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from assay.artifacts.listing import Listed, Listing
from assay.artifacts.names import clashes, fault, shown
from assay.errors import ArtifactError
from assay.findings import Finding, Severity

_HEX = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file of a model.

    Attributes:
        name: Relative to the model, parts joined by ``/``; a single file by its own name.
        size: Bytes, or None when a foreign signature did not record it.
        sha256: 64 hexadecimal digits, or empty when a foreign signature did not record it.
        blake3: 64 hexadecimal digits, or empty when a foreign signature did not record it.
        listed: The digests that a signature lists when they are others: BLAKE2b, or of shards.
    """

    name: str
    size: int | None
    sha256: str
    blake3: str
    listed: Listed | None = None

    def __post_init__(self) -> None:
        if not self.sha256 and not self.blake3 and self.listed is None:
            raise ArtifactError(f"{shown(self.name)} has no digest")
        _check_hex(self.name, self.sha256, self.blake3)
        if self.size is not None and self.size < 0:
            raise ArtifactError(f"{shown(self.name)} has a negative size")


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor, or one member of an archive.

    Attributes:
        file: The file it lies in, as :class:`FileDigest` names it.
        name: The name the container gives it.
        dtype: The element type: canonical where there is one, else in the container's own words.
        shape: Elements per dimension.
        start: First byte inside the file.
        end: One past the last byte inside the file.
        blake3: BLAKE3 of these bytes, 64 hexadecimal digits.
        content: BLAKE3 of the elements, little-endian and row-major, whatever the container does to
            them; equal to ``blake3`` where it does nothing, and empty for what is no tensor.
    """

    file: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    blake3: str
    content: str = ""

    def __post_init__(self) -> None:
        if not self.blake3:
            raise ArtifactError(f"tensor {shown(self.name)} of {shown(self.file)} has no digest")
        _check_hex(self.name, self.blake3, self.content)
        if not 0 <= self.start <= self.end or any(size < 0 for size in self.shape):
            raise ArtifactError(f"tensor {shown(self.name)} of {shown(self.file)} has no sound shape or byte range")


@dataclass(frozen=True)
class Manifest:
    """What a model consists of.

    Attributes:
        name: The model's name: that of its folder or file.
        files: Every file, in listed order; a measured manifest lists them by code point.
        tensors: Every tensor of the files whose format is known.
        ignore: Names relative to the model that were left out, sorted.
        findings: What is wrong with the files as they were found (a link, a malformed container).
            A manifest with findings is never signed, and :func:`~assay.artifacts.compare.compare`
            refuses it.

    Raises:
        ArtifactError: No files, a name that may not be, two names that are one, or a tensor of a
            file that is not listed.
    """

    name: str
    files: tuple[FileDigest, ...]
    tensors: tuple[TensorDigest, ...] = ()
    ignore: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if not self.files:  # all() of nothing is True: an empty model would match anything
            raise ArtifactError(f"model {shown(self.name)} has no files")
        reasons = [
            Finding("artifact.name", shown(file.name), Severity.ERROR, f"{shown(file.name)} is refused: {reason}")
            for file in self.files
            if (reason := fault(file.name)) is not None
        ]
        reasons += clash_findings(tuple(file.name for file in self.files))
        listed = {file.name for file in self.files}
        seen: set[tuple[str, str]] = set()
        for tensor in self.tensors:
            key = (tensor.file, tensor.name)
            if tensor.file not in listed or key in seen:
                subject = f"{shown(tensor.file)}:{shown(tensor.name)}"
                detail = f"tensor {subject} is listed twice or belongs to no listed file"
                reasons.append(Finding("artifact.tensor-listing", subject, Severity.ERROR, detail))
            seen.add(key)
        if reasons:
            raise ArtifactError("; ".join(reason.detail for reason in reasons[:5]), reasons)

    @cached_property
    def root(self) -> str:
        """The root digest: SHA-256 of all file digests in listed order, hexadecimal (OMS v1.0, 5.2).

        Names and sizes are not in it; the signed manifest binds those.
        """
        whole = all(file.sha256 for file in self.files)
        texts = (file.sha256 if whole else file.blake3 or file.sha256 or _joined(file.listed) for file in self.files)
        return hashlib.sha256(b"".join(map(bytes.fromhex, texts))).hexdigest()

    @cached_property
    def tensor_root(self) -> str:
        """The digest of all tensors whatever containers they lie in; empty without tensors.

        SHA-256, hexadecimal, over one line per tensor, ``[name, dtype, shape, content]`` as canonical
        JSON (RFC 8785), the lines sorted and joined by newlines. The same weights converted from one
        container to another keep it when the names are kept.
        """
        lines = sorted(
            json.dumps(
                [one.name, one.dtype, list(one.shape), one.content], ensure_ascii=False, separators=(",", ":")
            ).encode("utf-8", "surrogatepass")
            for one in self.tensors
            if one.content
        )
        return hashlib.sha256(b"\n".join(lines)).hexdigest() if lines else ""

    @cached_property
    def listing(self) -> Listing | None:
        """Which digests the signature lists, when they are not SHA-256 or BLAKE3 of whole files."""
        return next((file.listed.listing for file in self.files if file.listed is not None), None)

    @cached_property
    def by_name(self) -> Mapping[str, FileDigest]:
        """The files by name."""
        return {file.name: file for file in self.files}

    @cached_property
    def by_file(self) -> Mapping[str, Mapping[str, TensorDigest]]:
        """The tensors by file and name; files without tensors are left out."""
        grouped: dict[str, dict[str, TensorDigest]] = {}
        for tensor in self.tensors:
            grouped.setdefault(tensor.file, {})[tensor.name] = tensor
        return grouped

    @property
    def size(self) -> int:
        """Bytes of all files together, as far as sizes were recorded."""
        return sum(file.size or 0 for file in self.files)


def clash_findings(names: tuple[str, ...]) -> list[Finding]:
    """A finding for each pair of names that are one name on some file system."""
    return [
        Finding(
            "artifact.name-clash",
            shown(second),
            Severity.ERROR,
            f"{shown(first)} and {shown(second)} are one name where letter case or Unicode form does not count",
        )
        for first, second in clashes(names)
    ]


def _joined(listed: Listed | None) -> str:
    return "" if listed is None else "".join(listed.digests)


def _check_hex(name: str, *digests: str) -> None:
    if not all(_HEX.match(digest) for digest in digests if digest):
        raise ArtifactError(f"a digest of {shown(name)} is not 64 lower-case hexadecimal digits")
