"""``assay tick``: do what is due, then end; for cron and Kubernetes jobs."""

from __future__ import annotations

import click

from assay.cli.here import now, open_project
from assay.cli.output import json_option, print_json, progress


@click.command()
@json_option
def tick(*, as_json: bool) -> int:
    """Run the checks, monitoring and escalations that are due; exit code 1 if one failed."""
    project = open_project()
    with progress("doing what is due"):
        done = project.run_due(now())
    if as_json:
        print_json({"done": [{"what": one.what, "outcome": one.outcome, "detail": one.detail} for one in done]})
    elif not done:
        click.echo("nothing is due")
    else:
        for one in done:
            click.echo(f"{one.outcome:8} {one.what}: {one.detail}")
    return (
        1 if any(one.outcome == "fail" for one in done) else 3 if any(one.outcome == "unknown" for one in done) else 0
    )
