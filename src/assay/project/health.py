"""Every model at a glance: what `assay status` prints and the dashboard draws, gathered and never decided here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from assay.incidents.course import Incident
from assay.monitoring.windows import parse_window
from assay.project import checks
from assay.project.checks import Check, Light
from assay.project.config import ModelConfig
from assay.project.project import Project
from assay.release.deployment import Deployment
from assay.release.store import deployments
from assay.storage.clock import utc_text
from assay.storage.database import reading
from assay.storage.tables import deployments as deployment_table
from assay.storage.tables import diagnoses

HEADLINES: Mapping[str, tuple[Light, str]] = {
    "intact": (Light.GOOD, "behaves as when it was approved"),
    "covariate-drift": (Light.UNCERTAIN, "the inputs have drifted"),
    "concept-drift": (Light.UNCERTAIN, "the world has changed"),
    "data-fault": (Light.BAD, "the data pipeline is broken"),
    "unrecorded-deployment": (Light.BAD, "somebody deployed without recording it"),
    "model-tampering": (Light.BAD, "the model was tampered with"),
    "backdoor": (Light.BAD, "the model has a backdoor"),
    "unknown": (Light.UNCERTAIN, "something changed; the cause is unknown"),
}


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """The last verdict about a model.

    Attributes:
        time: When it was made.
        body: As ``assay diagnose --json`` prints it.
        position: Log position of its entry.
    """

    time: datetime
    body: Mapping[str, object]
    position: int | None

    @property
    def verdict(self) -> str:
        """The verdict's name."""
        return str(self.body.get("verdict", "unknown"))

    @property
    def told(self) -> str:
        """What happened, in one sentence; empty when none is kept."""
        sentences = self.body.get("explanation")
        return str(sentences[0]) if isinstance(sentences, list) and sentences else ""


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """One model as it stands.

    Attributes:
        name: Its name in assay.toml.
        config: Its table of assay.toml.
        light: What a person may conclude at a glance.
        headline: The same in a few words.
        checks: The last run of every kind of check.
        live: What is recorded as live; None before the first deployment.
        incidents: Open and acknowledged incidents, newest first.
        diagnosed: The last verdict, if there is one.
    """

    name: str
    config: ModelConfig
    light: Light
    headline: str
    checks: Mapping[str, Check]
    live: Deployment | None
    incidents: tuple[Incident, ...]
    diagnosed: Diagnosed | None

    def as_json(self, now: datetime) -> dict[str, object]:
        """The model as ``assay status --json`` prints it."""
        live = self.live
        return {
            "name": self.name,
            "light": self.light.value,
            "headline": self.headline,
            "root": live.root if live else None,
            "version": live.version if live else None,
            "live_since": utc_text(live.since) if live else None,
            "verdict": self.diagnosed.verdict if self.diagnosed else None,
            "incidents": [one.as_json() for one in self.incidents],
            "checks": {kind: _check_json(check, now) for kind, check in self.checks.items()},
        }


@dataclass(frozen=True, slots=True)
class ProjectHealth:
    """All models, and the log that vouches for what is said about them.

    Attributes:
        name: The project's.
        models: In the order of assay.toml.
        log: The last verification of the audit log.
        log_size: How many entries it has.
        checkpoint: The newest signed checkpoint, as text.
        incidents: Open and acknowledged incidents of the project, newest first.
        forgotten: Models that the log has live and assay.toml no longer names.
    """

    name: str
    models: tuple[ModelHealth, ...]
    log: Check
    log_size: int
    checkpoint: str | None
    incidents: tuple[Incident, ...]
    forgotten: tuple[str, ...] = ()

    def as_json(self, now: datetime) -> dict[str, object]:
        """The project as ``assay status --json`` and ``/api/health`` print it."""
        log = {**_check_json(self.log, now), "size": self.log_size, "checkpoint": self.checkpoint}
        models = [model.as_json(now) for model in self.models]
        return {
            "project": self.name,
            "time": utc_text(now),
            "models": models,
            "log": log,
            "forgotten": list(self.forgotten),
        }


def _check_json(check: Check, now: datetime) -> dict[str, object]:
    return {
        "light": check.light(now).value,
        "outcome": check.outcome,
        "time": utc_text(check.time) if check.time else None,
        "detail": check.detail,
        "log": check.position,
    }


def project_health(project: Project, *, now: datetime) -> ProjectHealth:
    """Everything a person needs to know first, read from the stores."""
    current = tuple(one for one in project.desk.list() if one.state != "resolved")
    limits = {"log": checks.limits(tier="standard", window=timedelta(days=1))["log"]}
    log = project.log
    return ProjectHealth(
        name=project.config.name,
        models=tuple(model_health(project, name, current, now=now) for name in project.config.models),
        log=checks.last(project.state, checks.WHOLE_PROJECT, limits)["log"],
        log_size=log.size(),
        checkpoint=log.checkpoint(),
        incidents=current,
        forgotten=_forgotten(project),
    )


