"""One diagnosis as one file: everything the dashboard says of it, without a server, a script or a request."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from pathlib import Path

from assay.errors import DiagnosisError, StorageError
from assay.project.health import HEADLINES, model_health, project_health
from assay.project.project import Project


def write(path: Path, project: Project, name: str, *, now: datetime) -> None:
    """Write the last diagnosis of a model as a page that stands alone.

    Args:
        path: The file.
        project: Whose model.
        name: Which.
        now: The present.

    Raises:
        DiagnosisError: It was never diagnosed.
        MissingExtraError: The renderer is not installed.
        StorageError: The file cannot be written.
    """
    text = page(project, name, now=now)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise StorageError(f"{path} cannot be written: {err.strerror or err}") from err


def page(project: Project, name: str, *, now: datetime) -> str:
    """The page as text.

    Raises:
        DiagnosisError: It was never diagnosed.
    """
    from assay.dashboard.pages import model_page
    from assay.dashboard.rendering import environment

    current = project_health(project, now=now).incidents
    health = model_health(project, name, current, now=now)
    if health.diagnosed is None:
        raise DiagnosisError(f"{name} was never diagnosed")
    light, _ = HEADLINES.get(health.diagnosed.verdict, HEADLINES["unknown"])
    values = model_page(project, health, now)
    style = files("assay.dashboard").joinpath("static/assay.css").read_text(encoding="utf-8")
    return (
        environment(lambda: now)
        .get_template("explained.html")
        .render(
            project=project.config.name,
            model=health,
            light=light.value,
            style=style,
            now=now,
            **values,
        )
    )
