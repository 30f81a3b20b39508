"""``assay restore``: what a second store keeps, written into a new folder."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.apart import PLACE, second_place
from assay.cli.here import now, open_project, project_file
from assay.cli.output import json_option, print_json, progress
from assay.errors import ConfigError, StorageError


@click.command()
@click.argument("name")
@click.option("--second-store", metavar="PLACE", help=f"Where it is kept; default: that of assay.toml. {PLACE}")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="A new folder; never overwritten.")
@json_option
def restore(*, name: str, second_store: str | None, target: Path, as_json: bool) -> None:
    """Write the newest copy of model NAME that is kept apart, with its signature, into a new folder.

    Every file is as its signature says; whose signature that is, assay verify tells.
    """
    from assay.signing.kept import latest, restore

    objects = second_place(second_store or _configured(name))
    assert objects is not None  # noqa: S101 - a place was named, here or in assay.toml
    kept = latest(objects, [name])
    if kept is None:
        raise StorageError(f"{objects.place} keeps nothing of {name}")
    with progress(f"restoring {name}"):
        path = restore(objects, kept, target, now=now())
    if as_json:
        print_json({"restored": str(path), "entry": kept.entry, "place": kept.place})
        return
    click.echo(f"restored {kept.entry} of {kept.place} to {path}\nnext: assay verify {path} --public-key KEY.pub")


def _configured(name: str) -> str:
    word = open_project().config.model(name).second_store if project_file() else None
    if word is None:
        raise ConfigError(f"where is {name} kept? say --second-store PLACE, or second_store in assay.toml")
    return word