def _forgotten(project: Project) -> tuple[str, ...]:
    """A table that was deleted from assay.toml must not make a live model vanish from sight."""
    with reading(project.state) as connection:
        query = select(deployment_table.c.model).where(deployment_table.c.until.is_(None)).distinct()
        live = {str(name) for name in connection.execute(query).scalars()}
    return tuple(sorted(live - set(project.config.models)))


def model_health(project: Project, name: str, current: tuple[Incident, ...], *, now: datetime) -> ModelHealth:
    """One model as it stands.

    Args:
        project: Whose model.
        name: Which.
        current: Incidents that are not resolved, of all models.
        now: The present.

    Raises:
        ConfigError: There is no such model.
    """
    config = project.config.model(name)
    recorded = checks.last(project.state, name, {"fingerprint": timedelta(0)})["fingerprint"].time is not None
    found = checks.last(project.state, name, _limits(config, recorded=recorded))
    mine = tuple(one for one in current if one.model == name)
    diagnosed = last_diagnosis(project, name)
    history = deployments(project.state, name)
    live = next((one for one in reversed(history) if one.until is None), None)
    light, headline = _headline(found, mine, diagnosed, live, now)
    return ModelHealth(name, config, light, headline, found, live, mine, diagnosed)


def _limits(config: ModelConfig, *, recorded: bool) -> dict[str, timedelta]:
    """Only the checks that this model's configuration asks for: what nobody configured cannot be stale."""
    width = parse_window(config.monitor.window)
    span = width if isinstance(width, timedelta) else timedelta(days=1)  # windows of rows have no span of their own
    limits = checks.limits(tier=config.tier, window=span)
    if config.policy is not None:
        limits["scan"] = config.policy.max_age  # nothing scans by itself: as old as the gate lets it be
    wanted = {
        "bytes": True,
        "data": config.training is not None,
        "validation": config.suite is not None,
        "scan": config.policy is not None and "scan" in config.policy.require,
        "monitoring": config.predictions is not None,
        "clients": config.predictions is not None and config.predictions.client is not None,
        "fingerprint": config.framework == "http" or recorded,
        "diagnosis": config.predictions is not None,
    }
    return {kind: limits[kind] for kind, asked in wanted.items() if asked}


def _headline(
    found: Mapping[str, Check],
    incidents: tuple[Incident, ...],
    diagnosed: Diagnosed | None,
    live: Deployment | None,
    now: datetime,
) -> tuple[Light, str]:
    """The worst of what is known, in words; green only when every check is fresh and passed."""
    lights = {kind: check.light(now) for kind, check in found.items()}
    verdict = HEADLINES.get(diagnosed.verdict) if diagnosed else None
    old = [kind for kind, light in lights.items() if light in (Light.STALE, Light.NEVER) and kind != "diagnosis"]
    ranked: list[tuple[bool, Light, str]] = [
        (lights.get("bytes") is Light.BAD, Light.BAD, _refused(found.get("bytes"))),
        (verdict is not None and verdict[0] is not Light.GOOD, *(verdict or (Light.GOOD, ""))),
        (lights.get("data") is Light.BAD, Light.BAD, "the training data changed"),
        (lights.get("fingerprint") is Light.BAD, Light.BAD, "another model answers than was recorded"),
        (lights.get("clients") is Light.BAD, Light.BAD, "a client is copying or probing it"),
        (lights.get("scan") is Light.BAD, Light.BAD, "the scan found unsafe code"),
        (lights.get("validation") is Light.BAD, Light.BAD, "validation failed"),
        (lights.get("monitoring") is Light.BAD, Light.BAD, "monitoring raised an alarm"),
        (bool(incidents), Light.UNCERTAIN, f"{len(incidents)} open incident{'s' if len(incidents) > 1 else ''}"),
        (live is None, Light.NEVER, "never deployed"),
        (bool(old), Light.STALE, f"not checked lately: {', '.join(old)}"),
        (Light.UNCERTAIN in lights.values(), Light.UNCERTAIN, "a check could not tell"),
    ]
    for holds, light, words in ranked:
        if holds:
            return light, words
    return Light.GOOD, "as deployed, and behaving as approved"


def _refused(check: Check | None) -> str:
    """Why the deployed model is refused: its bytes, or only whose signature it is, as when a key was revoked."""
    told = check.body.get("findings", []) if check is not None else []
    rules = [str(one.get("rule", "")) for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    if rules and all(rule.startswith(("trust.", "certificate.", "signature.")) for rule in rules):
        return "the signature of the deployed model does not count"
    return "the deployed bytes are not the signed ones"


def last_diagnosis(project: Project, name: str) -> Diagnosed | None:
    """The last verdict about a model, if there is one."""
    from assay.storage.clock import from_text

    query = select(diagnoses).where(diagnoses.c.model == name).order_by(diagnoses.c.id.desc()).limit(1)
    with reading(project.state) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return Diagnosed(from_text(str(row["time"])), json.loads(str(row["body"])), row["position"])
