"""The reference of a model with the model's own predictions in it."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from assay.engines.base import Engine, Source
from assay.engines.forbearing import Forbearing
from assay.engines.shelf import find as find_engine
from assay.errors import BaselineError, TableError
from assay.findings import Finding
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.splitting import allow, find_split
from assay.project import integrity
from assay.project.config import Predictions
from assay.project.project import Project
from assay.project.validating import framework_of
from assay.release.store import live_at

MOST_NAMED = 20


def reference_table(
    project: Project,
    name: str,
    *,
    now: datetime,
    known_good: tuple[str, Predictor] | None = None,
    anew: bool = False,
) -> Source:
    """The reference; where it lacks predictions, a copy that the verified model has filled in.

    Args:
        project: Whose model.
        name: Which.
        now: The present.
        known_good: Root digest and opened known-good copy of what is recorded as live, to fill it in with:
            a diagnosis must come through when the bytes in production are the ones that were changed.
        anew: Whether its own predictions are another version's, so that what is live answers in their place.

    Raises:
        BaselineError: assay.toml names no reference; or what should answer it is not what is recorded as live.
        TableError: It cannot be read, or has no column of the time.
        VerificationError: The model that should fill it in is not as signed.
    """
    model = project.config.model(name)
    if model.reference is None:
        raise BaselineError(f'{name} has no reference: set reference = "data/reference.parquet" in [models.{name}]')
    source = Source((model.reference,))
    predictions = model.predictions
    if predictions is None:
        return source
    engine = find_engine("duckdb")
    columns = engine.columns(source)
    if predictions.time not in columns:  # the commonest slip of a first day: two tables, two names for one thing
        some = ", ".join(list(columns)[:MOST_NAMED]) + (", …" if len(columns) > MOST_NAMED else "")
        raise TableError(
            f"the reference {model.reference} has no column {predictions.time!r}, which [models.{name}.predictions] "
            f"names as time: a reference calls its columns as the predictions do (it has {some})"
        )
    if predictions.prediction in columns and not anew:
        return source
    rows = engine.rows(source, time=predictions.time)
    features = [
        column for column in schema_of(predictions).features_of(rows.column_names) if column in rows.column_names
    ]
    live = live_at(project.state, name, now)
    if known_good is not None:
        root, predictor = known_good
        answered = predictor.predict(rows.select(features))
    else:
        with integrity.verify_model(project, name, now=now, hold=True) as verified:
            root = verified.root
            if live is not None and root != live.root:
                raise BaselineError(
                    f"the signed model at {model.path} is {root[:12]}, and {live.root[:12]} is recorded as live: what "
                    "answers the reference is the version that is live, from its known-good copy or from there"
                )
            answered = verified.load(framework_of(project, name)).predict(rows.select(features))
    filled = project.places.folder / "references" / f"{name}-{root[:16]}.parquet"
    filled.parent.mkdir(parents=True, exist_ok=True)
    draft = filled.with_suffix(".tmp")
    pa.parquet.write_table(fill(rows, answered, predictions.prediction, predictions.confidence), draft)
    draft.replace(filled)
    return Source((str(filled),))


def check_split(
    project: Project, name: str, engine: Engine, source: Source, *, now: datetime, meant: bool
) -> tuple[Finding, ...]:
    """Refuse a reference drawn at random from the time of the predictions since the deployment, or of the training.

    Args:
        project: Whose model.
        name: Which.
        engine: What reads the predictions.
        source: The reference.
        now: The present.
        meant: Whether the user has said that it is on purpose; then it is a finding.

    Raises:
        BaselineError: It was, and it is not meant.
        TableError: The reference cannot be read.
    """
    model = project.config.model(name)
    if model.predictions is None:
        return ()
    live = live_at(project.state, name, now)
    others: list[tuple[Engine, str, str, datetime | None]]
    others = [(Forbearing(engine), model.predictions.path, "the rows that are monitored", live.since if live else None)]
    if model.training is not None:
        others.append((find_engine("duckdb"), model.training.path, "the rows that the model was trained on", None))
    told: list[Finding] = []
    for reader, path, words, since in others:
        try:
            reader.columns(Source((path,)))
        except TableError:
            continue  # there are none yet, or whoever needs them will say what is wrong with them
        split = find_split(reader, source, Source((path,)), model.predictions.time, since=since)
        told += allow(split, meant=meant, other=words)
    return tuple(told)


def schema_of(predictions: Predictions) -> PredictionSchema:
    """Which column is what, as assay.toml says."""
    known = {one.name for one in fields(predictions)}  # a project always names its predictions: no inputs_only
    return PredictionSchema(
        **{one.name: getattr(predictions, one.name) for one in fields(PredictionSchema) if one.name in known}
    )


def fill(rows: pa.Table, answered: Prediction, prediction: str, confidence: str | None) -> pa.Table:
    """Add a model's answers to the rows they are about, in place of those of another one."""
    rows = rows.drop_columns([name for name in rows.column_names if name in (prediction, confidence)])
    rows = rows.append_column(prediction, pa.array(np.asarray(answered.labels).tolist()))
    if confidence and answered.confidence is not None:
        rows = rows.append_column(confidence, pa.array(np.asarray(answered.confidence, dtype=np.float64)))
    return rows
