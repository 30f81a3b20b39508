"""``assay gate``: may it go live? A reason for every rule."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.here import now, open_project, read_key
from assay.cli.output import Written, json_option, print_json, say
from assay.errors import ConfigError


@click.command()
@click.argument("name")
@click.option("--requester", help="Identity that asks, who may not approve; default: you.")
@click.option("--vsa", type=Written(), help="Write a signed verification summary (SLSA VSA) here.")
@click.option("--key", metavar="KEY", help="Key that signs the summary.")
@json_option
def gate(*, name: str, requester: str | None, vsa: Path | None, key: str | None, as_json: bool) -> int:
    """Hold model NAME against its policy; asks for reviews the first time.

    Exit code 0 admitted, 1 refused, 3 evidence missing or stale.
    """
    from assay.project.releasing import decide, summary

    if (vsa is None) != (key is None):
        raise ConfigError("a verification summary is signed: give --vsa FILE and --key PEM together")
    signer = read_key(key) if key else None
    project = open_project()
    decision = decide(project, name, requester=requester, now=now())
    project.tell(now())
    if vsa and signer:
        vsa.write_text(summary(decision, signer).to_json() + "\n", encoding="utf-8")
    if as_json:
        print_json(decision.as_json())
        return decision.exit_code
    words = {"admit": "ADMITTED", "refuse": "REFUSED", "unknown": "CANNOT TELL"}
    click.echo(f"{name}: {words[decision.outcome]}")
    for rule in decision.rules:
        sign = {"admit": "✓", "refuse": "✗", "unknown": "?"}[rule.outcome]
        say(f"  {sign} {rule.rule}: {rule.detail}")
    return decision.exit_code
