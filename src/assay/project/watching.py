"""Watching: baseline, windows, cheap evidence at every run, and a diagnosis when something fell or differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select

from assay.diagnosis.basis import basis_of
from assay.diagnosis.case import Case
from assay.diagnosis.comparison import MIN_KNOWN
from assay.diagnosis.diagnose import diagnose
from assay.diagnosis.explanation import addressed
from assay.diagnosis.verdict import SURE, Diagnosis, certainty
from assay.diagnosis.weights import shipped
from assay.engines.base import Source
from assay.engines.forbearing import Forbearing
from assay.engines.shelf import find as find_engine
from assay.findings import Finding, Severity
from assay.monitoring import store as monitoring
from assay.monitoring.alarms import Alarm
from assay.monitoring.labelling import about_outcomes
from assay.monitoring.monitor import Evaluation, evaluate
from assay.monitoring.run import RECOUNTED, run
from assay.monitoring.signals import WindowCounts
from assay.project import checks
from assay.project.baselines import baseline_now, baseline_of
from assay.project.cases import VOLUME, Situation, begun, gather_case, onsets, replay_windows
from assay.project.clients import watch_clients
from assay.project.config import ModelConfig
from assay.project.copies import Copies
from assay.project.fingerprinting import watch_fingerprint
from assay.project.metrics import MOST_SIGNALS
from assay.project.monitoring import predictions_of
from assay.project.pending import Pending, pending_labels
from assay.project.project import Project
from assay.release.store import deployments, live_at
from assay.storage.clock import from_text, utc_text
from assay.storage.database import reading, writing
from assay.storage.tables import diagnoses

UNEXPLAINED = ("unknown", "intact")
GROWN = 1.5  # times the rows that were there: so much more must there be for asking again to be worth its while


@dataclass(frozen=True, slots=True)
class Watched:
    """What one monitor run saw.

    Attributes:
        evaluation: All windows since the baseline, judged.
        new: Alarms that were not known before this run.
        findings: What was odd about the rows, the baseline or the replay.
        diagnosis: Why, when something fell or differs; else None.
    """

    evaluation: Evaluation
    new: tuple[Alarm, ...]
    findings: tuple[Finding, ...]
    diagnosis: Diagnosis | None


def watch(project: Project, model: ModelConfig, copies: Copies, now: datetime) -> Watched:
    """What `assay.project.monitoring.monitor_model` says, with known-good copies that may be opening already."""
    predictions = predictions_of(model)
    name = model.name
    baseline, stale = baseline_now(project, name, baseline_of(project, name, now=now), copies, now)
    known = {window.start for window in monitoring.load_windows(project.state, name, baseline.digest)}
    live = live_at(project.state, name, now)
    copies.verify_all()
    engine, source = Forbearing(find_engine(predictions.engine)), Source((predictions.path,))
    done = run(
        project.state,
        engine,
        source,
        name,
        now=now,
        false_alarm_every=model.monitor.false_alarm_every,
        floors=model.monitor.floors,
        since=live.since if live else None,
        actor=project.actor,
    )
    monitoring.drain(project.state, project.log)
    windows = monitoring.load_windows(project.state, name, baseline.digest)
    fresh = [window for window in windows if window.start not in known]
    new = done.recorded.alarms
    found = None
    situation = Situation.of(
        project,
        name,
        baseline=baseline,
        evaluation=done.evaluation,
        windows=windows,
        copies=copies,
        now=now,
        engine=engine,
    )
    trouble, start = replay_windows(situation, fresh)
    trouble = (*stale, *trouble)
    if live is not None and not windows:
        what = (
            f"windows begin with the deployment of {live.since:%Y-%m-%d %H:%M} UTC: rows from before it are not "
            f"judged, because nobody recorded what answered them; assay diagnose {name} looks at all rows"
        )
        trouble = (*trouble, Finding("window.before-deployment", name, Severity.INFO, what))
    open_question = bool(fresh) and _unsettled(situation)
    if new or start is not None or (fresh and situation.bytes_differ) or open_question:
        surest = max(new, key=lambda alarm: alarm.log_e, default=None)
        found = _diagnosed(situation, start, begun(situation, surest) if surest else None, now)
    pending = pending_labels(engine, source, baseline.schema, now, baseline.specs)
    if pending is not None:
        gone = about_outcomes(baseline.specs, baseline.windows, windows[-RECOUNTED:])
        pending = replace(pending, findings=(*pending.findings, *gone))
    odd = next((one for one in (*engine.findings(), *done.findings, *trouble) if one.severity is Severity.ERROR), None)
    _remember(project, name, done.evaluation, windows, differs=start is not None, odd=odd, pending=pending, now=now)
    asked = watch_fingerprint(project, name, now)
    clients = watch_clients(project, name, now, engine=engine).findings
    chosen = pending.findings if pending is not None else ()
    told = (*engine.findings(), *done.findings, *chosen, *trouble, *asked, *clients)
    return Watched(done.evaluation, new, told, found)


def _unsettled(situation: Situation) -> bool:
    """Whether an alarm stands whose cause could not be told for sure last time, and there are more rows to ask now."""
    if all(alarm.until is not None for alarm in situation.evaluation.alarms):
        return False
    query = select(diagnoses).where(diagnoses.c.model == situation.model.name).order_by(diagnoses.c.id.desc()).limit(1)
    with reading(situation.project.state) as connection:
        last = connection.execute(query).mappings().first()
    if last is None or last["verdict"] in UNEXPLAINED:
        return last is not None
    if certainty(last["verdict"], json.loads(last["body"])["probabilities"]) >= SURE:
        return False
    since, asked = onsets(situation)[0], from_text(last["time"])
    rows = [
        (from_text(one.end), one.rows) for one in situation.windows if since is None or from_text(one.start) >= since
    ]
    return sum(count for _, count in rows) >= GROWN * sum(count for end, count in rows if end <= asked)


def _remember(
    project: Project,
    name: str,
    evaluation: Evaluation,
    windows: Sequence[WindowCounts],
    *,
    differs: bool,
    odd: Finding | None,
    pending: Pending | None,
    now: datetime,
) -> None:
    standing = [alarm for alarm in evaluation.alarms if alarm.until is None]
    if differs:
        outcome, detail = "fail", "outputs differ from those of the signed model"
    elif standing:
        outcome, detail = "fail", f"{len(standing)} signals are alarming, first {standing[0].signal}"
    elif not windows:
        outcome, detail = "unknown", "no complete window yet"
    elif odd is not None:
        outcome, detail = "unknown", f"part of it could not be judged: {odd.detail}"
    else:
        outcome, detail = "pass", f"{len(windows)} windows, nothing beyond tolerance and natural variation"
    newest = from_text(windows[-1].end) if windows else now
    strongest = sorted(evaluation.evidence.items(), key=lambda pair: -pair[1])[:MOST_SIGNALS]
    body = {
        "windows": len(windows),
        "until": utc_text(newest),
        "standing": len(standing),
        "evidence": dict(strongest),
        "pending": pending.ages if pending is not None else None,
        "labels": [one.detail for one in pending.findings] if pending is not None else [],
    }
    checks.record(project.state, name, "monitoring", outcome=outcome, detail=detail, now=min(now, newest), body=body)


def diagnose_model(project: Project, name: str, *, now: datetime) -> Diagnosis:
    """Why a model changed, from everything that is known now; logged.

    Raises:
        DiagnosisError: There are too few rows.
        BaselineError: There is no reference.
    """
    model = project.config.model(name)
    by = model.monitor
    with Copies(project, model, deployments(project.state, name), now) as copies:
        live = live_at(project.state, name, now)
        copies.start(live.root if live else None)  # it opens while rows are read
        baseline, _ = baseline_now(project, name, baseline_of(project, name, now=now), copies, now)
        known = monitoring.load_windows(project.state, name, baseline.digest)
        evaluation = evaluate(baseline, known, false_alarm_every=by.false_alarm_every, floors=by.floors)
        situation = Situation.of(
            project, name, baseline=baseline, evaluation=evaluation, windows=known, copies=copies, now=now
        )
        _, start = replay_windows(situation, known)
        return _diagnosed(situation, start, None, now)


def _diagnosed(situation: Situation, differs: datetime | None, alarmed: datetime | None, now: datetime) -> Diagnosis:
    """Name the cause, and keep it with the digests of what it was computed from.

    Args:
        situation: What is known.
        differs: Since when replay says that outputs differ, or None; then nothing else is asked.
        alarmed: Since when the surest new alarm is, or None.
        now: The present.
    """
    name = situation.model.name
    since_when = list(dict.fromkeys((*((alarmed,) if alarmed else ()), *onsets(situation))))
    tried: list[tuple[Case, Diagnosis]] = []
    for since in [differs] if differs else since_when:
        case = gather_case(situation, since=since)
        if case.recent.num_rows < MIN_KNOWN and tried:
            continue
        tried.append((case, diagnose(case)))
        if tried[-1][1].verdict not in UNEXPLAINED:
            break
        if not situation.windows and len(since_when) == 1 and tried[0][1].onset is not None:
            since_when.append(tried[0][1].onset)  # nothing cut the rows in time yet, but the evidence says where
    else:  # no time gives a cause: what was asked first counts
        tried = tried[:1]
    case, found = tried[-1]
    found = _addressed(_flow_told(found, situation.evaluation.alarms), name)
    _keep(situation.project, name, found, basis_of(case, shipped(), baseline=situation.baseline.digest), now)
    return found


def _flow_told(found: Diagnosis, alarms: Sequence[Alarm]) -> Diagnosis:
    """The same; where all rows that came are well and their number is not, that is said before anything else."""
    flow = next((one for one in alarms if one.until is None and one.signal == VOLUME), None)
    if found.verdict != "intact" or flow is None:
        return found
    what = f"The model answers as it did and does as well as it did, but another number of rows comes: {flow.detail}."
    do = "Find out what sends the rows, and what has become of it; how many come is nothing that a model decides."
    return replace(found, actions=(do,), explanation=(what, found.explanation[1], do))


def _addressed(found: Diagnosis, name: str) -> Diagnosis:
    """The same with the commands in its words as they are typed for this model."""
    what, why, do = addressed(found.explanation, name)
    evidence = tuple(
        item if item.missing is None else replace(item, missing=addressed([item.missing], name)[0])
        for item in found.evidence
    )
    return replace(found, actions=addressed(found.actions, name), explanation=(what, why, do), evidence=evidence)


def _keep(project: Project, name: str, found: Diagnosis, basis: Mapping[str, object], now: datetime) -> None:
    """Log a verdict and remember it; the entry opens the incident."""
    body = found.to_json()
    told = ("verdict", "scope", "silent", "probabilities", "escalate", "explanation", "actions")
    slim = {key: body[key] for key in told}
    slim |= {"onset": body.get("onset"), "computed_from": dict(basis)}
    position = project.log.append("diagnosis.made", name, slim, actor=project.actor, now=now)
    row = {
        "model": name,
        "time": utc_text(now),
        "verdict": found.verdict,
        "body": json.dumps({**body, "computed_from": basis}, default=str),
        "position": position,
    }
    with writing(project.state) as connection:
        connection.execute(diagnoses.insert().values(row))
    outcome = {"intact": "pass", "unknown": "unknown"}.get(found.verdict, "fail")
    checks.record(
        project.state, name, "diagnosis", outcome=outcome, detail=found.explanation[0], now=now, position=position
    )
