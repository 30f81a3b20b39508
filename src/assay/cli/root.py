"""``assay keys root`` and ``assay keys seal``: the key that the trust store and the policy must be signed by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project, read_key
from assay.cli.output import json_option, print_json
from assay.errors import ConfigError

if TYPE_CHECKING:
    from assay.project.project import Project


def remind(project: Project) -> None:
    """Say that the root key must sign, after a change, where there is one."""
    from assay.project.sealing import root_key

    if root_key(project) is not None:
        click.echo("nothing is verified until the root key signs: assay keys seal --key ROOT.pem")


@click.command()
@click.argument("public", metavar="[PUBLIC]", required=False, type=click.Path(path_type=Path))
@click.option("--key", help="The root key until now, which must sign for another one.")
@click.option("--remove", is_flag=True, help="Have no root key any more; needs --key.")
@json_option
def root(public: Path | None, *, key: str | None, remove: bool, as_json: bool) -> None:
    """Let the key in the file PUBLIC be the root: trust store and policy count only when it signed them.

    Without PUBLIC, say which key is the root. Keep its private half off this machine; it is needed after each
    change of either, for assay keys seal.
    """
    from assay.keys.pem import read_public
    from assay.project.sealing import root_key, set_root

    if public is not None and remove:
        raise ConfigError("give a new root key or --remove, not both")
    project = open_project()
    if public is not None or remove:
        former = read_key(key) if key else None
        set_root(project, read_public(public) if public is not None else None, former=former, now=now())
    found = root_key(project)
    if as_json:
        print_json({"root": found.key_id if found else None})
    elif found is None:
        click.echo("no root key is set: trust store and policy count as the log tells of them")
    else:
        click.echo(f"root key {found.key_id}")
        if public is not None:
            remind(project)


@click.command("seal")
@click.option("--key", required=True, help="The root key.")
@json_option
def seal(*, key: str, as_json: bool) -> None:
    """Sign the trust store and the policy of assay.toml as they are now, with the root key."""
    from assay.project.sealing import seal_project

    made = seal_project(open_project(), read_key(key), now=now())
    if as_json:
        print_json(made.as_json())
        return
    click.echo(
        f"sealed by {made.key_id}\n  trust store  sha256:{made.trust_digest}\n"
        f"  policy       sha256:{made.policy_digest}"
    )
