"""``assay diff``: what changed between two models, and what kind of change is it?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project
from assay.cli.output import Written, console, json_option, print_json, progress
from assay.cli.sign import ignore_option, model_named
from assay.errors import ArtifactError, ConfigError, MissingExtraError

if TYPE_CHECKING:
    from assay.artifacts.diff.diff import ModelDiff, Source

WIDE = 118  # columns of a terminal from which on all numbers are shown
PIPE = 160


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="[NEW]", required=False)
@click.option("--tensor", "tensors", multiple=True, help="Compare tensors of this name only (* and ?); repeatable.")
@click.option("--top", default=20, show_default=True, type=click.IntRange(1), help="Rows of the table.")
@click.option("--html", "html", type=Written(), help="Write a page with picture and table.")
@click.option("--plot", "plot", type=Written(), help="Write the picture: FILE.svg or FILE.png.")
@ignore_option
@json_option
def diff(
    *,
    old: str,
    new: str | None,
    tensors: tuple[str, ...],
    top: int,
    html: Path | None,
    plot: Path | None,
    ignore: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Say what changed between two models, tensor by tensor, and what kind of change it is.

    OLD and NEW are files or folders. The name of a model of this project stands for its known-good
    copy, which is verified first; without NEW it is compared with what is deployed. Exit code 1 if
    they differ, 0 if they are the same or only the container is another.
    """
    if plot is not None and plot.suffix.lower() not in {".svg", ".png"}:
        raise ConfigError(f"{plot} must end in .svg or .png")
    from assay.artifacts.diff.diff import diff as compare

    with progress(f"comparing {old} and {new or 'what is deployed'}"):
        before, after = _sources(old, new, ignore)
        found = compare(before[0], after[0], tensors=tensors)
    _write(found, html, plot, before[1], after[1])
    if as_json:
        sides = {
            "old": {"path": str(before[0].path), "what": before[1]},
            "new": {"path": str(after[0].path), "what": after[1]},
        }
        print_json({"differs": found.reading.differs, **sides, **found.as_json()})
    else:
        _print(found, before[1], after[1], top)
    return 1 if found.reading.differs else 0


def _sources(old: str, new: str | None, ignore: tuple[Path, ...]) -> tuple[tuple[Source, str], tuple[Source, str]]:
    """Both models, each with what it is in words."""
    if new is not None:
        return _source(old, ignore), _source(new, ignore)
    if not model_named(old):
        raise ConfigError(f"{old} is compared with what? Give OLD and NEW, or the name of a model of this project")
    from assay.project.comparing import deployed

    before, left_out = _copy(old)
    after = deployed(open_project(), old, ignore=left_out)
    return before, (after, f"{after.path}, as it lies there now")


def _source(word: str, ignore: tuple[Path, ...]) -> tuple[Source, str]:
    if model_named(word):
        return _copy(word)[0]
    from assay.artifacts.diff.diff import Source
    from assay.signing.sign import default_signature

    return Source(Path(word), ignore, default_signature(Path(word))), word


def _copy(name: str) -> tuple[tuple[Source, str], tuple[str, ...]]:
    from assay.project.comparing import known_good

    copy = known_good(open_project(), name, now=now())
    which = "recorded as live" if copy.live else "the newest signed"
    return (copy.source, f"{name} version {copy.version}, known-good copy ({which})"), copy.ignore


def _write(found: ModelDiff, html: Path | None, plot: Path | None, old: str, new: str) -> None:
    """Write the files that were asked for.

    Raises:
        ArtifactError: One cannot be written.
    """
    try:
        if html is not None:
            from assay.artifacts.diff.page import page

            html.write_text(page(found, old=old, new=new), encoding="utf-8")
        if plot is not None:
            plot.write_bytes(_picture(found, plot.suffix.lower()))
    except OSError as err:
        raise ArtifactError(f"{err.filename}: cannot be written ({err.strerror})") from err


def _picture(found: ModelDiff, kind: str) -> bytes:
    from assay.artifacts.diff.picture import document, fixed

    if kind == ".svg":
        return document(found).encode()
    try:
        import vl_convert
    except ModuleNotFoundError as err:
        raise MissingExtraError("a picture as PNG", "serve") from err
    png: bytes = vl_convert.svg_to_png(fixed(found), scale=2)
    return png


def _print(found: ModelDiff, old: str, new: str, top: int) -> None:
    reading = found.reading
    colour = {True: "yellow", False: "green"}[reading.differs]
    click.echo(
        f"{click.style(reading.kind.value, fg=colour, bold=True)} ({reading.confidence.value}): {reading.reason}"
    )
    click.echo(f"  old  {old}\n  new  {new}")
    _table(found, top)
    files = [one for one in found.files if one.what != "container" or not found.changed]
    for one in files[:top]:
        parts = f": {', '.join(one.parts[:4])}" + (" …" if len(one.parts) > 4 else "") if one.parts else ""  # noqa: PLR2004
        click.echo(f"  file {one.name}: {one.what}{parts}")
    if len(files) > top:
        click.echo(f"  … and {len(files) - top} more files")
    for note in found.notes:
        click.echo(f"  note {note}")


def _table(found: ModelDiff, top: int) -> None:
    """The tensors that differ, most changed first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from assay.artifacts.diff.picture import shortened
    from assay.artifacts.diff.rows import COLUMNS, NARROW_COLUMNS, most_changed, row

    changed = most_changed(found.changed)
    if not changed:
        return
    target = console()
    if not sys.stdout.isatty():
        target.width = PIPE
    columns = COLUMNS if target.width >= WIDE else NARROW_COLUMNS
    kept = [COLUMNS.index(column) for column in columns]
    rows = [[row(one)[at] for at in kept] for one in changed[:top]]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at == 0 else "right", no_wrap=True)
    widths = [max(len(column), *(len(one[at]) for one in rows)) for at, column in enumerate(columns)]
    room = max(12, target.width - sum(widths[1:]) - 3 * len(columns))
    for first, *rest in rows:
        table.add_row(Text(shortened(first, room)), *(Text(cell) for cell in rest))
    target.print(table)
    if len(changed) > top:
        click.echo(f"  … and {len(changed) - top} more; --top shows more, --json lists them all")
