"""``assay baseline``: what is normal?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from assay.cli.here import KEY_HELP, now, open_project, read_key
from assay.cli.output import json_option, print_findings, print_json, print_table, progress

if TYPE_CHECKING:
    from assay.monitoring.patterns import Pattern


@click.command()
@click.argument("name")
@click.option("--random-split", is_flag=True, help="The reference lies between other rows in time, and that is meant.")
@click.option("--reason", default="", help="Why the baseline in force shall not count any more.")
@click.option("--key", metavar="KEY", help=f"Of a reviewer, with --reason, where the model has a policy. {KEY_HELP}")
@json_option
def baseline(*, name: str, random_split: bool, reason: str, key: str | None, as_json: bool) -> None:
    """Learn what is normal for model NAME from its reference.

    One in place of another makes what has changed the new normal: it needs --reason, and where the model has a policy
    the --key of somebody whom it names; both are logged. The first after a deployment needs neither, nor does
    learning again what is in force.
    """
    from assay.monitoring.patterns import patterns_of
    from assay.project.rebaselining import renew_baseline

    project = open_project()
    signer = read_key(key) if key else None
    with progress(f"learning what is normal for {name}"):
        learned = renew_baseline(project, name, reason=reason, signer=signer, now=now(), random_split=random_split)
    project.tell(now())
    signals = [spec.name for spec in learned.specs if spec.kind != "cells"]
    if as_json:
        print_json(
            {
                "model": name,
                "digest": learned.digest,
                "windows": len(learned.windows),
                "window": learned.window,
                "signals": signals,
                "patterns": [pattern.to_json() for pattern in patterns_of(learned)],
                "findings": [finding.as_json() for finding in learned.findings],
            }
        )
        return
    click.echo(f"baseline of {name}: {len(learned.windows)} windows of {learned.window}, {len(signals)} signals")
    click.echo(f"  digest {learned.digest}")
    seasons = patterns_of(learned)
    if seasons:
        print_table(("season", "signal", "kept", "question", "least", "most"), [_row(one) for one in seasons])
    print_findings(learned.findings)


def _row(pattern: Pattern) -> tuple[str, ...]:
    rows = pattern.signal == "volume"
    ends = (f"{share:,.0f} at {at}" if rows else f"{share:.2%} at {at}" for at, share in (pattern.least, pattern.most))
    return (pattern.season, pattern.signal, f"{pattern.strength:.0%}", pattern.question, *ends)
