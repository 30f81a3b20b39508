"""A program that uses every public name as a user would; mypy checks it, and a test runs what needs no other people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import assert_type

from assay import (
    AllOf,
    AnyOf,
    AssayError,
    AuditLog,
    Baseline,
    DatasetFingerprint,
    Finding,
    Manifest,
    PredictionSchema,
    Project,
    Recorder,
    Severity,
    SignedBy,
    SignedByKey,
    Suite,
    TrustStore,
    UnsafeTrustAnyone,
    VerificationError,
    VerifiedModel,
    fingerprint,
    load_private,
    read_public,
    sign,
    verify,
)
from assay.engines.base import Source
from assay.engines.shelf import find as find_engine
from assay.validation.checks.regression import Metric


def sign_and_open(model: Path, key: Path, now: datetime) -> Manifest:
    """Sign a model, verify it by every kind of rule, and read what was signed."""
    signer = load_private(key)
    public = read_public(key.with_suffix(".pub"))
    assert_type(sign(model, signer, now=now).manifest, Manifest)
    trust = TrustStore().trust("release@acme.example", public.public_pem())
    rule = AllOf(SignedByKey(public), AnyOf(SignedBy(trust, ["release@acme.example"]), UnsafeTrustAnyone()))
    with verify(model, signers=rule, now=now) as verified:
        assert_type(verified, VerifiedModel)
        assert_type(verified.signer, str)
        return verified.manifest


def reasons(model: Path, public: Path, now: datetime) -> list[str]:
    """Why a model is refused, worst first; nothing when it is not."""
    try:
        verify(model, signers=SignedByKey(read_public(public)), now=now).close()
    except VerificationError as err:
        found: Sequence[Finding] = err.findings
        return [one.detail for one in found if one.severity is Severity.CRITICAL]
    return []


def same_data(old: str, new: str) -> bool:
    """Whether two tables have the same rows, in whatever order and files."""
    before, after = fingerprint(old, label="y"), fingerprint(new, label="y")
    assert_type(before, DatasetFingerprint)
    return before.multiset_root == after.multiset_root


def log_something(folder: Path, now: datetime) -> int:
    """Open an audit log, append to it, and count its entries."""
    with AuditLog.open(
        folder / "log.db", key=folder / "log.key", origin="acme.example/log", checkpoints=[folder / "out"], now=now
    ) as log:
        log.append("model.noted", "spam", {"why": "an example"}, actor="anna", now=now)
        return log.size()


def record(folder: Path, root: str) -> str:
    """Record one answered request."""
    with Recorder(folder, model=root) as recorder:
        return recorder.log({"a": 1.0, "prediction": "spam", "confidence": 0.9})


def learn(table: str, now: datetime) -> Baseline:
    """Learn what is normal from a table."""
    schema = PredictionSchema(time="ts", prediction="pred", confidence="p", label="y")
    return Baseline.learn(find_engine("duckdb"), Source((table,)), schema, window="1d", now=now)


def suite_of(table: str) -> Suite:
    """A suite of one check."""
    return Suite("spam", Metric(table, "y", at_least=0.7))


def live_root(config: Path, name: str, now: datetime) -> str | None:
    """What a project says about one of its models, or why it cannot say."""
    try:
        project = Project.open(config, now=now, actor="anna")
        return str(project.config.model(name).path)
    except AssayError as err:
        return err.message


EVERYTHING: Sequence[Callable[..., object]] = (
    sign_and_open,
    reasons,
    same_data,
    log_something,
    record,
    learn,
    suite_of,
    live_root,
)
