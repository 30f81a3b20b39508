"""``assay log``: what happened, and proof that nobody rewrote it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from assay.cli.here import now, open_project
from assay.cli.output import Written, json_option, print_findings, print_json, print_table
from assay.errors import ConfigError

SHOWN = 30


@click.group()
def log() -> None:
    """Show, verify, prove and export the audit log."""


@log.command()
@click.option("--kind", multiple=True, help="Only entries of this kind, like model.signed; repeatable.")
@click.option("--subject", help="Only entries about this model.")
@click.option("--last", default=SHOWN, show_default=True, type=click.IntRange(1), help="How many of the newest.")
@json_option
def show(*, kind: tuple[str, ...], subject: str | None, last: int, as_json: bool) -> None:
    """Show the newest entries."""
    found = open_project().log.entries(kinds=kind or None, subject=subject)[-last:]
    if as_json:
        print_json({"entries": [{"position": one.position, **json.loads(one.entry.canonical())} for one in found]})
        return
    rows = [
        (one.position, f"{one.entry.time:%Y-%m-%d %H:%M:%S}", one.entry.kind, one.entry.subject, one.entry.actor)
        for one in found
    ]
    print_table(("position", "time (UTC)", "kind", "about", "by"), rows)


@log.command()
@json_option
def verify(*, as_json: bool) -> int:
    """Recompute the whole log and hold it against the checkpoints kept elsewhere.

    Exit code 0 sound; 1 edited, deleted, re-ordered or truncated; 3 sound, but without an outside
    checkpoint a truncation cannot be excluded.
    """
    from assay.project.auditing import verify_log

    report = verify_log(open_project(), now=now())
    if as_json:
        findings = [finding.as_json() for finding in report.findings]
        print_json({"state": report.state, "size": report.size, "root": report.root, "findings": findings})
    else:
        words = {
            "sound": "sound: every entry is as it was written, and so say the checkpoints outside",
            "broken": "BROKEN: the log is not what was written",
            "unwitnessed": "sound, but no outside checkpoint was found: truncation cannot be excluded",
        }
        click.echo(f"audit log, {report.size} entries: {words[report.state]}")
        print_findings(report.findings)
    return {"sound": 0, "broken": 1, "unwitnessed": 3}[report.state]


@log.command()
@click.argument("position", type=click.IntRange(0, 2**31 - 1))
@json_option
def prove(position: int, *, as_json: bool) -> None:
    """Prove that the entry at POSITION is in the log of the newest checkpoint."""
    from assay.project.auditing import proof_of

    proof = proof_of(open_project(), position)
    if as_json:
        print_json(proof.as_json())
        return
    click.echo(f"entry {position} is in the log of {proof.size} entries with root {proof.root}")
    for step in proof.path:
        click.echo(f"  {step}")


@log.command()
@click.argument("file", type=Written())
def export(file: Path) -> None:
    """Write all entries and the newest checkpoint to FILE, as JSON lines."""
    from assay.project.auditing import export_log

    if file.exists():
        raise ConfigError(f"{file} is there already: name a new file")
    count = export_log(open_project(), file)
    click.echo(f"wrote {count} entries and the newest checkpoint to {file}")
