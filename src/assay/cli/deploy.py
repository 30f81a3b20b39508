"""``assay deploy`` and ``assay rollback``: what is live since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project, read_key, telling
from assay.cli.output import json_option, print_json
from assay.storage.clock import utc_text

if TYPE_CHECKING:
    from assay.release.deployment import Deployment


@click.command()
@click.argument("name")
@json_option
def deploy(*, name: str, as_json: bool) -> None:
    """Record that the bytes of model NAME are live from now on; only what the gate admits."""
    from assay.project.releasing import deploy as put_live

    project = open_project()
    with telling(project):
        live = put_live(project, name, now=now())
    _report(live, f"{name} is live", as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it goes into the log.")
@click.option("--key", help="Sign for the step, so that other hosts that know the newer version take it too.")
@json_option
def rollback(*, name: str, reason: str, key: str | None, as_json: bool) -> None:
    """Put the last good version of NAME back in place, from its verified known-good copy."""
    from assay.project.releasing import rollback as put_back
    from assay.project.versions import statement_place

    project = open_project()
    signer = read_key(key) if key else None
    with telling(project):
        live = put_back(project, name, reason=reason, signer=signer, now=now())
    _report(live, f"{name} is back", as_json=as_json)
    if as_json:
        return
    place = statement_place(project.config.model(name).path)
    if signer is None:
        click.echo("  note       not signed: hosts that know a newer version will refuse this one (--key)")
    elif place.exists():
        click.echo(f"  statement  {place}: it goes where the model goes, beside it")
    else:
        click.echo("  note       no newer version is known here, so there was nothing to sign for")


def _report(live: Deployment, what: str, *, as_json: bool) -> None:
    if as_json:
        since = utc_text(live.since)
        print_json(
            {"model": live.model, "root": live.root, "version": live.version, "since": since, "log": live.position}
        )
        return
    click.echo(f"{what}: version {live.version}, sha256:{live.root}, since {live.since:%Y-%m-%d %H:%M} UTC")
    click.echo(f"  log entry {live.position}")
