"""A model that was refused, or could not be looked at: remembered, and told by what is wrong first."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from shlex import quote

from assay.errors import AssayError, PolicyTamperedError, VerificationError
from assay.findings import Finding, Severity
from assay.project import checks
from assay.project.project import Project
from assay.project.versions import never_signed

FINDINGS_IN_LOG = 200
UNTOLD = "trust.untold"


def told(
    project: Project, name: str, err: AssayError, trouble: AssayError | None, *, elsewhere: bool, now: datetime
) -> AssayError:
    """Remember that a model was refused or could not be looked at, and say what to raise.

    Args:
        project: Whose model.
        name: Which.
        err: What came of looking at it.
        trouble: Why nobody knows whose signature counts, or None.
        elsewhere: It is live, or its signature was named: that there is none is no beginner's slip.
        now: The present.
    """
    if not isinstance(err, VerificationError):
        if isinstance(trouble, PolicyTamperedError):  # a path edited in assay.toml leads to no model, perhaps
            _remember(project, name, VerificationError(trouble.message, [untold(trouble, name)]), now)
            return trouble
        checks.could_not_run(project.state, name, "bytes", err, now)
        return err
    if trouble is not None and all(finding.rule == UNTOLD for finding in err.findings):
        if isinstance(trouble, PolicyTamperedError):
            _remember(project, name, err, now)
        else:
            checks.could_not_run(project.state, name, "bytes", trouble, now)
        return trouble
    missing = all(finding.rule == "signature.missing" for finding in err.findings)
    if missing and not elsewhere and never_signed(project, name):  # no bytes were exchanged
        detail = f"{err.message}; it was never signed: assay sign {quote(name)} --key KEY"
        return VerificationError(detail, err.findings)
    _remember(project, name, err, now)
    return err


def log_refusal(project: Project, subject: str, path: Path, error: VerificationError, *, now: datetime) -> int:
    """Log that a model was refused, with every reason; an incident follows from the entry.

    Returns:
        Position of the entry.
    """
    data: dict[str, object] = {
        "path": str(path),
        "reason": error.message,
        "findings": [finding.as_json() for finding in error.findings[:FINDINGS_IN_LOG]],
        "reasons": len(error.findings),
    }
    return project.log.append("verify.refused", subject, data, actor=project.actor, now=now)


def untold(trouble: AssayError, subject: str) -> Finding:
    """That nobody knows whose signature counts."""
    detail = f"whose signatures count cannot be told: {trouble.message}"
    return Finding(UNTOLD, subject, Severity.CRITICAL, detail)


def _remember(project: Project, name: str, error: VerificationError, now: datetime) -> None:
    """Log and date a refusal; what cannot be written is one more finding and never takes the refusal's place."""
    body = {"findings": [finding.as_json() for finding in error.findings]}
    position = None
    try:
        position = log_refusal(project, name, project.config.model(name).path, error, now=now)
    except AssayError as err:
        error.findings += (_not_written("logged", name, err),)
    try:
        checks.record(
            project.state, name, "bytes", outcome="fail", detail=error.message, now=now, body=body, position=position
        )
    except AssayError as err:
        error.findings += (_not_written("remembered", name, err),)


def _not_written(what: str, name: str, err: AssayError) -> Finding:
    return Finding("audit.not-logged", name, Severity.CRITICAL, f"this refusal could not be {what}: {err.message}")
