"""A project in numbers for other systems: read from the stores, the same for every exporter, bounded in number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Final, Literal

from assay.findings import Severity
from assay.monitoring.windows import parse_window
from assay.project.checks import Check, Light
from assay.project.curves import curves
from assay.project.health import ModelHealth, ProjectHealth, project_health
from assay.project.project import Project
from assay.storage.clock import from_text

Unit = Literal["", "seconds", "ratio"]

MOST_SIGNALS: Final = 50
"""Signals of one model that are told of: those with the most evidence. More would be a series for every slice."""

FIGURES: Final = ("accuracy", "accuracy:estimated", "confidence", "failures", "latency_s:p95")
QUESTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "is_it_the_model": ("bytes", "fingerprint", "scan", "data"),
    "does_it_perform": ("monitoring", "validation", "clients"),
    "why": ("diagnosis",),
}
_WORST: Final = (Light.GOOD, Light.NEVER, Light.STALE, Light.UNCERTAIN, Light.BAD)


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of number.

    Attributes:
        name: Words joined by dots, without the unit.
        unit: What it is counted in; nothing for plain numbers.
        says: One line.
        samples: Labels and value of each.
    """

    name: str
    unit: Unit
    says: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def gather(project: Project, *, now: datetime, empty: bool = False) -> tuple[Family, ...]:
    """Every number of a project that other systems are told; those without any only when ``empty``.

    Raises:
        StorageError: The state cannot be read.
    """
    health = project_health(project, now=now)
    models = health.models
    families = [
        Family("assay.build", "", "The version that runs; always 1", (({"version": version("assay")}, 1.0),)),
        _lights("assay.model.light", "What may be concluded of a model at a glance", _model_lights(health)),
        _lights("assay.question.light", "The three questions, by their checks", _question_lights(health, now)),
        _lights("assay.check.light", "State of each check; old is stale, never good", _check_lights(health, now)),
        *_ages(health),
        *_monitoring(project, models, now),
        Family(
            "assay.incidents.open",
            "",
            "Incidents nobody has resolved",
            tuple(
                (
                    {"model": model.name, "severity": rank.value},
                    float(sum(one.severity is rank for one in model.incidents)),
                )
                for model in models
                for rank in Severity
            ),
        ),
        Family("assay.log.entries", "", "Entries of the audit log", (({}, float(health.log_size)),)),
        Family("assay.models.forgotten", "", "Live, but not in assay.toml", (({}, float(len(health.forgotten))),)),
    ]
    return tuple(family for family in families if family.samples or empty)


def _lights(name: str, says: str, found: Iterable[tuple[Mapping[str, str], Light]]) -> Family:
    """One sample for each light: 1 for the one that is on."""
    samples = tuple(({**labels, "light": one.value}, float(one is light)) for labels, light in found for one in Light)
    return Family(name, "", says, samples)


def _model_lights(health: ProjectHealth) -> Iterable[tuple[Mapping[str, str], Light]]:
    return [({"model": model.name}, model.light) for model in health.models]


def _check_lights(health: ProjectHealth, now: datetime) -> Iterable[tuple[Mapping[str, str], Light]]:
    for model in health.models:
        for kind, check in model.checks.items():
            yield {"model": model.name, "check": kind}, check.light(now)
    yield {"model": "", "check": "log"}, health.log.light(now)


def _question_lights(health: ProjectHealth, now: datetime) -> Iterable[tuple[Mapping[str, str], Light]]:
    for model in health.models:
        for question, kinds in QUESTIONS.items():
            lights = [model.checks[kind].light(now) for kind in kinds if kind in model.checks]
            if lights:
                yield {"model": model.name, "question": question}, max(lights, key=_WORST.index)


def _ages(health: ProjectHealth) -> tuple[Family, Family]:
    every: list[tuple[Mapping[str, str], Check]] = [
        ({"model": model.name, "check": kind}, check) for model in health.models for kind, check in model.checks.items()
    ]
    every.append(({"model": "", "check": "log"}, health.log))
    last = tuple((labels, check.time.timestamp()) for labels, check in every if check.time is not None)
    most = tuple((labels, check.limit.total_seconds()) for labels, check in every)
    return (
        Family("assay.check.last.timestamp", "seconds", "When each check last ran, Unix time; bytes: verified", last),
        Family("assay.check.max.age", "seconds", "How old a check may be before it counts for nothing", most),
    )


def _monitoring(project: Project, models: Iterable[ModelHealth], now: datetime) -> tuple[Family, ...]:
    evidence, behind, waiting, alarms, figures, budget = [], [], [], [], [], []
    for model in models:
        if "monitoring" not in model.checks:
            continue
        own, body = {"model": model.name}, model.checks["monitoring"].body
        known = body.get("evidence")
        strongest = sorted(known.items(), key=lambda pair: -pair[1]) if isinstance(known, dict) else []
        evidence += [({**own, "signal": name}, float(share)) for name, share in strongest[:MOST_SIGNALS]]
        budget.append((own, model.config.monitor.false_alarm_every.total_seconds()))
        alarms.append((own, float(_number(body.get("standing")))))
        width, until = parse_window(model.config.monitor.window), body.get("until")
        if isinstance(width, timedelta) and isinstance(until, str):
            behind.append((own, float(max(0, (now - from_text(until)) // width))))
        pending = body.get("pending")
        for age, counts in pending.items() if isinstance(pending, dict) else ():
            waiting.append(({**own, "younger_than": age}, float(_number(counts.get("waiting")))))
        windows = curves(project, model.name)
        last = windows[-1].values if windows else {}
        figures += [({**own, "figure": name}, last[name][0]) for name in FIGURES if name in last]
    return (
        Family("assay.signal.evidence", "ratio", "Evidence against a signal; an alarm needs 1 in sum", tuple(evidence)),
        Family("assay.alarms.standing", "", "Signals that are alarming now", tuple(alarms)),
        Family("assay.windows.behind", "", "Complete windows that were not judged yet", tuple(behind)),
        Family("assay.labels.pending", "", "Rows without a label, by the age they are under", tuple(waiting)),
        Family("assay.window.figure", "ratio", "Figures of the last window; what is estimated says so", tuple(figures)),
        Family("assay.budget", "seconds", "Time between false alarms over all signals, by promise", tuple(budget)),
        *_clients(models),
    )


def _clients(models: Iterable[ModelHealth]) -> tuple[Family, ...]:
    there = [(model.name, model.checks[kind].body) for model in models for kind in ("clients",) if kind in model.checks]
    return (
        Family(
            "assay.clients.seen",
            "",
            "Clients in the windows that are kept",
            tuple(({"model": name}, float(_number(body.get("clients")))) for name, body in there),
        ),
        Family(
            "assay.clients.alarms.standing",
            "",
            "Clients that are copying or probing now, by what they do",
            tuple(({"model": name}, float(_number(body.get("standing")))) for name, body in there),
        ),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
