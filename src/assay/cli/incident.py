"""``assay incident``: what people must look at, and what they did."""

from __future__ import annotations

import json
from pathlib import Path

import click

from assay.cli.here import now, open_project
from assay.cli.output import Written, json_option, print_json, print_table, say


@click.group()
def incident() -> None:
    """List, show, acknowledge, resolve and export incidents."""


@incident.command("list")
@click.option("--model", help="Only this model's.")
@click.option("--all", "everything", is_flag=True, help="Resolved ones too.")
@json_option
def list_incidents(*, model: str | None, everything: bool, as_json: bool) -> None:
    """List incidents, newest first."""
    project = open_project()
    project.tell(now())
    found = [one for one in project.desk.list(model=model) if everything or one.state != "resolved"]
    if as_json:
        print_json({"incidents": [one.as_json() for one in found]})
        return
    if not found:
        click.echo("no open incident")
        return
    rows = [
        (one.id, one.severity, one.state, one.model, f"{one.opened:%Y-%m-%d %H:%M}", one.owner or "nobody", one.title)
        for one in found
    ]
    print_table(("id", "severity", "state", "model", "opened (UTC)", "owner", "what"), rows)


@incident.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@json_option
def show(number: int, *, as_json: bool) -> None:
    """Show one incident and every step taken."""
    from assay.project.health import last_diagnosis

    project = open_project()
    shown = project.desk.show(number)
    if as_json:
        print_json(shown.as_json())
        return
    found = shown.incident
    say(f"incident {found.id}: {found.title}")
    say(f"  model {found.model}, {found.kind}, {found.severity}, {found.state}, owner {found.owner or 'nobody'}")
    say(f"  known: {', '.join(found.facts)}; log entries {', '.join(map(str, shown.positions)) or 'none'}")
    why = last_diagnosis(project, found.model)
    if why is not None:
        say(f"  last diagnosis, {why.time:%Y-%m-%d %H:%M} UTC: {why.verdict}. {why.told}")
    rows = [(f"{step.time:%Y-%m-%d %H:%M:%S}", step.kind, step.actor, step.detail, step.entry) for step in shown.steps]
    print_table(("time (UTC)", "step", "by", "detail", "log"), rows)


@incident.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@json_option
def acknowledge(number: int, *, as_json: bool) -> None:
    """Take an incident: it no longer escalates."""
    project = open_project()
    project.desk.acknowledge(number, project.actor, now())
    _done(f"incident {number} is yours, {project.actor}", {"id": number, "state": "acknowledged"}, as_json=as_json)


@incident.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.option("--reason", required=True, help="What it was, and what was done.")
@json_option
def resolve(number: int, *, reason: str, as_json: bool) -> None:
    """Close an incident with a reason."""
    project = open_project()
    project.desk.resolve(number, project.actor, reason, now())
    _done(f"incident {number} is resolved", {"id": number, "state": "resolved"}, as_json=as_json)


@incident.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.argument("file", type=Written())
@json_option
def export(number: int, file: Path, *, as_json: bool) -> None:
    """Write the evidence bundle of an incident: a zip that verifies offline."""
    from assay.project.auditing import export_incident

    project = open_project()
    export_incident(project, number, file, now=now())
    text = (
        f"wrote {file}; to check it anywhere, take verify.py out of it: python verify.py {file.name} --key KEY, "
        f"where KEY is the log's public key: {project.log.key_string}"
    )
    _done(text, {"id": number, "file": str(file)}, as_json=as_json)


def _done(text: str, data: dict[str, object], *, as_json: bool) -> None:
    click.echo(json.dumps(data) if as_json else text)
