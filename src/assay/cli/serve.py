"""``assay serve``: the dashboard, and what is due in a loop."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project
from assay.cli.output import say
from assay.errors import AssayError, ConfigError, MissingExtraError

if TYPE_CHECKING:
    from assay.project.project import Project

TICK_S = 15
TOKEN = "ASSAY_TOKEN"  # noqa: S105 - the name of a variable


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8750, show_default=True, type=click.IntRange(0, 65535))
@click.option("--no-tick", is_flag=True, help="Only show; another process does what is due.")
@click.option("--otel", is_flag=True, help="Send metrics by OpenTelemetry, to where the OTEL_ variables say.")
@click.option("--project", "folder", type=click.Path(path_type=Path), help="Folder of the project; default: this one.")
def serve(*, host: str, port: int, no_tick: bool, otel: bool, folder: Path | None) -> None:
    """Show the dashboard and do what is due, until stopped. The sign-in token is printed at the start.

    Metrics for Prometheus are at /metrics, for who sends the token as a bearer token.
    """
    try:
        import uvicorn

        from assay.dashboard.app import create_app
        from assay.dashboard.patience import Patient
    except ImportError as err:
        raise MissingExtraError("assay serve", "serve") from err
    if folder:
        if not folder.is_dir():
            raise ConfigError(f"no folder {folder}")
        os.chdir(folder)
    project = open_project()
    token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    click.echo(f"assay: http://{host}:{port}/  sign in with the token {token}", err=True)
    told = None
    if otel:
        from assay.dashboard.telemetry import export

        told = export(project, now)
    ended = threading.Event()
    loop = threading.Thread(target=_tick, args=(project, ended), daemon=True)
    if not no_tick:
        loop.start()
    try:
        uvicorn.run(
            create_app(project, token=token, clock=now),
            host=host,
            port=port,
            http=Patient,
            ws="none",
            log_level="warning",
            proxy_headers=False,
        )
    finally:
        ended.set()
        if told is not None:
            told.shutdown()


def _tick(project: Project, ended: threading.Event) -> None:
    """Do what is due until the server ends; a failure is told and does not end the loop."""
    while not ended.is_set():
        try:
            project.run_due(now())
        except AssayError as err:
            say(f"assay: {err.message}", err=True)
        except Exception as err:  # noqa: BLE001 - a loop that ended in silence would watch nothing
            say(f"assay: a fault in assay itself ({type(err).__name__}: {err}); report it", err=True)
        ended.wait(TICK_S)
