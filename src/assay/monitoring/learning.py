"""Which signals a model has, and their bins, learned from a table of when it was known to work."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, get_args

from assay.engines.base import ColumnFamily, Distance, Engine, Gap, Number, Profile, Quantity, Source, Text
from assay.errors import BaselineError
from assay.findings import Finding, Severity
from assay.monitoring import scores, texts, vectors
from assay.monitoring.axes import asked_of, cells_of
from assay.monitoring.bins import QUANTILES, edges_of, middle
from assay.monitoring.crossing import cross
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import Family, SignalSpec

Task = Literal["classification", "regression", "ranking", "binary"]

TASKS: Final = get_args(Task)
TOP: Final = 20
"""Listed values of a category or a slice."""
CLASSES: Final = 50
"""Listed classes."""
FEWEST: Final = 20
"""Rows of a class or a slice below which it is not watched by itself: too few to know its rate."""
LATENCIES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_NUMERIC: Final = frozenset({"integer", "number", "boolean"})
_IDENTIFIER_ROWS: Final = 100
_IDENTIFIER_SHARE: Final = 0.5
_DENSE: Final = 1.1
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", re.IGNORECASE)
_COMMA: Final = re.compile(r"\s*[+-]?[0-9]+(?:[. ][0-9]{3})*,[0-9]+\s*")
_COMMA_VALUES: Final = 10
"""Different values, all written with a comma, from which on they are numbers: ``1,2`` alone may be a list."""


def learn_signals(
    engine: Engine, source: Source, schema: PredictionSchema, families: Mapping[str, ColumnFamily], task: Task
) -> tuple[tuple[SignalSpec, ...], tuple[Finding, ...]]:
    """The signals of a model and what of its table is not watched.

    Args:
        engine: What reads the table.
        source: Rows of when the model was known to work.
        schema: What the columns mean.
        families: The columns of the table.
        task: Whether predictions are classes, numbers, scores that rank, or scores of one of two classes.

    Raises:
        BaselineError: When there are no rows, or one class only.
        TableError: When the table cannot be read.
    """
    asked = _quantities(schema, families, task)
    known = engine.profile(source, asked, quantiles=QUANTILES, top=CLASSES)
    findings: list[Finding] = []
    specs = [SignalSpec("volume", "service", "volume", "")]
    for column in schema.features_of(families):
        if column not in families:
            continue
        profile = known.get(f"feature {column}")
        made = _made_signals(engine, source, column, families[column], profile, told=column in schema.texts)
        if made:
            specs += made
            continue
        why = None if schema.features is not None else _unwatched(families[column], profile)
        if why is not None:
            findings.append(Finding("column.not-watched", column, Severity.INFO, f"column {column!r} {why}"))
        specs += _input_signals(column, families[column], profile if why is None else None)
    specs += _answer_signals(schema, families, known, task)
    specs += _performance_signals(schema, known, task)
    findings += (*_no_classes(schema, known, task), *_commas(known))
    if task == "classification" and "label" in known and "label.no-classes" not in {one.rule for one in findings}:
        findings += _near_misses(engine, source, schema, families, known["label"])
    if task == "ranking" and schema.query is None:
        detail = "no column says which rows are of one query: how well they are ranked is not watched"
        findings.append(Finding("ranking.no-query", "query", Severity.WARNING, detail))
    crossed, left = cross(engine, source, schema, specs)
    findings += [*left, *_rare_values(schema, known)]
    if schema.discover and any(spec.name == "error" for spec in specs):
        limit = (known["error"].quantiles[QUANTILES.index(0.95)],) if task == "regression" else ()
        cells, unsearched = cells_of(schema, known, QUANTILES, limit)
        return _told_apart((*specs, *crossed, *cells)), (*findings, *unsearched)
    return _told_apart((*specs, *crossed)), tuple(findings)


def _told_apart(specs: Sequence[SignalSpec]) -> tuple[SignalSpec, ...]:
    """Signals with names of their own: a column called ``a:null`` is not the nulls of ``a``, nor ``x&b=y`` two values.

    The signal of a column itself gives way, since what others ask stands behind their names.
    """
    ordered = sorted(specs, key=lambda spec: spec.name == f"feature:{spec.column}")
    taken: dict[str, SignalSpec] = {}
    names: dict[int, str] = {}
    for spec in ordered:
        name, number = spec.name, 1
        while name in taken:
            number += 1
            name = f"{spec.name} ({number})"
        taken[name] = spec
        names[id(spec)] = name
    return tuple(spec if names[id(spec)] == spec.name else replace(spec, name=names[id(spec)]) for spec in specs)


def _quantities(  # noqa: C901 - a table of cases
    schema: PredictionSchema, families: Mapping[str, ColumnFamily], task: Task
) -> dict[str, Quantity | Text]:
    """What must be known of the table, by the names that the other functions here look for."""
    asked: dict[str, Quantity | Text] = {}
    for column in schema.features_of(families):
        if families.get(column) in _NUMERIC:
            asked[f"feature {column}"] = Number(column)
        elif families.get(column) == "text":
            asked[f"feature {column}"] = Text(column)
    there = {role: column for role, column in schema.roles().items() if column in families}
    for role in ("confidence", "latency_s"):
        if role in there:
            asked[role] = Number(there[role])
    if "prediction" in there:
        asked["prediction"] = (Text if task == "classification" else Number)(there["prediction"])
    if "prediction" in there and "label" in there:
        both = (there["prediction"], there["label"])
        asked |= scores.quantities(schema, task, families)
        if task == "regression":
            asked["error"] = Distance(*both)
        elif task == "classification":
            asked["label"] = Text(there["label"])
            if "confidence" in there:
                asked["gap"] = Gap(there["confidence"], *both)
        asked |= {f"slice {column}": Text(column) for column in schema.slices if column in families}
        asked |= asked_of(schema, families)
    return asked


def _unwatched(family: ColumnFamily, profile: Profile | None) -> str | None:
    """Why a column's values are not watched, when nobody has declared it a feature; None when they are."""
    if profile is None:
        return f"holds {family} values: only its nulls are watched"
    there = profile.rows - profile.missing
    if there < _IDENTIFIER_ROWS:
        return None
    if family == "text" and profile.distinct > _IDENTIFIER_SHARE * there:
        return "looks like an identifier: only its nulls are watched; declare it as a feature if it is one"
    if family == "integer" and profile.least is not None and profile.most is not None:
        dense = profile.most - profile.least + 1 <= _DENSE * there
        if dense and profile.distinct > there / _DENSE:
            return "looks like a row number: only its nulls are watched; declare it as a feature if it is one"
    return None


