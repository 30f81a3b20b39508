"""Fingerprints of a project's models: recorded once, signed and logged; asked for ever after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from assay.engines.base import Source
from assay.engines.shelf import find as find_engine
from assay.errors import AssayError, BundleError, FingerprintError, TableError
from assay.findings import Finding, Severity
from assay.frameworks.base import Predictor
from assay.keys.base import Signer
from assay.monitoring.fingerprint.judge import Judged, Run, judge
from assay.monitoring.fingerprint.probes import Row, ask
from assay.monitoring.fingerprint.record import Plan, known, record
from assay.monitoring.fingerprint.reference import Reference
from assay.monitoring.schema import PredictionSchema
from assay.project import checks, integrity
from assay.project.people import must_count
from assay.project.project import Project
from assay.project.reference import schema_of
from assay.project.validating import framework_of
from assay.release.store import save_statement, statements
from assay.signing.statement import Statement, Subject, open_envelope, seal

FINGERPRINT = "https://assay.dev/fingerprint/v1"
RECORDED = "fingerprint.recorded"
OUTCOMES = {"same": "fingerprint.same", "changed": "fingerprint.changed", "unknown": "fingerprint.unknown"}
KIND = "fingerprint"
RATE = 0.01
QUERIES = 500
CHEAPLY = 50  # live answers that a monitor run asks for, where answers vary
MOST_RUNS = 64  # runs whose answers are kept
_MAX_PROBE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fingerprint and its signed statement.

    Attributes:
        reference: What was recorded.
        statement: Digest of the statement.
        root: Root digest of the model, or of the description of its API.
        rate: Chance that an unchanged model is ever accused.
        queries: How many requests were asked for it; 0 when it is read again.
        remote: Whether the model is behind an API; of any other, bytes say more.
    """

    reference: Reference
    statement: str
    root: str
    rate: float
    queries: int
    remote: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A live model held against its fingerprint.

    Attributes:
        judged: What was found.
        recorded: The fingerprint.
        number: Which run since it was recorded, from 1.
    """

    judged: Judged
    recorded: Recorded
    number: int


def record_fingerprint(
    project: Project,
    name: str,
    signer: Signer,
    *,
    now: datetime,
    plan: Plan,
    probes: Path | None = None,
    rate: float = RATE,
) -> Recorded:
    """Ask a model that is known to be right, sign what it says, and log it.

    Args:
        project: Whose model.
        name: Which.
        signer: Signs the statement; must be somebody who signs this model.
        now: The present.
        plan: How much to ask.
        probes: A file of requests; None to choose from the reference's rows.
        rate: Chance that an unchanged model is ever accused.

    Raises:
        FingerprintError: There is nothing to ask, or the answers cannot be compared.
        VerificationError: The model, or the description of its API, is not as signed; or the key does not count.
        AssayError: It cannot be asked.
    """
    if not 1e-6 <= rate <= 0.2:  # noqa: PLR2004
        raise FingerprintError(f"found the error rate {rate:g}; wanted 0.000001 to 0.2")
    must_count(project, name, signer.key_id, now=now)
    given = _given(probes) if probes else None
    with _opened(project, name, now) as (predictor, root):
        if given and any("probabilities" in one for one in given):
            reference, queries = known(given), 0
        else:
            rows = [_request(one) for one in given] if given else _rows(project, name, plan.candidates)
            reference, queries = record(predictor, rows, plan)
    predicate = {"model": name, "rate": rate, "reference": reference.to_json()}
    try:
        envelope = seal(Statement((Subject(name, {"sha256": root}),), FINGERPRINT, predicate), signer)
    except ValueError as err:
        raise FingerprintError(f"the answers cannot be signed as JSON: {err}") from err
    save_statement(project.state, envelope, model=name, kind=KIND, root=root, created=now)
    data = {
        "root": root,
        "statement": envelope.digest,
        "kind": reference.kind,
        "probes": len(reference.probes),
        "queries": queries,
        "rate": rate,
    }
    position = project.log.append(RECORDED, name, data, actor=project.actor, now=now)
    detail = f"recorded with {len(reference.probes)} probes"
    checks.record(project.state, name, KIND, outcome="unknown", detail=detail, now=now, position=position)
    return Recorded(reference, envelope.digest, root, rate, queries, _remote(project, name))


def recorded_fingerprint(project: Project, name: str, *, root: str, now: datetime) -> Recorded:
    """The newest fingerprint, read from its signed statement.

    Args:
        project: Whose model.
        name: Which.
        root: Root digest of the model that is there now.
        now: The moment the signer must be trusted at.

    Raises:
        FingerprintError: There is none, or it is of another version.
        VerificationError: Its statement is gone, or its signature does not count.
    """
    logged = project.log.entries(kinds=[RECORDED], subject=name)
    if not logged:
        raise FingerprintError(f"{name} has no fingerprint: assay fingerprint {name} --record --key KEY makes one")
    digest, before = (str(logged[-1].entry.data.get(word)) for word in ("statement", "root"))
    if before != root:
        raise FingerprintError(
            f"the fingerprint of {name} is of {before[:16]}…, and {root[:16]}… is there now: record it again"
        )
    envelope = next(
        (one for one in statements(project.state, name, kind=KIND, root=root) if one.digest == digest), None
    )
    if envelope is None:
        raise FingerprintError(
            f"the fingerprint of {name} that entry {logged[-1].position} names is gone: record again"
        )
    opened = open_envelope(envelope, project.trust, predicate_type=FINGERPRINT, now=now)
    must_count(project, name, opened.key_id, now=now)
    predicate = opened.statement.predicate
    reference, rate = predicate.get("reference"), predicate.get("rate")
    if predicate.get("model") != name or not isinstance(reference, dict) or not isinstance(rate, float):
        raise BundleError(f"the signed fingerprint of {name} is malformed: record it again")
    return Recorded(Reference.parse(reference), digest, root, rate, 0, _remote(project, name))


def hold_fingerprint(project: Project, name: str, *, now: datetime, queries: int = QUERIES) -> Held:
    """Ask the live model, and say whether it is still the one that was recorded; logged.

    Raises:
        FingerprintError: No fingerprint is recorded.
        VerificationError: The model, its API's description or the fingerprint is not as signed.
    """
    with checks.attempted(project.state, name, KIND, now), _opened(project, name, now) as (predictor, root):
        recorded = recorded_fingerprint(project, name, root=root, now=now)
        past = _past(project, name, recorded)
        requests = [one.request for one in recorded.reference.probes]
        judged = judge(
            recorded.reference,
            lambda places: ask(predictor, [requests[at] for at in places]),
            rate=recorded.rate,
            number=past.number,
            earlier=past.runs,
            forgotten=past.forgotten,
            queries=queries,
        )
    held = Held(judged, recorded, past.number)
    _keep(project, name, held, past, now)
    return held


def watch_fingerprint(project: Project, name: str, now: datetime) -> tuple[Finding, ...]:
    """What a monitor run says of a model whose fingerprint is recorded; nothing when none is.

    Few questions are asked, and the evidence of all runs counts together.
    """
    if not project.log.entries(kinds=[RECORDED], subject=name):
        return ()
    try:
        held = hold_fingerprint(project, name, now=now, queries=CHEAPLY)
    except AssayError as err:  # the rest of the monitor run stands
        severity = Severity.CRITICAL if err.exit_code == 1 else Severity.ERROR
        return (Finding("fingerprint.unknown", name, severity, err.message),)
    finding = finding_of(name, held)
    return (finding,) if finding else ()


def finding_of(name: str, held: Held) -> Finding | None:
    """What is wrong, as a finding; None when it is the same model within the error rate."""
    judged = held.judged
    if judged.outcome == "same":
        return None
    if judged.outcome == "unknown":
        detail = f"whether it is the recorded model could not be told: {judged.detail}"
        return Finding("fingerprint.unknown", name, Severity.ERROR, detail, _numbers(held))
    detail = f"it is not the model that was recorded: {judged.detail}"
    return Finding("fingerprint.changed", name, Severity.CRITICAL, detail, _numbers(held))


def _numbers(held: Held) -> dict[str, float]:
    judged = held.judged
    found = {"queries": judged.queries, "error_rate": held.recorded.rate, "log_e": judged.log_e}
    found["difference"] = judged.difference
    return {word: float(value) for word, value in found.items() if value is not None}


def _remote(project: Project, name: str) -> bool:
    return project.config.model(name).framework == "http"


@contextmanager
def _opened(project: Project, name: str, now: datetime) -> Iterator[tuple[Predictor, str]]:
    """The verified model, or the API that a verified description names."""
    with integrity.verify_model(project, name, now=now, hold=True) as verified:
        yield verified.load(framework_of(project, name)), verified.root


@dataclass(frozen=True, slots=True)
class _Past:
    """What came before a run.

    Attributes:
        number: The number of this run, from 1.
        runs: Live answers of the runs just before it.
        forgotten: How many stored answers of each probe were used in runs before those.
    """

    number: int
    runs: tuple[Run, ...]
    forgotten: tuple[int, ...]


def _past(project: Project, name: str, recorded: Recorded) -> _Past:
    """The runs so far. How many they were and what they used up is the log's word; their answers are kept beside it."""
    probes = len(recorded.reference.probes)
    logged = project.log.entries(kinds=sorted(OUTCOMES.values()), subject=name)
    last = next((one for one in reversed(logged) if one.entry.data.get("statement") == recorded.statement), None)
    if last is None:
        return _Past(1, (), (0,) * probes)
    number, used = last.entry.data.get("run"), last.entry.data.get("used")
    if not isinstance(number, int) or not isinstance(used, list) or len(used) != probes:
        raise FingerprintError(f"entry {last.position} of the log is no run of this fingerprint: record it again")
    spent = tuple(int(cast("int", one)) for one in used)
    body = checks.last(project.state, name, {KIND: timedelta(0)})[KIND].body
    runs, forgotten = body.get("runs"), body.get("forgotten")
    if not isinstance(runs, list) or not isinstance(forgotten, list) or body.get("run") != number:
        return _Past(number + 1, (), spent)
    kept = tuple(tuple((int(at), int(symbol)) for at, symbol in run) for run in runs)
    if _used(kept, forgotten) != spent or body.get("statement") != recorded.statement:
        return _Past(number + 1, (), spent)
    return _Past(number + 1, kept, tuple(forgotten))


