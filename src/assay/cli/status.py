"""``assay status``: every model on one screen."""

from __future__ import annotations

from datetime import datetime

import click

from assay.cli.here import now, open_project
from assay.cli.output import json_option, print_json, say

SIGNS = {
    "good": ("●", "green"),
    "bad": ("✗", "red"),
    "uncertain": ("!", "yellow"),
    "stale": ("○", None),
    "never": ("-", None),
}
WIDE = 90  # characters of a check's sentence; all of it is on the dashboard and in --json
RANK = ("good", "never", "stale", "uncertain", "bad")


@click.command()
@json_option
def status(*, as_json: bool) -> int:
    """Every model: what is live, how fresh each check is, open incidents.

    Exit code 0 all good, 1 something is bad, 3 something is stale or uncertain.
    """
    from assay.project.health import project_health

    project = open_project()
    moment = now()
    project.tell(moment)
    health = project_health(project, now=moment)
    lights = [model.light.value for model in health.models] + [health.log.light(moment).value]
    worst = "bad" if health.forgotten else max(lights, key=RANK.index)
    if as_json:
        print_json(health.as_json(moment))
    else:
        for model in health.models:
            _sign(model.light.value, f"{model.name}: {model.headline}")
            if model.live:
                live = model.live
                click.echo(f"    live   version {live.version}, sha256:{live.root[:16]}…, since {live.since:%Y-%m-%d}")
            for kind, check in model.checks.items():
                light = check.light(moment).value
                say(f"    {SIGNS[light][0]} {kind:11} {_age(check.time, moment):>9}  {_short(check.detail)}")
            for incident in model.incidents:
                owner = incident.owner or "nobody has it"
                say(f"    incident {incident.id}: {incident.title} ({incident.state}, {owner})", fg="red")
        for name in health.forgotten:
            _sign("bad", f"{name}: live by the deployment record, but no longer in assay.toml")
        if not health.models and not health.forgotten:
            click.echo("no model in assay.toml yet")
        light = health.log.light(moment).value
        _sign(light, f"audit log: {health.log_size} entries; last verified {_age(health.log.time, moment)}")
    return {"good": 0, "bad": 1}.get(worst, 3)


def _short(detail: str) -> str:
    return detail if len(detail) <= WIDE else f"{detail[: WIDE - 1].rstrip()}…"


def _sign(light: str, text: str) -> None:
    sign, color = SIGNS[light]
    click.secho(f"{sign} {text}", fg=color, bold=True)


def _age(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word} ago"
    return "just now"