def _made_signals(
    engine: Engine,
    source: Source,
    column: str,
    family: ColumnFamily,
    profile: Profile | None,
    *,
    told: bool,
) -> tuple[SignalSpec, ...]:
    """The signals of a column of vectors or texts; none where it holds neither, or too little of it."""
    if family == "vector":
        return vectors.learn(engine, source, column)
    if family != "text" or profile is None:
        return ()
    there = profile.rows - profile.missing
    different = there >= _IDENTIFIER_ROWS and profile.distinct > _IDENTIFIER_SHARE * there
    if told or (different and texts.is_prose(engine, source, column)):
        return texts.learn(engine, source, column)
    return ()


def _input_signals(column: str, family: ColumnFamily, profile: Profile | None) -> Iterator[SignalSpec]:
    name = f"feature:{column}"
    edges = edges_of(profile) if profile is not None and family in _NUMERIC else ()
    values = tuple(value for value, _ in profile.top[:TOP]) if profile is not None and family not in _NUMERIC else ()

    def rate(kind: str) -> SignalSpec:
        return SignalSpec(f"{name}:{kind}", "inputs", "rate", column, edges=edges, values=values, sides="up")

    if edges:
        yield SignalSpec(name, "inputs", "ordered", column, edges=edges)
        yield rate("outside")
        if family == "number":
            yield rate("infinite")
    elif values:
        yield SignalSpec(name, "inputs", "values", column, values=values)
        if profile is not None and profile.distinct <= len(values):
            yield rate("unseen")
    yield SignalSpec(f"{name}:null", "inputs", "rate", column, edges=edges, values=values)


