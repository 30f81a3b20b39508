"""Validation: the suite run on the verified bytes, its report kept, signed and logged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assay.errors import ConfigError, SuiteError
from assay.keys.base import Signer
from assay.project import checks, integrity
from assay.project.project import Project
from assay.release.store import save_statement
from assay.signing.statement import seal
from assay.storage.clock import utc_text
from assay.validation.load import load_suite
from assay.validation.report import Outcome, Report, report_statement

ENTRY = {
    Outcome.PASS: "validation.passed",
    Outcome.FAIL: "validation.failed",
    Outcome.INSUFFICIENT: "validation.unknown",
}
CHECK = {Outcome.PASS: "pass", Outcome.FAIL: "fail", Outcome.INSUFFICIENT: "unknown"}


@dataclass(frozen=True, slots=True)
class Validated:
    """A report and where it is kept.

    Attributes:
        report: What the suite found.
        folder: Folder with the report as JSON, JUnit and Markdown.
        statement: Digest of the signed statement; None when no key was given.
    """

    report: Report
    folder: Path
    statement: str | None


def framework_of(project: Project, name: str) -> str:
    """The plug that opens a model.

    Raises:
        ConfigError: assay.toml names none.
    """
    framework = project.config.model(name).framework
    if framework is None:
        raise ConfigError(
            f'[models.{name}] names no framework: add framework = "sklearn", or "package.module:function" '
            "that returns predictions for a table"
        )
    return framework


def validate_model(
    project: Project, name: str, *, suite: str | None, signer: Signer | None, now: datetime
) -> Validated:
    """Run a model's suite on its verified bytes.

    Args:
        project: Whose model.
        name: Which.
        suite: ``FILE:NAME``; None for the suite of assay.toml.
        signer: Signs the test-result statement; without one the gate cannot count it.
        now: The present.

    Raises:
        SuiteError: There is no suite, or it cannot be loaded.
        VerificationError: The bytes are not as signed: an unverified model is never opened.
    """
    spec = suite or project.config.model(name).suite
    if spec is None:
        raise SuiteError(f'{name} has no suite: set suite = "checks/{name}.py:suite" in [models.{name}], or --suite')
    with checks.attempted(project.state, name, "validation", now):
        checks_to_run = load_suite(spec)
        with integrity.verify_model(project, name, now=now, hold=True) as verified:
            report = checks_to_run.run(verified.load(framework_of(project, name)), model_root=verified.root, now=now)
        folder = _keep(project, name, report, now)
    statement = None
    if signer is not None:
        envelope = seal(report_statement(report), signer)
        save_statement(project.state, envelope, model=name, kind="validation", root=report.model_root, created=now)
        statement = envelope.digest
    _record(project, name, report, folder, statement=statement, now=now)
    return Validated(report, folder, statement)


def _keep(project: Project, name: str, report: Report, now: datetime) -> Path:
    folder = project.places.reports / name / utc_text(now).replace(":", "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    (folder / "junit.xml").write_text(report.to_junit(), encoding="utf-8")
    (folder / "report.md").write_text(report.to_markdown(), encoding="utf-8")
    return folder


def _record(project: Project, name: str, report: Report, folder: Path, *, statement: str | None, now: datetime) -> None:
    outcomes = {outcome.value: sum(one.outcome is outcome for one in report.results) for outcome in Outcome}
    detail = ", ".join(f"{count} {word}" for word, count in outcomes.items() if count)
    data: dict[str, object] = {
        "suite": report.suite,
        "root": report.model_root,
        "report": report.digest,
        "statement": statement,
        "outcomes": outcomes,
        "detail": detail,
        "findings": [finding.as_json() for one in report.results for finding in one.findings][:100],
    }
    position = project.log.append(ENTRY[report.outcome], name, data, actor=project.actor, now=now)
    body = {
        "suite": report.suite,
        "folder": str(folder),
        "results": [[one.name, one.outcome.value, one.detail] for one in report.results],
    }
    checks.record(
        project.state,
        name,
        "validation",
        outcome=CHECK[report.outcome],
        detail=detail,
        now=now,
        body=body,
        position=position,
    )
