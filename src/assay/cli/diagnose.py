"""``assay diagnose``: why did it change?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from assay.cli.here import now, open_project
from assay.cli.output import Written, json_option, print_json, print_table, progress, say
from assay.errors import MissingExtraError

if TYPE_CHECKING:
    from assay.project.project import Project

INTACT, UNKNOWN = "intact", "unknown"


@click.command()
@click.argument("name")
@click.option("--html", type=Written(), help="Write the explanation with its pictures as one file that stands alone.")
@json_option
def diagnose(*, name: str, html: Path | None, as_json: bool) -> int:
    """Why model NAME changed: verdict, probabilities, evidence, what to do.

    Exit code 0 intact, 1 any other verdict, 3 unknown.
    """
    from assay.project.watching import diagnose_model

    project = open_project()
    with progress(f"diagnosing {name}"):
        found = diagnose_model(project, name, now=now())
    project.tell(now())
    if html is not None:
        _write(html, project, name)
    data = found.to_json()
    if as_json:
        print_json(data)
    else:
        print_diagnosis(name, data)
    return {INTACT: 0, UNKNOWN: 3}.get(found.verdict, 1)


def _write(path: Path, project: Project, name: str) -> None:
    try:
        from assay.dashboard.explained import write

        write(path, project, name, now=now())
    except ImportError as err:
        raise MissingExtraError("assay diagnose --html", "serve") from err


def print_diagnosis(name: str, data: Mapping[str, object]) -> None:
    """A verdict for the person on call: three sentences first, then what they rest on."""
    where = f", {data['scope']}" if data.get("scope") else ""
    silent = ", silent (overall figures are steady)" if data.get("silent") else ""
    say(f"{name}: {data['verdict']}{where}{silent}", bold=True)
    told = cast("Sequence[str]", data["explanation"])
    for sentence in told:
        say(f"  {sentence}")
    if data.get("escalate"):
        click.secho("  security must look at this", fg="red")
    for action in cast("Sequence[str]", data["actions"]):
        if told[-1].endswith(action[1:]):  # the most urgent one ends the last sentence, its first letter perhaps small
            continue
        say(f"  → {action}")
    probabilities = cast("Mapping[str, float]", data["probabilities"])
    likely = sorted(probabilities.items(), key=lambda pair: -pair[1])
    click.echo("  " + ", ".join(f"{cause} {chance:.0%}" for cause, chance in likely if chance >= 0.01))  # noqa: PLR2004
    rows = [
        (one["name"], _figure(one), _words(one.get("favours")), one.get("missing") or one["detail"])
        for one in cast("Sequence[Mapping[str, object]]", data["evidence"])
    ]
    print_table(("evidence", "value (95 % interval)", "speaks for", "what was seen"), rows)


def _figure(one: Mapping[str, object]) -> str:
    """The value and, where there is one, its 95 % interval."""
    interval = one.get("interval")
    shown = _short(one.get("value"))
    if not isinstance(interval, Sequence):
        return shown
    return f"{shown} ({' to '.join(_short(end) for end in interval)})"


def _short(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float | int) and not isinstance(value, bool) else "—"


def _words(favours: object) -> str:
    if isinstance(favours, str):
        return favours
    if isinstance(favours, Mapping):
        return ", ".join(str(cause) for cause in favours)
    return ", ".join(map(str, favours)) if isinstance(favours, Sequence) else ""
