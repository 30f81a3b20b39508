"""What the columns of a prediction table mean."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from assay.errors import ConfigError
from assay.findings import Finding, Severity

ROLES = (
    "time",
    "prediction",
    "confidence",
    "latency_s",
    "error",
    "label",
    "label_time",
    "model",
    "request_id",
    "client",
    "query",
)
WATCHED = ("prediction", "confidence", "latency_s", "error", "label")
"""Roles that signals are about; of the others nothing is learned."""
MOST_SEARCHED = 8
"""Columns that slices are searched along: 56 groups of three, each counted in every window."""

NEEDED = ("time", "prediction", "slice", "feature")


@dataclass(frozen=True, slots=True)
class PredictionSchema:
    """Which column is what. One column plays one role; slice columns stay features.

    Attributes:
        time: When the request was answered. Times without a zone are UTC.
        prediction: The predicted class, the predicted number, or the score; empty with ``inputs_only`` alone.
        confidence: Probability of the predicted class, in [0, 1].
        latency_s: How long the answer took, in seconds.
        error: What failed: empty, false, zero or null where nothing did.
        label: The truth, when it is known.
        label_time: When the truth became known. Without it a label counts as known at ``time``.
        model: Root digest of the model that answered.
        request_id: Identifies a request, so that its label finds it.
        client: Who asked.
        query: What the rows of one ranked list share.
        slices: Columns whose single values are watched on their own: features, or the client.
        features: The model's inputs; None stands for every column without a role.
        texts: Inputs watched as texts (length, characters, tokens) and not as categories.
        positive: The label, as text, of what a score is high for; None for whichever of 1, true and yes occurs.
        tolerance: How much a regression's mean error may move without mattering, in the unit of the label.
        discover: Columns whose combinations of up to three are searched for slices that have fallen, 8 at most.
        inputs_only: There are no predictions, and that is meant: nothing is told of outputs and performance.
    """

    time: str
    prediction: str
    confidence: str | None = None
    latency_s: str | None = None
    error: str | None = None
    label: str | None = None
    label_time: str | None = None
    model: str | None = None
    request_id: str | None = None
    client: str | None = None
    query: str | None = None
    slices: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    texts: tuple[str, ...] = ()
    positive: str | None = None
    tolerance: float | None = None
    discover: tuple[str, ...] = ()
    inputs_only: bool = False

    def __post_init__(self) -> None:  # noqa: C901 - a list of mistakes
        if not self.time or not (self.prediction or self.inputs_only):
            raise ConfigError("the columns `time` and `prediction` must be named")
        needing = [role for role in ("prediction", "label", "query") if getattr(self, role)]
        if self.inputs_only and (needing or self.slices or self.discover):
            raise ConfigError(f"`{[*needing, 'slices'][0]}` needs predictions, and there are none")
        if self.label_time is not None and self.label is None:
            raise ConfigError(f"`label_time` is {self.label_time!r}, but no `label` column is named")
        players: dict[str, str] = {}
        for role, column in self.roles().items():
            if column in players:
                raise ConfigError(f"column {column!r} cannot be both `{players[column]}` and `{role}`")
            players[column] = role
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise ConfigError(f"`tolerance` is {self.tolerance}, a number from 0 in the unit of the label is wanted")
        if len(self.discover) > MOST_SEARCHED:
            raise ConfigError(f"`discover` names {len(self.discover)} columns, {MOST_SEARCHED} are the most")
        parts = (("slices", self.slices), ("discover", self.discover))
        inputs = (*parts, ("features", self.features or ()), ("texts", self.texts))
        for what, columns in inputs:
            if len(set(columns)) != len(columns):
                raise ConfigError(f"`{what}` names a column twice")
            for column in columns:
                if what in {"features", "texts"} and column in players:
                    raise ConfigError(f"column {column!r} cannot be both `{players[column]}` and a feature")
                if what == "texts" and self.features is not None and column not in self.features:
                    raise ConfigError(f"`texts` names {column!r}, which is not among `features`")

    def roles(self) -> dict[str, str]:
        """The columns that have a role, by role."""
        named = ((role, getattr(self, role)) for role in ROLES)
        return {role: column for role, column in named if column is not None and (column or role != "prediction")}

    def features_of(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The model's inputs among these columns: those declared, or all that play no other role.

        Args:
            columns: The columns a table has, in its order.
        """
        if self.features is not None:
            return self.features
        taken = set(self.roles().values())
        return tuple(column for column in columns if column not in taken)

    def check(self, columns: Collection[str], *, optional: Collection[str] = ()) -> tuple[Finding, ...]:
        """One finding for each named column that a table lacks.

        Args:
            columns: The columns the table has.
            optional: Roles that may be missing without a finding, as in a reference without answers.
        """
        wanted = [(role, column) for role, column in self.roles().items() if role not in optional]
        parts = tuple(dict.fromkeys((*self.slices, *self.discover)))
        wanted += [("slice", column) for column in parts]
        wanted += [("feature", column) for column in self.features or self.texts if column not in parts]
        return tuple(
            Finding(
                rule="column.missing",
                subject=column,
                # Without time, prediction or an input nothing can be judged; the others may come later, or never.
                severity=Severity.ERROR if role in NEEDED else Severity.WARNING,
                detail=f"the table has no column {column!r}, which is declared as {role}",
                numbers={"columns": len(columns)},
            )
            for role, column in wanted
            if column not in columns
        )

    def to_json(self) -> dict[str, object]:
        """The schema as JSON types; `PredictionSchema.parse` reads it back."""
        features = None if self.features is None else list(self.features)
        body = {role: getattr(self, role) for role in ROLES} | {"slices": list(self.slices), "features": features}
        # Only where they are said: baselines that say nothing of them keep their digest.
        later: dict[str, object] = {"texts": list(self.texts), "positive": self.positive, "tolerance": self.tolerance}
        later |= {"discover": list(self.discover), "inputs_only": self.inputs_only or None}
        if body["query"] is None:
            del body["query"]
        return body | {key: value for key, value in later.items() if value not in (None, [])}

    @classmethod
    def parse(cls, data: object) -> PredictionSchema:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: When it is anything else.
        """
        if not isinstance(data, Mapping):
            raise ConfigError("a schema is a table of column names by role")
        roles: dict[str, str | None] = {}
        for role in ROLES:
            column = data.get(role)
            if column is not None and not isinstance(column, str):
                raise ConfigError(f"`{role}` must be the name of a column")
            roles[role] = column
        slices, features, texts = data.get("slices") or (), data.get("features"), data.get("texts") or ()
        discover = data.get("discover") or ()
        lists = (("slices", slices), ("features", features or ()), ("texts", texts), ("discover", discover))
        for what, value in lists:
            if not isinstance(value, list | tuple) or not all(isinstance(c, str) for c in value):
                raise ConfigError(f"`{what}` must be a list of column names")
        positive, tolerance = data.get("positive"), data.get("tolerance")
        if not isinstance(positive, str | None) or isinstance(tolerance, bool | str):
            raise ConfigError("`positive` must be a label as text, and `tolerance` a number")
        return cls(
            time=roles.pop("time") or "",
            prediction=roles.pop("prediction") or "",
            **roles,
            slices=tuple(cast("list[str]", slices)),
            features=None if features is None else tuple(cast("list[str]", features)),
            texts=tuple(cast("list[str]", texts)),
            positive=positive,
            tolerance=None if tolerance is None else float(cast("float", tolerance)),
            discover=tuple(cast("list[str]", discover)),
            inputs_only=data.get("inputs_only") is True,
        )