def _used(runs: Sequence[Run], before: Sequence[int]) -> tuple[int, ...]:
    counts = list(before)
    for run in runs:
        for at, _ in run:
            counts[at] += 1
    return tuple(counts)


def _keep(project: Project, name: str, held: Held, past: _Past, now: datetime) -> None:
    judged = held.judged
    runs = (*past.runs, judged.run)
    data: dict[str, object] = {
        "statement": held.recorded.statement,
        "root": held.recorded.root,
        "run": held.number,
        "used": list(_used(runs, past.forgotten)),
        "queries": judged.queries,
        "rate": held.recorded.rate,
        "log_e": judged.log_e,
        "change": judged.change,
        "temperature": judged.temperature,
        "detail": judged.detail,
    }
    position = project.log.append(OUTCOMES[judged.outcome], name, data, actor=project.actor, now=now)
    # After an alarm evidence is gathered anew: what was found is told, what answers next is another question.
    kept = () if judged.outcome == "changed" else runs[-MOST_RUNS:]
    body = {
        "statement": held.recorded.statement,
        "run": held.number,
        "runs": [[list(one) for one in run] for run in kept],
        "forgotten": list(_used(runs[: len(runs) - len(kept)], past.forgotten)),
    }
    outcome = {"same": "pass", "changed": "fail", "unknown": "unknown"}[judged.outcome]
    checks.record(
        project.state, name, KIND, outcome=outcome, detail=judged.detail, now=now, body=body, position=position
    )


