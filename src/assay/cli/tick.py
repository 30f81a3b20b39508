"""``assay tick``: do what is due, then end; for cron and Kubernetes jobs."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.here import now, open_project
from assay.cli.output import Written, json_option, print_json, progress, say


@click.command()
@click.option("--metrics", type=Written(), help="Then write FILE in the OpenMetrics format, for a textfile collector.")
@json_option
def tick(*, metrics: Path | None, as_json: bool) -> int:
    """Run the checks, monitoring and escalations that are due; exit code 1 if one failed."""
    project = open_project()
    with progress("doing what is due"):
        done = project.run_due(now())
    if metrics is not None:
        from assay.dashboard.openmetrics import write
        from assay.project.metrics import gather

        write(metrics, gather(project, now=now()))
    if as_json:
        print_json({"done": [{"what": one.what, "outcome": one.outcome, "detail": one.detail} for one in done]})
    elif not done:
        click.echo("nothing is due")
    else:
        for one in done:
            say(f"{one.outcome:8} {one.what}: {one.detail}")
    return (
        1 if any(one.outcome == "fail" for one in done) else 3 if any(one.outcome == "unknown" for one in done) else 0
    )
