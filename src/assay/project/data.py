"""Training data: fingerprinted when the model is signed, held against that fingerprint ever after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assay.artifacts.measure import measure
from assay.errors import ConfigError, StorageError, TableError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Signer
from assay.project import checks
from assay.project.config import Training
from assay.project.people import must_count
from assay.project.project import Project
from assay.release.store import save_statement, statements
from assay.signing.sign import default_signature
from assay.signing.statement import LINEAGE, open_envelope, seal

if TYPE_CHECKING:
    from assay.lineage.fingerprint import DatasetFingerprint

ROWS_IN_LOG = 1000  # positions of altered rows that one log entry lists; the finding counts them all


@dataclass(frozen=True, slots=True)
class DataReport:
    """How training data compares with what the model was signed with.

    Attributes:
        root: Order-free root digest of the rows now, hex.
        rows: How many rows there are now.
        findings: Every difference; reordering is one of severity ``info``.
    """

    root: str
    rows: int
    findings: tuple[Finding, ...]

    @property
    def changed(self) -> bool:
        """Whether any value, row or column differs; a mere reordering is no change."""
        return any(finding.severity is not Severity.INFO for finding in self.findings)


def training_of(project: Project, name: str) -> Training:
    """The training table of a model.

    Raises:
        ConfigError: assay.toml names none.
    """
    training = project.config.model(name).training
    if training is None:
        raise ConfigError(f'[models.{name}] names no training data: add [models.{name}.training] with path = "…"')
    return training


def sign_lineage(
    project: Project, name: str, signer: Signer, *, now: datetime, ignore: Sequence[Path], signature: Path | None
) -> tuple[dict[str, str], dict[str, object]]:
    """Fingerprint the training data, if the model declares any, and sign what it was made from.

    Returns:
        Digests of the statements by kind, for the model's signature to bind; and a line for the person.
    """
    model = project.config.model(name)
    if model.training is None:
        return {}, {}
    from assay.lineage import store as sidecar  # a model without declared training data needs no tables
    from assay.lineage.fingerprint import fingerprint
    from assay.lineage.provenance import environment, lineage_statement

    found = fingerprint(model.training.path, label=model.training.label)
    place = signature or default_signature(model.path)  # the signature of the version before is no file of the model
    root = measure(model.path, ignore=ignore, signature=place).root
    envelope = seal(lineage_statement(found, root, environment(), created=now), signer)
    sidecar.write(project.places.rows, name, found)
    save_statement(project.state, envelope, model=name, kind="lineage", root=root, created=now)
    data = {"root": root, "data_root": found.multiset_root, "rows": found.rows, "statement": envelope.digest}
    position = project.log.append("data.fingerprinted", name, data, actor=project.actor, now=now)
    checks.record(
        project.state,
        name,
        "data",
        outcome="pass",
        detail=f"fingerprinted {found.rows:,} rows",
        now=now,
        body=data,
        position=position,
    )
    return {"lineage": envelope.digest}, {"training_data": f"{found.rows:,} rows, {found.multiset_root[:16]}…"}


def signed_fingerprint(project: Project, name: str, *, now: datetime) -> DatasetFingerprint:
    """The newest fingerprint that a trusted key signed for a model.

    The log says which statement that is, so an older one put in its place in the database does not count.

    Args:
        project: Whose model.
        name: Which.
        now: The moment the signer must be trusted at.

    Raises:
        VerificationError: There is none, it is gone, or its signature does not count.
    """
    from assay.lineage import store as sidecar
    from assay.lineage.fingerprint import DatasetFingerprint

    logged = project.log.entries(kinds=["data.fingerprinted"], subject=name)
    if not logged:
        raise VerificationError(f"the training data of {name} were never fingerprinted: assay sign {name} does it")
    digest, root = (str(logged[-1].entry.data.get(word)) for word in ("statement", "root"))
    known = statements(project.state, name, kind="lineage", root=root)
    envelope = next((one for one in known if one.digest == digest), None)
    if envelope is None:
        raise VerificationError(f"the lineage statement of {name} that entry {logged[-1].position} names is gone")
    opened = open_envelope(envelope, project.trust, predicate_type=LINEAGE, now=now)
    must_count(project, name, opened.key_id, now=now)
    data = opened.statement.predicate.get("dataset")
    if not isinstance(data, dict):
        raise VerificationError(f"the signed lineage of {name} holds no fingerprint")
    found = DatasetFingerprint.parse(data)
    try:
        return sidecar.read(project.places.rows, name, found)
    except (StorageError, TableError):  # the roots still tell whether it changed; only rows cannot be named
        return found


def _measured(training: Training) -> DatasetFingerprint:
    """The table as it is; a label column that was taken away is a difference to be named, not a table to refuse."""
    from assay.lineage.fingerprint import fingerprint

    try:
        return fingerprint(training.path, label=training.label, missing_labels=True)
    except TableError:
        if training.label is None:
            raise
        try:
            return fingerprint(training.path, label=None)
        except TableError:
            pass
        raise


def verify_data(project: Project, name: str, *, now: datetime) -> DataReport:
    """Hold the training data against its signed fingerprint; a difference is logged and opens an incident."""
    from assay.lineage.compare import compare

    training = training_of(project, name)
    with checks.attempted(project.state, name, "data", now):
        signed = signed_fingerprint(project, name, now=now)
        found = _measured(training)
    report = DataReport(found.multiset_root, found.rows, compare(signed, found))
    body: dict[str, object] = {"data_root": report.root, "rows": report.rows, "signed_root": signed.multiset_root}
    position = None
    detail = f"all {report.rows:,} rows as fingerprinted"
    if report.changed:
        body["findings"] = [finding.as_json() for finding in report.findings]
        detail = "; ".join(one.detail for one in report.findings if one.severity is not Severity.INFO)
        position = project.log.append("data.changed", name, {**body, "reason": detail}, actor=project.actor, now=now)
    outcome = "fail" if report.changed else "pass"
    checks.record(project.state, name, "data", outcome=outcome, detail=detail, now=now, body=body, position=position)
    return report
