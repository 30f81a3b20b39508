"""``assay baseline``: what is normal?"""

from __future__ import annotations

import click

from assay.cli.here import now, open_project
from assay.cli.output import json_option, print_findings, print_json, progress


@click.command()
@click.argument("name")
@click.option("--random-split", is_flag=True, help="The reference lies between other rows in time, and that is meant.")
@json_option
def baseline(*, name: str, random_split: bool, as_json: bool) -> None:
    """Learn what is normal for model NAME from its reference; a new baseline is a reviewed act and is logged."""
    from assay.project.watching import learn_baseline

    project = open_project()
    with progress(f"learning what is normal for {name}"):
        learned = learn_baseline(project, name, now=now(), random_split=random_split)
    project.tell(now())
    if as_json:
        print_json(
            {
                "model": name,
                "digest": learned.digest,
                "windows": len(learned.windows),
                "window": learned.window,
                "signals": [spec.name for spec in learned.specs],
                "findings": [finding.as_json() for finding in learned.findings],
            }
        )
        return
    click.echo(f"baseline of {name}: {len(learned.windows)} windows of {learned.window}, {len(learned.specs)} signals")
    click.echo(f"  digest {learned.digest}")
    print_findings(learned.findings)
