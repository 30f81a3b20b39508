"""What a command prints: one JSON object, or words for a person."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from assay.errors import AssayError
from assay.findings import Finding

if TYPE_CHECKING:
    from rich.console import Console

    from assay.artifacts.manifest import Manifest

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

MOST_FINDINGS = 40  # lines of findings a person is shown; --json has them all
# Controls but the new line, halves of characters, and marks without a width, of which some turn words around.
_UNSHOWN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    r"\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


class Written(click.Path):
    """A file that a command will write: that it can is checked before the work begins, not after."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Take the path; a folder in its place, a missing or a locked folder above it is wrong use."""
        path = Path(value)
        if path.is_dir():
            self.fail(f"{path} is a folder; give a file to write", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path} cannot be written: there is no folder {path.parent}", param, ctx)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            self.fail(f"{path} cannot be written: check its owner and mode", param, ctx)
        return path


class Share(click.FloatRange):
    """A number of a range; NaN, which is in none and below no end, is refused as well."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Take the number, or its text; any other is wrong use."""
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return found


def typed_of(names: Sequence[str]) -> list[str]:
    """Which of these options of the present command were typed, as they are typed; defaults are none.

    Args:
        names: The names that the command's function gives its arguments.
    """
    context = click.get_current_context()
    there = [one for one in context.command.params if one.name in names]
    return [
        max(one.opts, key=len)
        for one in there
        if context.get_parameter_source(one.name or "") is ParameterSource.COMMANDLINE
    ]


def counts_of(manifest: Manifest) -> dict[str, object]:
    """How much a model has, and the digest of its tensors, as ``sign`` and ``verify`` give them with ``--json``."""
    root = manifest.tensor_root or None
    return {"files": len(manifest.files), "tensors": len(manifest.tensors), "tensor_root": root}


def plain(text: str) -> str:
    """Text as a terminal may have it: names, values and reasons of others move no cursor and hide no words."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str, *, err: bool = False, fg: str | None = None, bold: bool | None = None) -> None:
    """Print a line in which words of others may stand."""
    click.secho(plain(text), err=err, fg=fg, bold=bold)


def print_json(data: Mapping[str, object]) -> None:
    """Print one object, keys as documented, text unescaped where a terminal shows it as it is."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    click.echo(_UNSHOWN.sub(lambda found: json.dumps(found[0])[1:-1], text))


def print_error(error: AssayError, *, as_json: bool) -> None:
    """Print an error with all its findings: to standard error in words, to standard output as JSON."""
    if as_json:
        print_json({"error": error.message, "findings": [finding.as_json() for finding in error.findings]})
    say(f"assay: {error.message}", err=True, fg="red")
    if not as_json:
        print_findings(error.findings, err=True)


def print_findings(findings: Sequence[Finding], *, err: bool = False) -> None:
    """One line a finding, worst first."""
    ordered = sorted(findings, key=lambda finding: -finding.severity.rank)
    for finding in ordered[:MOST_FINDINGS]:
        about = "" if not finding.subject or finding.subject in finding.detail else f" ({finding.subject})"
        line = f"  {finding.severity.value:8} {finding.rule}{about}: {finding.detail}"
        say(line.replace("\n", "\\n"), err=err)
    if len(ordered) > MOST_FINDINGS:
        click.echo(f"  … and {len(ordered) - MOST_FINDINGS} more; --json lists them all", err=err)


def console() -> Console:
    """A console that writes plain text into a pipe."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A table for people."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row))
    target = console()
    if not sys.stdout.isatty():
        target.width = 160
    target.print(table)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """A spinner with elapsed time while long work runs; silent in a pipe."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(what, total=None)
        yield


@contextmanager
def hashing(what: str, path: Path) -> Iterator[Callable[[int], None] | None]:
    """A bar of the bytes hashed so far, fed by the function that it gives; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=_bytes_at(path) or None)
        yield lambda count: bar.advance(task, count)


def _bytes_at(path: Path) -> int:
    """About how many bytes will be hashed; only the bar depends on it."""
    if not path.is_dir():
        return path.stat().st_size if path.is_file() else 0
    files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files if file.is_file())
