"""``assay demo``: the whole story on real data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from assay.cli.here import now
from assay.cli.output import json_option, print_json
from assay.errors import MissingExtraError


@click.command()
@click.option("--without", multiple=True, type=int, metavar="N", help="Leave out the attack of chapter N; repeatable.")
@click.option("--folder", default=".assay-demo", show_default=True, type=click.Path(path_type=Path), help="Made anew.")
@json_option
def demo(*, without: tuple[int, ...], folder: Path, as_json: bool) -> int:
    """Tell the whole story on real data; exit code 1 if a verdict is not the truth."""
    try:
        from assay.demo.story import tell
    except ImportError as err:
        raise MissingExtraError("assay demo", "all") from err
    told = tell(folder, now=now(), without=frozenset(without), say=(lambda _: None) if as_json else click.echo)
    if as_json:
        print_json({"chapters": [row.as_json() for row in told]})
    else:
        program = os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else "assay"
        click.echo(f"   look at it: {program} serve --project {folder}")
    return 0 if all(row.right for row in told) else 1
