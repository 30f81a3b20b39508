"""Scan a model: every file looked through, none of it opened by the library that would run it."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from assay.artifacts.files import Tree
from assay.artifacts.names import shown
from assay.artifacts.scan.examine import Examiner
from assay.artifacts.scan.source import OpenFile
from assay.artifacts.scan.verdicts import RULES_VERSION, rules_digest
from assay.errors import ArtifactError
from assay.findings import Finding, Severity
from assay.formats.base import Content, ViewContent

SMALL_BYTES = 256 * 1024
_RECURSION = 3000  # JSON and containers nest at most so deep; what nests deeper is refused, not followed


NOT_LOOKED_AT = ("scan.incomplete", "artifact.unreadable")
"""What says that a part could not be scanned, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan of a model found.

    Attributes:
        name: The model's name.
        files: Names of the files that were looked through, by code point.
        findings: Everything a person should know, the most serious first.
        globals: What each file's pickles import, sorted; files that import nothing are left out.
    """

    name: str
    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    globals: Mapping[str, tuple[str, ...]]

    @property
    def outcome(self) -> str:
        """``fail`` when something is wrong, ``unknown`` when a part could not be scanned, else ``pass``."""
        serious = [one for one in self.findings if one.severity.rank >= Severity.ERROR.rank]
        if any(one.rule not in NOT_LOOKED_AT for one in serious):
            return "fail"
        return "unknown" if serious else "pass"

    def as_json(self) -> dict[str, object]:
        """The scan as ``assay scan --json`` prints it."""
        return {
            "model": self.name,
            "outcome": self.outcome,
            "files": len(self.files),
            "rules": {"version": RULES_VERSION, "digest": rules_digest()},
            "globals": {name: list(names) for name, names in self.globals.items()},
            "findings": [finding.as_json() for finding in self.findings],
        }


def scan(root: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None) -> Scan:
    """Look through every file of a model.

    Args:
        root: A folder, or a single file.
        ignore: What to leave out, as :meth:`~assay.artifacts.files.Tree.of` takes it.
        signature: The signature's path, left out when it lies in the model.

    Raises:
        ArtifactError: There is no such model, or it is empty.
    """
    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        return put_together(tree.name, _each(tree), tree.findings)


def _each(tree: Tree) -> Iterator[tuple[str, Content | ArtifactError]]:
    for entry in tree.entries:
        try:
            descriptor = tree.open(entry.name)
        except ArtifactError as err:
            yield entry.name, err
            continue
        try:
            size = os.fstat(descriptor).st_size
            if size <= SMALL_BYTES:  # read once, then looked at from many sides
                yield entry.name, ViewContent(memoryview(os.pread(descriptor, size, 0)))
            else:
                yield entry.name, OpenFile(descriptor, size)
        finally:
            os.close(descriptor)


def put_together(
    name: str,
    contents: Iterable[tuple[str, Content | ArtifactError]],
    known: Sequence[Finding] = (),
    *,
    thorough: bool = True,
) -> Scan:
    """Look through files that are open already.

    Args:
        name: The model's name.
        contents: Each file's name and bytes, or why it cannot be read.
        known: What is wrong with the files as such.
        thorough: Also search what is no pickle for pieces of one.
    """
    findings = list(known)
    found: dict[str, tuple[str, ...]] = {}
    names: list[str] = []
    with _deep_enough():
        for file, content in contents:
            names.append(file)
            if isinstance(content, ArtifactError):
                findings += content.findings
                continue
            examined, trouble = examine(file, content, thorough=thorough)
            findings += trouble
            if examined:
                found[file] = examined
    return Scan(name, tuple(names), _ordered(findings), found)


def examine(name: str, content: Content, *, thorough: bool = True) -> tuple[tuple[str, ...], list[Finding]]:
    """What one file imports, and its findings.

    Args:
        name: The file's name in the model.
        content: Its bytes.
        thorough: Also search what is no pickle for pieces of one.
    """
    examiner = Examiner(name, thorough=thorough)
    try:
        examiner.examine(content)
    except (OSError, RecursionError, MemoryError) as err:
        detail = f"{shown(name)}: it could not be scanned to the end ({type(err).__name__})"
        examiner.found.findings.append(Finding("scan.incomplete", shown(name), Severity.ERROR, detail))
    return tuple(sorted(examiner.found.globals)), examiner.found.findings


@contextmanager
def _deep_enough() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def with_findings(found: Scan, more: Sequence[Finding]) -> Scan:
    """The same scan with more findings."""
    return replace(found, findings=_ordered([*found.findings, *more]))


def opinions_of(
    root: Path, found: Scan, *, ignore: Sequence[Path | str] = (), signature: Path | None = None
) -> tuple[Finding, ...]:
    """Where picklescan disagrees about the files of a model.

    Raises:
        MissingExtraError: It is not installed.
    """
    from assay.artifacts.scan.opinion import ask, disagreements

    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        said = [ask(name, content) for name, content in _each(tree) if not isinstance(content, ArtifactError)]
    return disagreements(found, said)


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda one: (-one.severity.rank, one.subject, one.rule)))


def against_signed(found: Scan, signed: Mapping[str, Collection[str]], signer: str) -> Scan:
    """Hold what a model imports against what its signer recorded.

    A name that was signed is known: somebody vouched for it. A name that was not is a finding even
    when it is harmless, since the model is not the one that was signed. What is dangerous is said
    whoever signed it.

    Args:
        found: The scan.
        signed: The signed globals (``module name``) of every file that was signed; for other files those
            of the whole model count.
        signer: Who signed, for the sentence.
    """
    known = {file: {_dotted(name) for name in names} for file, names in signed.items()}
    union = {name for names in known.values() for name in names}
    kept: list[Finding] = []
    for finding in found.findings:
        name = str(finding.numbers.get("global", ""))
        if finding.rule == "scan.unknown-global" and name in known.get(_file_of(finding, found), union):
            detail = f"{finding.detail}; but {signer} signed that this model uses it"
            kept.append(replace(finding, severity=Severity.INFO, detail=detail))
        else:
            kept.append(finding)
    for file, names in found.globals.items():
        for name in sorted({_dotted(name) for name in names} - known.get(file, union)):
            detail = f"{shown(file)}: it imports {name}, which is not among the globals that {signer} signed"
            kept.append(Finding("scan.new-global", shown(file), Severity.ERROR, detail, {"global": name}))
    return replace(found, findings=_ordered(kept))


def _dotted(name: str) -> str:
    return name.replace(" ", ".", 1)


def _file_of(finding: Finding, found: Scan) -> str:
    """The file a finding is about: a subject is the file, or the file, a colon and a place inside it."""
    subject = finding.subject
    return next((file for file in found.globals if subject == shown(file) or subject.startswith(f"{shown(file)}:")), "")


def signed_globals(
    root: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None
) -> dict[str, tuple[str, ...]]:
    """What each file of a model imports, for its signature.

    The first file is always there, with nothing if it imports nothing: else a model without pickles
    would look like one that was signed without a look at them.
    """
    with Tree.of(root, ignore=ignore, signature=signature) as tree:
        found = put_together(tree.name, _each(tree), thorough=False)
    first: dict[str, tuple[str, ...]] = dict.fromkeys(found.files[:1], ())
    return {**first, **found.globals}
