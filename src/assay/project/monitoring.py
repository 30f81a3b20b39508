"""The beginning of a monitor run: what takes longest, opening the known-good copy, comes before all else."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from assay.errors import ConfigError
from assay.project import checks
from assay.project.config import ModelConfig, Predictions
from assay.project.copies import Copies
from assay.project.project import Project
from assay.project.rebaselining import check_baseline
from assay.release.store import deployments, live_at
from assay.storage.clock import from_text, parse_span
from assay.storage.database import reading
from assay.storage.tables import baselines, windows

if TYPE_CHECKING:
    from assay.project.watching import Watched


def monitored_models(project: Project) -> list[str]:
    """Models that have predictions to watch, in the order of assay.toml."""
    return [name for name, model in project.config.models.items() if model.predictions]


def predictions_of(model: ModelConfig) -> Predictions:
    """Where a model's predictions are.

    Raises:
        ConfigError: assay.toml does not say.
    """
    if model.predictions is None:
        raise ConfigError(
            f"[models.{model.name}] names no predictions: add [models.{model.name}.predictions] with path, time and "
            "prediction"
        )
    return model.predictions


def monitor_model(project: Project, name: str, now: datetime) -> Watched:
    """Judge all complete windows; ask the cheap evidence; diagnose when something fell or differs; log all of it.

    Running it twice changes nothing: windows and alarms are kept under their baseline, entries under their key.

    Raises:
        BaselineError: There is none to judge by, or not the one that the log tells of.
    """
    model = project.config.model(name)
    predictions_of(model)
    with (
        checks.attempted(project.state, name, "monitoring", now),
        Copies(project, model, deployments(project.state, name), now) as copies,
    ):
        check_baseline(project, name)
        live = live_at(project.state, name, now)
        if live is not None and _may_be_due(project, model, now):
            copies.start(live.root)
        from assay.project.watching import watch  # its libraries are imported while the copy opens

        return watch(project, model, copies, now)


def _may_be_due(project: Project, model: ModelConfig, now: datetime) -> bool:
    """Whether a window can have become complete since the last one that is known."""
    mine = windows.c.baseline.in_(select(baselines.c.digest).where(baselines.c.model == model.name))
    known = select(windows.c.end).where(windows.c.model == model.name, mine).order_by(windows.c.end.desc()).limit(1)
    with reading(project.state) as connection:
        until = connection.execute(known).scalar()
    try:
        return until is None or now >= from_text(until) + parse_span(model.monitor.window)
    except ConfigError:  # a number of rows: they may be there at any time
        return True
