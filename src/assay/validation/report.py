"""What a suite found: three-valued results, as JSON, JUnit, Markdown and a statement to sign."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from xml.etree import ElementTree as ET

import rfc8785

from assay.findings import Finding, Number
from assay.signing.statement import VALIDATION, Statement, Subject

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production Char


class Outcome(StrEnum):
    """What a check can say. Too little data is no pass."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: Of the check, unique in its suite.
        kind: Of the check, as the shelf names it: ``fairness``.
        outcome: The verdict.
        detail: One sentence for a person; never a record's values.
        findings: What was seen, most serious first.
        numbers: What was measured and what was wanted; finite; units are in the names.
        seconds: How long it took.
    """

    name: str
    kind: str
    outcome: Outcome
    detail: str
    findings: tuple[Finding, ...] = ()
    numbers: Mapping[str, Number] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        found = [*self.numbers.values(), *(value for each in self.findings for value in each.numbers.values())]
        if any(isinstance(value, float) and not math.isfinite(value) for value in found):
            raise ValueError(f"a number of check {self.name!r} is not finite, so it cannot be signed")

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "outcome": self.outcome.value,
            "detail": self.detail,
            "findings": [finding.as_json() for finding in self.findings],
            "numbers": dict(self.numbers),
            "seconds": round(self.seconds, 6),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a suite found about one model.

    Attributes:
        suite: The suite's name.
        model_root: Root digest of the model's manifest, hex.
        created: When, UTC text.
        results: One for each check, in the suite's order; at least one.
    """

    suite: str
    model_root: str
    created: str
    results: tuple[CheckResult, ...]

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a report without results would pass")

    @property
    def outcome(self) -> Outcome:
        """Fail when any check failed; else insufficient when any could not tell; else pass."""
        found = {result.outcome for result in self.results}
        return next(each for each in (Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.PASS) if each in found)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the report as canonical JSON (RFC 8785)."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()  # type: ignore[arg-type] # plain JSON values

    def to_json(self) -> dict[str, object]:
        """Plain JSON values, with stable keys."""
        return {
            "suite": self.suite,
            "model_root": self.model_root,
            "created": self.created,
            "outcome": self.outcome.value,
            "results": [result.to_json() for result in self.results],
        }

    def to_junit(self) -> str:
        """JUnit XML. What could not be told is an error there, for a skipped test counts as fine to every reader."""
        count = {outcome: sum(result.outcome is outcome for result in self.results) for outcome in Outcome}
        whole = sum(result.seconds for result in self.results)
        suite = ET.Element(
            "testsuite",
            name=_xml(self.suite),
            tests=str(len(self.results)),
            failures=str(count[Outcome.FAIL]),
            errors=str(count[Outcome.INSUFFICIENT]),
            skipped="0",
            time=f"{whole:.3f}",
            timestamp=self.created,
        )
        for result in self.results:
            name, kind = _xml(result.name), _xml(result.kind)
            case = ET.SubElement(suite, "testcase", name=name, classname=kind, time=f"{result.seconds:.3f}")
            if result.outcome is not Outcome.PASS:
                tag = "failure" if result.outcome is Outcome.FAIL else "error"
                body = ET.SubElement(case, tag, message=_xml(result.detail), type=result.outcome.value)
                body.text = _xml("\n".join(f"{finding.subject}: {finding.detail}" for finding in result.findings))
        root = ET.Element("testsuites")
        root.append(suite)
        return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"

    def to_markdown(self) -> str:
        """A table for a pull request or a job summary."""
        lines = [
            f"## {_cell(self.suite)}: {self.outcome.value}",
            "",
            f"Model `{self.model_root}`, {self.created}",
            "",
            "| check | kind | outcome | detail | seconds |",
            "| --- | --- | --- | --- | ---: |",
        ]
        lines += [
            f"| {_cell(result.name)} | {_cell(result.kind)} | {result.outcome.value} | {_cell(result.detail)} "
            f"| {result.seconds:.2f} |"
            for result in self.results
        ]
        found = [(result, finding) for result in self.results for finding in result.findings]
        if found:
            lines += ["", "### Findings", ""]
            lines += [
                f"- **{finding.severity.value}** {_cell(f'{result.name}, {finding.subject}: {finding.detail}')}"
                for result, finding in found
            ]
        return "\n".join(lines) + "\n"


def report_statement(report: Report) -> Statement:
    """The report as an in-toto test result about the model, to sign.

    ``WARNED`` says that a check could not tell; only ``PASSED`` is a pass.

    References:
        in-toto attestation framework, test-result predicate v0.1.
    """
    words = {Outcome.PASS: "PASSED", Outcome.FAIL: "FAILED", Outcome.INSUFFICIENT: "WARNED"}
    predicate = {
        "result": words[report.outcome],
        "created": report.created,
        "configuration": [{"name": report.suite, "digest": {"sha256": report.digest}}],
        "passedTests": _with(report, Outcome.PASS),
        "warnedTests": _with(report, Outcome.INSUFFICIENT),
        "failedTests": _with(report, Outcome.FAIL),
        "report": report.to_json(),
    }
    return Statement((Subject("model", {"sha256": report.model_root}),), VALIDATION, predicate)


def _with(report: Report, outcome: Outcome) -> list[str]:
    return [result.name for result in report.results if result.outcome is outcome]


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _cell(text: str) -> str:
    """Text that cannot leave its cell, nor bring markup of its own."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|`*_\[\]])", r"\\\1", plain)
