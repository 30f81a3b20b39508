"""The reference of a model with the model's own predictions in it."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from assay.engines.base import Source
from assay.engines.shelf import find as find_engine
from assay.errors import BaselineError
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.schema import PredictionSchema
from assay.project import integrity
from assay.project.config import Predictions
from assay.project.project import Project
from assay.project.validating import framework_of


def reference_table(
    project: Project, name: str, *, now: datetime, known_good: tuple[str, Predictor] | None = None
) -> Source:
    """The reference; where it lacks predictions, a copy that the verified model has filled in.

    Args:
        project: Whose model.
        name: Which.
        now: The present.
        known_good: Root digest and opened known-good copy of what is recorded as live, to fill it in with:
            a diagnosis must come through when the bytes in production are the ones that were changed.

    Raises:
        BaselineError: assay.toml names no reference.
        TableError: It cannot be read.
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
    if predictions.prediction in engine.columns(source):
        return source
    rows = engine.rows(source, time=predictions.time)
    features = [
        column for column in schema_of(predictions).features_of(rows.column_names) if column in rows.column_names
    ]
    if known_good is not None:
        root, predictor = known_good
        answered = predictor.predict(rows.select(features))
    else:
        with integrity.verify_model(project, name, now=now, hold=True) as verified:
            answered = verified.load(framework_of(project, name)).predict(rows.select(features))
            root = verified.root
    filled = project.places.folder / "references" / f"{name}-{root[:16]}.parquet"
    filled.parent.mkdir(parents=True, exist_ok=True)
    draft = filled.with_suffix(".tmp")
    pa.parquet.write_table(fill(rows, answered, predictions.prediction, predictions.confidence), draft)
    draft.replace(filled)
    return Source((str(filled),))


def schema_of(predictions: Predictions) -> PredictionSchema:
    """Which column is what, as assay.toml says."""
    return PredictionSchema(**{one.name: getattr(predictions, one.name) for one in fields(PredictionSchema)})


def fill(rows: pa.Table, answered: Prediction, prediction: str, confidence: str | None) -> pa.Table:
    """Add a model's answers to the rows they are about."""
    rows = rows.append_column(prediction, pa.array(np.asarray(answered.labels).tolist()))
    if confidence and answered.confidence is not None:
        rows = rows.append_column(confidence, pa.array(np.asarray(answered.confidence, dtype=np.float64)))
    return rows
