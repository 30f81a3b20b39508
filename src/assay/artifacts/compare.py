"""Signed against found: which file, which tensor, which bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.artifacts.names import shown
from assay.findings import Finding, Number, Severity

_MAX_RANGES = 4
_MAX_SHARDS = 64


def compare(signed: Manifest, found: Manifest) -> tuple[Finding, ...]:
    """Every difference between what was signed and what is there.

    Every finding is a reason to refuse. No finding means: each signed file is there with the signed
    bytes, and nothing else is.

    Args:
        signed: The manifest from the signature.
        found: The manifest as measured, with ``collect=True`` so that all reasons are in it.

    Returns:
        Findings of the rules ``artifact.changed``, ``artifact.missing``, ``artifact.extra``,
        ``artifact.incomparable``, ``artifact.digests-disagree``, ``artifact.shard-changed``,
        ``artifact.tensor-changed``, ``artifact.tensor-missing``, ``artifact.tensor-extra``,
        ``artifact.tensor-retyped``, ``artifact.tensor-moved``, and those that ``found`` already holds.
    """
    findings = list(found.findings)
    faulty = {finding.subject for finding in found.findings if finding.severity.rank >= Severity.ERROR.rank}
    findings += [
        _missing(file, found)
        for file in signed.files
        # A link or an unreadable file in its place was already reported as such.
        if file.name not in found.by_name and shown(file.name) not in faulty
    ]
    findings += [_extra(file, signed) for file in found.files if file.name not in signed.by_name]
    for file in signed.files:
        if file.name in found.by_name:
            findings += _file(file, found.by_name[file.name], signed, found)
    return tuple(findings)


def _same_bytes(one: FileDigest, other: FileDigest) -> bool:
    return any(
        first == second
        for first, second in ((one.sha256, other.sha256), (one.blake3, other.blake3))
        if first and second
    )


def _holder(file: FileDigest, manifest: Manifest) -> str | None:
    """Another name under which the manifest has the same bytes; empty files say nothing."""
    if file.size == 0:
        return None
    return next(
        (shown(other.name) for other in manifest.files if other.name != file.name and _same_bytes(file, other)), None
    )


def _missing(file: FileDigest, found: Manifest) -> Finding:
    name, moved = shown(file.name), _holder(file, found)
    detail = f"{name} was signed and is not there" + (f"; {moved} has its bytes" if moved else "")
    return Finding("artifact.missing", name, Severity.CRITICAL, detail)


def _extra(file: FileDigest, signed: Manifest) -> Finding:
    name, source = shown(file.name), _holder(file, signed)
    detail = f"{name} is there and was not signed" + (f"; it has the bytes signed as {source}" if source else "")
    return Finding("artifact.extra", name, Severity.CRITICAL, detail)


def _file(want: FileDigest, have: FileDigest, signed: Manifest, found: Manifest) -> list[Finding]:
    if _same(want, have) and want.name not in signed.by_file:
        return []  # so it is with nearly every file of a model of many
    pairs = [(want.sha256, have.sha256), (want.blake3, have.blake3)]
    verdicts = {first == second for first, second in pairs if first and second}
    if want.listed is not None and have.listed is not None and want.listed.listing == have.listed.listing:
        verdicts.add(want.listed.digests == have.listed.digests)
    name = shown(want.name)
    if not verdicts:
        detail = f"{name} was signed with a digest that was not measured"
        return [Finding("artifact.incomparable", name, Severity.ERROR, detail)]
    if want.size is not None and want.size != have.size:
        verdicts |= {False}
    changed = verdicts == {False}
    findings = _tensors(
        signed.by_file.get(want.name, {}),
        found.by_file.get(want.name, {}),
        same_file=verdicts == {True},
    )
    if len(verdicts) > 1:
        detail = f"the digests and the size signed for {name} belong to different bytes"
        findings.insert(0, Finding("artifact.digests-disagree", name, Severity.CRITICAL, detail))
    if False in verdicts:
        findings[:0] = _shards(want, have)
    if changed:
        findings.insert(0, _changed(want, have, signed, found, named=bool(findings)))
    return findings


def _same(want: FileDigest, have: FileDigest) -> bool:
    """Whether everything that can be compared is equal, and something can."""
    return (
        want.listed is None
        and want.size in (None, have.size)
        and (want.blake3 == have.blake3 or not want.blake3 or not have.blake3)
        and (want.sha256 == have.sha256 or not want.sha256 or not have.sha256)
        and bool((want.blake3 and have.blake3) or (want.sha256 and have.sha256))
    )


def _shards(want: FileDigest, have: FileDigest) -> list[Finding]:
    """Which of the listed byte ranges have other bytes."""
    if want.listed is None or have.listed is None or not want.listed.listing.shard_size:
        return []
    size = max(want.size or 0, have.size or 0)
    ranges = want.listed.differing(have.listed, size)
    findings = [_shard(want.name, start, end) for start, end in ranges[:_MAX_SHARDS]]
    if (more := len(ranges) - _MAX_SHARDS) > 0:  # whoever wrote the signature chose how many there are
        findings.append(_shard(want.name, ranges[_MAX_SHARDS][0], ranges[-1][1], f" ({more} ranges)"))
    return findings


def _shard(name: str, start: int, end: int, remark: str = "") -> Finding:
    detail = f"bytes {start} to {end} of {shown(name)} are not those that were signed{remark}"
    numbers: dict[str, Number] = {"start_byte": start, "end_byte": end}
    return Finding("artifact.shard-changed", f"{shown(name)}:{start}:{end}", Severity.CRITICAL, detail, numbers)


def _changed(want: FileDigest, have: FileDigest, signed: Manifest, found: Manifest, *, named: bool) -> Finding:
    name = shown(want.name)
    detail = f"{name} has other bytes than were signed"
    numbers: dict[str, Number] = {}
    if want.size is not None and have.size is not None:
        numbers = {"signed_bytes": want.size, "found_bytes": have.size}
        if want.size != have.size:
            detail += f" ({have.size} bytes, signed {want.size})"
    source = _holder(have, signed)
    if source is not None:
        detail += f"; it now holds the bytes signed as {source}"
    elif not named and want.name in signed.by_file and want.name in found.by_file:
        ranges = _between(tuple(found.by_file[want.name].values()), have.size or 0)
        detail += f"; no tensor differs, so the change lies in {ranges}"
    return Finding("artifact.changed", name, Severity.CRITICAL, detail, numbers)


def _between(tensors: Sequence[TensorDigest], size: int) -> str:
    """The byte ranges that belong to no tensor: headers, metadata, directories."""
    at, ranges = 0, []
    for tensor in sorted(tensors, key=lambda one: one.start):
        if tensor.start > at:
            ranges.append(f"bytes {at} to {tensor.start}")
        at = max(at, tensor.end)
    if at < size:
        ranges.append(f"bytes {at} to {size}")
    more = len(ranges) - _MAX_RANGES
    return ", ".join(ranges[:_MAX_RANGES]) + (f" and {more} more ranges" if more > 0 else "")


def _tensors(want: Mapping[str, TensorDigest], have: Mapping[str, TensorDigest], *, same_file: bool) -> list[Finding]:
    if not want or not have:  # signed without tensors, or no longer readable as tensors: the file's digest decides
        return []
    sources = {tensor.blake3: tensor.name for tensor in want.values() if tensor.end > tensor.start}
    findings = [
        _tensor_finding("missing", tensor, "was signed and is not there")
        for name, tensor in want.items()
        if name not in have
    ]
    for name, tensor in have.items():
        if name not in want:
            findings.append(_tensor_finding("extra", tensor, "is there and was not signed"))
            continue
        findings += _tensor(want[name], tensor, sources, same_file=same_file)
    return findings


def _tensor(want: TensorDigest, have: TensorDigest, sources: Mapping[str, str], *, same_file: bool) -> list[Finding]:
    findings: list[Finding] = []
    if (want.dtype, want.shape) != (have.dtype, have.shape):
        what = f"is {_kind(have)}, signed as {_kind(want)}"
        findings.append(_tensor_finding("retyped", have, what))
    if want.blake3 != have.blake3:
        what = "has other bytes than were signed"
        source = sources.get(have.blake3)
        if source is not None:
            what += f"; it now holds the bytes signed as {shown(source)}"
        findings.append(_tensor_finding("changed", have, what))
    elif want.content and have.content and want.content != have.content:
        findings.append(_tensor_finding("changed", have, "has other elements than its signed content digest says"))
    # In a changed file every later tensor moves: no news. In an unchanged one, the signed statement is wrong.
    elif same_file and (want.start, want.end) != (have.start, have.end):
        findings.append(_tensor_finding("moved", have, f"was signed as bytes {want.start} to {want.end}"))
    return findings


def _kind(tensor: TensorDigest) -> str:
    return f"{shown(tensor.dtype)} {list(tensor.shape)}"


def _tensor_finding(rule: str, tensor: TensorDigest, what: str) -> Finding:
    file, name = shown(tensor.file), shown(tensor.name)
    detail = f"tensor {name} of {file} (bytes {tensor.start} to {tensor.end}) {what}"
    numbers: dict[str, Number] = {"start_byte": tensor.start, "end_byte": tensor.end}
    return Finding(f"artifact.tensor-{rule}", f"{file}:{name}", Severity.CRITICAL, detail, numbers)