def _answer_signals(
    schema: PredictionSchema, families: Mapping[str, ColumnFamily], known: Mapping[str, Profile], task: Task
) -> Iterator[SignalSpec]:
    """Predictions, confidence, latency and failures."""
    if "prediction" in known:
        column, profile = schema.prediction, known["prediction"]
        values = tuple(value for value, _ in profile.top) if task == "classification" else ()
        edges = edges_of(profile) if task != "classification" else ()
        if task == "classification" and profile.distinct < 2:  # noqa: PLR2004 - one class tells nothing
            raise BaselineError(
                f"column {column!r} has {'no' if not values else 'one'} class in the reference: "
                "give rows in which the model told classes apart"
            )
        if task != "classification" and not edges:
            raise BaselineError(f"column {column!r} has no numbers in the reference, but the task is {task}")
        kind: Literal["values", "ordered"] = "values" if values else "ordered"
        yield SignalSpec("prediction", "outputs", kind, column, edges=edges, values=values)
        yield SignalSpec("prediction:null", "outputs", "rate", column, edges=edges, values=values, sides="up")
    if "confidence" in known and schema.confidence is not None:
        edges = edges_of(known["confidence"], low=0.0, high=1.0)
        if edges:
            yield SignalSpec("confidence", "outputs", "ordered", schema.confidence, edges=edges)
    if "latency_s" in known and schema.latency_s is not None and known["latency_s"].quantiles:
        for word, share in LATENCIES.items():
            limit = known["latency_s"].quantiles[QUANTILES.index(share)]
            yield SignalSpec(f"latency_s:{word}", "service", "rate", schema.latency_s, edges=(limit,), sides="up")
    if schema.error in families and schema.error is not None:
        yield SignalSpec("failures", "service", "rate", schema.error, sides="up")


def _performance_signals(schema: PredictionSchema, known: Mapping[str, Profile], task: Task) -> Iterator[SignalSpec]:
    """Errors overall, per class and per slice; a regression's are distances, and parts are watched at their p95."""
    limit: tuple[float, ...] = ()
    if task == "regression" and "error" in known and known["error"].quantiles:
        edges, span = edges_of(known["error"], low=0.0), middle(known["error"], low=0.0)
        floor = schema.tolerance if span is not None else None
        label = schema.label or ""
        yield SignalSpec("error", "errors", "ordered", label, edges=edges, sides="up", span=span, tolerance=floor)
        yield from scores.residuals(schema, known)
        limit = (known["error"].quantiles[QUANTILES.index(0.95)],)
    elif task == "classification" and "label" in known and known["label"].distinct:
        label = schema.label or ""
        if known["label"].distinct < 2:  # noqa: PLR2004 - one class tells nothing
            raise BaselineError(f"column {label!r} has one class in the reference: give rows of every class")
        yield SignalSpec("error", "errors", "rate", label, sides="up")
        if "gap" in known and edges_of(known["gap"], low=0.0, high=1.0):
            gaps = edges_of(known["gap"], low=0.0, high=1.0)
            yield SignalSpec("calibration", "errors", "ordered", schema.confidence or "", edges=gaps, sides="up")
        yield from _parts(label, known["label"], (), "classes")
    else:
        yield from scores.rankings(schema, known) if task == "ranking" else scores.binaries(schema, known)
        return
    for column in schema.slices:
        if f"slice {column}" in known:
            yield from _parts(column, known[f"slice {column}"], limit, "slices")


def _no_classes(schema: PredictionSchema, known: Mapping[str, Profile], task: Task) -> Iterator[Finding]:
    """Labels that hardly ever come twice are no classes: every answer would be wrong, then as now, and all be well."""
    profile = known.get("label") if task == "classification" else None
    if profile is None:
        return
    labelled = profile.rows - profile.missing
    unique = 2 * profile.distinct > labelled > 2 * FEWEST
    if unique or _measured(profile, known.get("prediction")):
        detail = (
            f"column {schema.label!r} has {profile.distinct:,} different values in {labelled:,} rows"
            f"{'' if unique else ', and the predicted ones have decimals'}: these are no "
            "classes, and how well they are predicted is not watched; for numbers say that the task is regression"
        )
        yield Finding("label.no-classes", schema.label or "label", Severity.ERROR, detail)


