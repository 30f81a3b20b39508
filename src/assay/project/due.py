"""What is due, done: called by `assay tick` and by the server's loop, from any number of processes at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from assay.errors import AssayError
from assay.findings import Finding, Severity
from assay.monitoring.windows import parse_window
from assay.project.auditing import verify_log
from assay.project.clients import watch_clients
from assay.project.data import verify_data
from assay.project.fingerprinting import CHEAPLY, hold_fingerprint
from assay.project.integrity import verify_model
from assay.project.monitoring import monitor_model
from assay.project.project import Project
from assay.project.retention import recorded_folder, tidy
from assay.project.validating import CHECK, validate_model
from assay.storage.timers import Timers

LEASE = timedelta(hours=1)
DAY = timedelta(days=1)
QUICKEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that was due.

    Attributes:
        what: ``verify spam``.
        outcome: ``pass``, ``fail`` or ``unknown``.
        detail: One sentence.
    """

    what: str
    outcome: str
    detail: str


Work = Callable[[datetime], tuple[str, str]]


def run_due(project: Project, now: datetime) -> list[Done]:
    """Do what is due, each turn by one process; then open, escalate and send incidents.

    A check that fails or cannot run does not keep the others from running.
    """
    timers = Timers(project.state)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    done: list[Done] = []
    agenda = _agenda(project)
    for what, (every, _) in agenda.items():
        timers.ensure(what, every, now)
    for what in timers.due(now):
        if what not in agenda:
            timers.forget(what)  # its model or its table is no longer in assay.toml
            continue
        if not timers.take(what, owner, now, LEASE):
            continue
        done.append(_do(what, agenda[what][1], now))
        timers.done(what, now, owner=owner)
    try:
        project.tell(now)
    except AssayError as err:  # what was done is still said
        done.append(Done("tell", "fail" if err.exit_code == 1 else "unknown", err.message))
    return done


def _do(what: str, work: Work, now: datetime) -> Done:
    try:
        outcome, detail = work(now)
    except AssayError as err:
        return Done(what, "fail" if err.exit_code == 1 else "unknown", err.message)
    except OSError as err:
        return Done(what, "unknown", f"{err.strerror or err}: {err.filename or 'no file named'}")
    return Done(what, outcome, detail)


def _agenda(project: Project) -> dict[str, tuple[timedelta, Work]]:
    """What this project's configuration asks for, and how often."""
    agenda: dict[str, tuple[timedelta, Work]] = {"verify the log": (DAY, lambda now: _log(project, now))}
    for name, model in project.config.models.items():
        agenda[f"verify {name}"] = (DAY, _verify(project, name))
        if model.framework == "http" and not model.predictions:  # else the monitor run asks
            agenda[f"fingerprint {name}"] = (DAY, _fingerprint(project, name))
        if model.training:
            agenda[f"verify the training data of {name}"] = (7 * DAY, _data(project, name))
        if model.suite:
            agenda[f"validate {name}"] = (DAY if model.tier == "critical" else 7 * DAY, _validate(project, name))
        if model.predictions:
            width = parse_window(model.monitor.window)
            every = max(QUICKEST, min(width, DAY)) if isinstance(width, timedelta) else timedelta(hours=1)
            agenda[f"monitor {name}"] = (every, _monitor(project, name))
            folder = recorded_folder(model)
            if folder and os.access(folder, os.W_OK):  # where we may not write, another process does
                agenda[f"tidy the predictions of {name}"] = (timedelta(hours=1), _tidy(project, name))
            if model.predictions.client and model.clients.window < every:  # else the monitor run looks at them
                agenda[f"watch the clients of {name}"] = (max(QUICKEST, model.clients.window), _clients(project, name))
    return agenda


def _log(project: Project, now: datetime) -> tuple[str, str]:
    report = verify_log(project, now=now)
    outcome = {"sound": "pass", "broken": "fail", "unwitnessed": "unknown"}[report.state]
    return outcome, f"{report.size} entries, {report.state}"


def _verify(project: Project, name: str) -> Work:
    def work(now: datetime) -> tuple[str, str]:
        verified = verify_model(project, name, now=now)
        return "pass", f"as signed by {verified.signer}"

    return work


def _data(project: Project, name: str) -> Work:
    def work(now: datetime) -> tuple[str, str]:
        report = verify_data(project, name, now=now)
        return (
            "fail" if report.changed else "pass"
        ), f"{report.rows:,} rows {'CHANGED' if report.changed else 'as signed'}"

    return work


def _validate(project: Project, name: str) -> Work:
    def work(now: datetime) -> tuple[str, str]:
        report = validate_model(project, name, suite=None, signer=None, now=now).report
        return CHECK[report.outcome], f"{report.suite}: {report.outcome.value}"

    return work


def _tidy(project: Project, name: str) -> Work:
    def work(now: datetime) -> tuple[str, str]:
        done = tidy(project, name, now=now)
        deleted = done.pruned.doomed.rows if done.pruned else 0
        said = f"{done.settled.joined:,} labels joined, {done.compacted.merged:,} files compacted"
        said = f"{said}, {deleted:,} rows deleted" if deleted else said
        odd = _odd((*done.settled.findings, *done.compacted.findings))
        return "unknown" if odd else "pass", said + odd

    return work


def _fingerprint(project: Project, name: str) -> Work:
    def work(now: datetime) -> tuple[str, str]:
        judged = hold_fingerprint(project, name, now=now, queries=CHEAPLY).judged
        return {"same": "pass", "changed": "fail", "unknown": "unknown"}[judged.outcome], judged.detail

    return work


def _clients(project: Project, name: str) -> Work:
    def work(now: datetime) -> tuple[str, str]:
        seen = watch_clients(project, name, now)
        odd = _odd(seen.findings)
        unsure = any(not one.is_world for one in seen.doubts)
        outcome = "fail" if seen.new else "unknown" if odd or unsure else "pass"
        return outcome, f"{seen.clients} clients in {seen.windows} windows, {len(seen.new)} new alarms{odd}"

    return work


def _monitor(project: Project, name: str) -> Work:
    def work(now: datetime) -> tuple[str, str]:
        watched = monitor_model(project, name, now)
        failed = watched.new or any(one.severity is Severity.CRITICAL for one in watched.findings)
        odd = _odd(watched.findings)
        said = f"{watched.evaluation.windows} windows, {len(watched.new)} new alarms{odd}"
        return "fail" if failed else "unknown" if odd else "pass", said

    return work


def _odd(findings: Sequence[Finding]) -> str:
    """What could not be judged, in words behind an outcome; empty when all could."""
    odd = [one for one in findings if one.severity is Severity.ERROR]
    return f"; {len(odd)} findings, first {odd[0].rule} ({odd[0].subject})" if odd else ""