def _rows(project: Project, name: str, wanted: int) -> list[Row]:
    """Rows of the reference, spread over all of it: only the columns that the model takes."""
    model = project.config.model(name)
    if model.reference is None:
        raise FingerprintError(f"{name} has no reference to choose probes from: set one, or give --probes FILE")
    schema = schema_of(model.predictions) if model.predictions else None
    time = schema.time if schema else None
    engine = find_engine("duckdb")
    source = Source((model.reference,))
    table = engine.rows(source, time=time, limit=wanted) if time else engine.rows(source, limit=wanted)
    features = _features(schema, table.column_names)
    return cast("list[Row]", table.select(features).to_pylist())


def _features(schema: PredictionSchema | None, columns: Sequence[str]) -> list[str]:
    return [one for one in schema.features_of(columns) if one in columns] if schema else list(columns)


def _given(path: Path) -> list[Mapping[str, object]]:
    """The probes of a file: a JSON list of requests, or of objects with ``request`` and ``probabilities``."""
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_PROBE_BYTES:
            raise TableError(f"{path} has more than {_MAX_PROBE_BYTES:,} bytes")
        data = json.loads(raw.decode())
    except OSError as err:
        raise TableError(f"{path} cannot be read: {err.strerror}") from err
    except (ValueError, RecursionError) as err:
        raise TableError(f"{path} is no JSON: a list of requests is wanted") from err
    if not isinstance(data, list) or not data or not all(isinstance(one, dict) for one in data):
        raise TableError(f"{path} holds no list of requests, each an object of columns")
    return data


def _request(one: Mapping[str, object]) -> Row:
    request = one.get("request")
    return request if isinstance(request, dict) else one