def _near_misses(
    engine: Engine, source: Source, schema: PredictionSchema, families: Mapping[str, ColumnFamily], profile: Profile
) -> Iterator[Finding]:
    """Whole numbers that are hardly ever told exactly, and mostly nearly: counts, and no classes.

    Wrong classes of a thousand lie anywhere, and a model that works is right in one answer of twenty at least.

    Args:
        engine: What reads the table.
        source: The reference.
        schema: What its columns mean.
        families: Its columns.
        profile: Of the labels.
    """
    label = schema.label or ""
    if profile.distinct <= CLASSES or {families.get(label), families.get(schema.prediction)} - {"integer", "number"}:
        return
    asked: dict[str, Quantity | Text] = {"off": Distance(schema.prediction, label), "label": Number(label)}
    told = engine.profile(source, asked, quantiles=QUANTILES)
    off, spread = told["off"].quantiles, told["label"].quantiles
    middle, low, high = (QUANTILES.index(share) for share in (0.5, 0.25, 0.75))
    if off and spread and off[0] > 0 and 2 * off[middle] < spread[high] - spread[low]:
        detail = (
            f"column {label!r} has {profile.distinct:,} different numbers, of which fewer than one in twenty is "
            "predicted exactly and most are nearly: these are no classes; for numbers say that the task is regression"
        )
        yield Finding("label.no-classes", label, Severity.ERROR, detail)


def _measured(label: Profile, prediction: Profile | None) -> bool:
    """Whether labels and predictions are more numbers than a list of classes has, the predicted ones with decimals."""
    if prediction is None or min(label.distinct, prediction.distinct) <= CLASSES:
        return False
    numbers = all(_NUMBER.fullmatch(value) for profile in (label, prediction) for value, _ in profile.top)
    return numbers and any("." in value for value, _ in prediction.top)


def _commas(known: Mapping[str, Profile]) -> Iterator[Finding]:
    """Numbers from where a comma stands before the decimals are texts to both engines: told, never guessed."""
    found = [
        name.removeprefix("feature ")
        for name, profile in known.items()
        if name.startswith("feature ")
        and len(profile.top) >= _COMMA_VALUES
        and all(_COMMA.fullmatch(value) for value, _ in profile.top)
    ]
    if found:
        named = ", ".join(map(repr, found[:TOP])) + (f" and {len(found) - TOP} more" if len(found) > TOP else "")
        detail = f"numbers with a decimal comma are read as texts: write a point, or convert the table first: {named}"
        subject = found[0] if len(found) == 1 else "columns"
        yield Finding("column.decimal-comma", subject, Severity.WARNING, detail, {"columns": len(found)})


def _rare_values(schema: PredictionSchema, known: Mapping[str, Profile]) -> Iterator[Finding]:
    """Values of slice columns that are not watched by themselves: too rare to know their rate, or too many."""
    for column in schema.slices:
        profile = known.get(f"slice {column}")
        if profile is None:
            continue
        watched = [rows for _, rows in profile.top[:TOP] if rows >= FEWEST]
        values, rows = profile.distinct - len(watched), profile.rows - profile.missing - sum(watched)
        if values > 0:
            detail = (
                f"{values:,} values of {column!r} ({rows:,} rows together) are watched with all rows only: a slice has "
                f"{FEWEST} rows in the reference, and the {TOP} largest are taken"
            )
            numbers = {"values": values, "rows": rows}
            yield Finding("slices.left-out", column, Severity.INFO, detail, numbers)


def _parts(column: str, profile: Profile, limit: tuple[float, ...], family: Family) -> Iterator[SignalSpec]:
    top: Sequence[tuple[str, int]] = profile.top if family == "classes" else profile.top[:TOP]
    for value, rows in top:
        if rows < FEWEST:
            continue
        name = f"accuracy:class={value}" if family == "classes" else f"accuracy:slice:{column}={value}"
        where = None if family == "classes" else {column: value}
        yield SignalSpec(name, family, "rate", column, edges=limit, values=(value,), sides="up", slice=where)
