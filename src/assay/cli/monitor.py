"""``assay monitor``: does it still behave as it did?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from assay.cli.here import now, open_project, telling
from assay.cli.output import Written, json_option, print_findings, print_json, print_table, progress, typed_of
from assay.errors import ConfigError, TableError
from assay.findings import Finding, Severity

if TYPE_CHECKING:
    from assay.monitoring.alarms import Alarm
    from assay.monitoring.floors import Floors
    from assay.monitoring.learning import Task
    from assay.monitoring.monitor import Evaluation
    from assay.monitoring.schema import PredictionSchema

COLUMNS = ("time", "prediction", "confidence", "label", "label_time", "latency", "error", "request_id", "query")
FLOORS = ("default", "sensitive")
TASKS = ("classification", "regression", "ranking", "binary")


@click.command()
@click.argument("name", required=False)
@click.option(
    "--reference", help="Ad hoc: rows from when it was known to work (file, folder, glob, s3://, postgresql://)."
)
@click.option("--current", help="Ad hoc: the rows to judge.")
@click.option("--time", metavar="COLUMN", help="Column of the time; without a zone it is UTC.")
@click.option("--prediction", metavar="COLUMN", help="Column of the prediction; ad hoc without it: inputs only.")
@click.option("--confidence", metavar="COLUMN", help="Column of the confidence.")
@click.option("--label", metavar="COLUMN", help="Column of the truth.")
@click.option("--label-time", metavar="COLUMN", help="Column of when the truth was known.")
@click.option("--latency", metavar="COLUMN", help="Column of the latency in seconds.")
@click.option("--error", metavar="COLUMN", help="Column that says what failed.")
@click.option("--request-id", metavar="COLUMN", help="Column that names a request once; repetitions are told.")
@click.option("--query", metavar="COLUMN", help="Column that the rows of one ranked list share.")
@click.option(
    "--task", type=click.Choice(TASKS), default=TASKS[0], show_default=True, help="Ad hoc: what is predicted."
)
@click.option("--positive", metavar="LABEL", help="Ad hoc, binary: the label that a score is high for.")
@click.option("--tolerance", type=float, help="Ad hoc, regression: how much the mean error may move.")
@click.option("--text", "texts", multiple=True, metavar="COLUMN", help="Watch this column as texts; repeatable.")
@click.option("--slice", "slices", multiple=True, metavar="COLUMN", help="Watch each value of this column; repeatable.")
@click.option(
    "--discover", multiple=True, metavar="COLUMN", help="Search slices along this column and others; repeatable."
)
@click.option("--feature", "features", multiple=True, metavar="COLUMN", help="Only these inputs; repeatable.")
@click.option("--engine", default="duckdb", show_default=True, help="Ad hoc: what counts; spark for table:NAME.")
@click.option("--window", default="1d", show_default=True, help="Ad hoc: 7d, 12h, 1000rows.")
@click.option("--false-alarm-every", default="1y", show_default=True, help="Ad hoc: the budget over all signals.")
@click.option(
    "--floors", type=click.Choice(FLOORS), default=FLOORS[0], show_default=True, help="Ad hoc: how much matters."
)
@click.option(
    "--random-split",
    is_flag=True,
    help="Ad hoc: the reference lies between the current rows in time, and that is meant.",
)
@click.option("--plot", type=Written(), help="Draw what was seen: FILE.svg, FILE.png or FILE.html.")
@json_option
def monitor(*, name: str | None, plot: Path | None, as_json: bool, **options: object) -> int:
    """Evaluate all complete windows not yet seen, of model NAME or of every model of the project.

    With --reference and --current: compare two tables without a project, storing nothing.
    Exit code 1 if there is a new alarm, or outputs are not those of the signed model; 3 if part of it could not be
    judged, as when a column is missing, or nothing could because no window of the current table has rows.
    """
    if plot is not None:
        from assay.dashboard.plot import check

        check(plot)
    if options["reference"] or options["current"]:
        if name:
            raise ConfigError("give a model's NAME, or --reference and --current, not both")
        with progress("monitoring"):
            evaluation = _ad_hoc(options)
        _draw(plot, "current", evaluation)
        if as_json:
            print_json(_object("current", evaluation, evaluation.alarms, evaluation.findings))
        else:
            _say("current", evaluation, evaluation.alarms, evaluation.findings)
        # Of a table that nobody adds to, nothing can be told later either.
        return _code(evaluation.alarms, evaluation.findings) or (0 if evaluation.windows else 3)
    stray = typed_of(tuple(options))
    if stray:
        raise ConfigError(
            f"{stray[0]} is for two tables: give --reference and --current; a project says it in assay.toml"
        )
    return _project(name, plot, as_json=as_json)


def _draw(plot: Path | None, name: str, evaluation: Evaluation) -> None:
    if plot is not None:
        from assay.dashboard.plot import write

        write(plot, name, evaluation)


def _ad_hoc(options: Mapping[str, object]) -> Evaluation:
    from assay.engines.base import Source
    from assay.engines.bringing import at_hand
    from assay.engines.forbearing import Forbearing
    from assay.engines.shelf import find as find_engine
    from assay.monitoring.adhoc import monitor_tables
    from assay.monitoring.floors import FLOORS as NAMED
    from assay.storage.clock import parse_span

    for word in ("reference", "current", "time"):
        if not options[word]:
            raise ConfigError(f"monitoring two tables needs --{word}")
    for word in ("label", "query", "slices", "discover", "tolerance", "positive"):
        if options[word] and not options["prediction"]:
            raise ConfigError(f"--{word.removesuffix('s')} needs --prediction: without it only inputs are compared")
    for word, task in (("positive", "binary"), ("tolerance", "regression")):
        if options[word] is not None and options["task"] != task:
            raise ConfigError(f"--{word} is for --task {task}")
    schema, engine = _schema(options), find_engine(str(options["engine"]))
    given = (Source((str(options[word]),)) for word in ("reference", "current"))
    with at_hand(next(given)) as reference, at_hand(next(given)) as current:
        there = {*engine.columns(reference), *Forbearing(engine).columns(current)}
        named = [*schema.roles().values(), *schema.slices, *schema.discover, *schema.texts, *(schema.features or ())]
        for column in named:
            if column not in there:
                raise TableError(f"neither table has a column {column!r}; there are {', '.join(sorted(there))}")
        return monitor_tables(
            engine,
            reference,
            current,
            schema,
            window=str(options["window"]),
            false_alarm_every=parse_span(str(options["false_alarm_every"])),
            now=now(),
            task=cast("Task", options["task"]),
            floors=NAMED[str(options["floors"])],
            random_split=bool(options["random_split"]),
        )


def _schema(options: Mapping[str, object]) -> PredictionSchema:
    from assay.monitoring.schema import PredictionSchema

    roles = {word: str(options[word]) if options[word] else None for word in COLUMNS}
    lists = {word: cast("tuple[str, ...]", options[word]) for word in ("slices", "discover", "features", "texts")}
    return PredictionSchema(
        time=str(roles["time"]),
        prediction=roles["prediction"] or "",
        inputs_only=roles["prediction"] is None,
        confidence=roles["confidence"],
        label=roles["label"],
        label_time=roles["label_time"],
        latency_s=roles["latency"],
        error=roles["error"],
        request_id=roles["request_id"],
        query=roles["query"],
        slices=lists["slices"],
        discover=lists["discover"],
        features=lists["features"] or None,
        texts=lists["texts"],
        positive=cast("str | None", options["positive"]),
        tolerance=cast("float | None", options["tolerance"]),
    )


def _project(name: str | None, plot: Path | None, *, as_json: bool) -> int:
    from assay.cli.diagnose import print_diagnosis
    from assay.project.monitoring import monitored_models

    project = open_project()
    names = [name] if name else monitored_models(project)
    if not names:
        raise ConfigError("no model here has predictions: add [models.NAME.predictions] with path, time and prediction")
    if plot is not None and len(names) > 1:
        raise ConfigError(f"--plot draws one model: name one of {', '.join(names)}")
    codes = []
    objects = []
    with telling(project):
        for one in names:
            with progress(f"monitoring {one}"):
                watched = project.monitor(one, now())
            codes.append(_code(watched.new, watched.findings))
            _draw(plot, one, watched.evaluation)
            if as_json:
                objects.append(_object(one, watched.evaluation, watched.new, watched.findings))
                continue
            _say(one, watched.evaluation, watched.new, watched.findings)
            if watched.diagnosis:
                print_diagnosis(one, watched.diagnosis.to_json())
    if as_json:
        print_json(objects[0] if len(objects) == 1 else {"models": objects})
    return 1 if 1 in codes else max(codes)


def _code(alarms: Sequence[Alarm], findings: Sequence[Finding]) -> int:
    ranks = [finding.severity for finding in findings]
    if alarms or Severity.CRITICAL in ranks:
        return 1
    return 3 if Severity.ERROR in ranks else 0


def _object(
    name: str, evaluation: Evaluation, alarms: Sequence[Alarm], findings: Sequence[Finding]
) -> dict[str, object]:
    return {
        "model": name,
        "windows": evaluation.windows,
        "alarms": [alarm.to_json() for alarm in alarms],
        "budget": evaluation.budget.to_json(),
        "silent": evaluation.silent,
        "findings": [finding.as_json() for finding in findings],
    }


def _floors(floors: Floors) -> str:
    """Which floors are not the default."""
    usual = type(floors)().to_json()
    own = [f"{word} {value:g}" for word, value in floors.to_json().items() if value != usual[word]]
    return f"; floors of its own: {', '.join(own)}" if own else ""


def _say(name: str, evaluation: Evaluation, alarms: Sequence[Alarm], findings: Sequence[Finding]) -> None:
    budget = evaluation.budget
    standing = len([alarm for alarm in evaluation.alarms if alarm.until is None and alarm not in alarms])
    before = f", {standing} of before still stand{'s' if standing == 1 else ''}" if standing else ""
    click.echo(
        f"{name}: {evaluation.windows} windows, {budget.signals} signals, "
        f"{len(alarms)} new alarm{'' if len(alarms) == 1 else 's'}{before}; at most one false alarm in "
        f"{budget.windows_per_alarm:,.0f} windows is to be expected{_floors(budget.floors)}"
    )
    if alarms:
        rows = [(a.window[:10], a.since[:10], a.signal, a.detail) for a in alarms]  # by how much, the sentence says
        print_table(("window", "since", "signal", "what was seen"), rows)
    print_findings(findings)
