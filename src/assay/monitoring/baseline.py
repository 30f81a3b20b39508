"""What normal is: the signals of a model and their counts in the windows of a trusted table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

import rfc8785

from assay.engines.base import ColumnFamily, Engine, Source
from assay.engines.bringing import at_hand
from assay.errors import BaselineError, ConfigError, TableError
from assay.findings import Finding, Severity
from assay.inference.natural import CLAIMABLE, COMFORTABLE
from assay.monitoring.estimate import Calibration, learn_calibration
from assay.monitoring.learning import TASKS, Task, learn_signals
from assay.monitoring.patterns import about_trends
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts, counts_of
from assay.monitoring.windows import count, parse_window
from assay.storage.clock import utc_text

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Baseline:
    """What normal is. Never updated by live windows: a new one is learned on purpose.

    Attributes:
        schema: What the columns mean.
        task: ``classification``, ``regression``, ``ranking`` or ``binary``.
        window: How windows are cut.
        created: When it was learned, as UTC text.
        families: The columns of the table it was learned from, by the family of their type.
        specs: The signals, in a fixed order.
        windows: Their counts, in time order.
        findings: What was odd about the table, or is too little to know.
        calibration: What a confidence meant, for estimates until labels come; None without confidence or labels.
        since: When the model whose answers these are was deployed, as UTC text: what was answered before is judged by
            its inputs alone. Empty for all windows.
        root: Root digest of the model that answered the rows anew, because the answers in the table were another
            one's. Empty where they are the table's own, or the table had none.
    """

    schema: PredictionSchema
    task: Task
    window: str
    created: str
    families: Mapping[str, ColumnFamily]
    specs: tuple[SignalSpec, ...]
    windows: tuple[WindowCounts, ...]
    findings: tuple[Finding, ...] = ()
    calibration: Calibration | None = None
    since: str = ""
    root: str = ""
    _digest: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.specs or not self.windows or not any(window.rows for window in self.windows):
            raise BaselineError("a baseline needs signals and at least one window with rows")
        if self.task not in TASKS:
            raise BaselineError(f"found the task {self.task!r}; it is one of {', '.join(TASKS)}")

    @classmethod
    def learn(
        cls,
        engine: Engine,
        source: Source,
        schema: PredictionSchema,
        *,
        window: str,
        now: datetime,
        task: Task = "classification",
    ) -> Baseline:
        """Learn what normal is from a table of when the model was known to work.

        Args:
            engine: What reads the table.
            source: Its rows, over as many windows as there are: 56 and more tell natural variation well. Without a
                prediction column only the inputs and the volume are learned.
            schema: What its columns mean.
            window: ``1d``, ``6h`` or ``1000rows``, as the live rows will be cut.
            now: When this happens.
            task: Whether predictions are classes, numbers, scores that rank, or scores of one of two classes.

        Raises:
            BaselineError: When there are no rows, no complete window, or one class only.
            TableError: When the table cannot be read or has no time column.
            ConfigError: When the window is none, or too narrow.
        """
        parse_window(window)
        with at_hand(source) as here:
            return cls._learned(engine, here, schema, window=window, now=now, task=task)

    @classmethod
    def _learned(
        cls, engine: Engine, source: Source, schema: PredictionSchema, *, window: str, now: datetime, task: Task
    ) -> Baseline:
        """The same of a table that is at hand."""
        families = engine.columns(source)
        if schema.time not in families:
            raise TableError(f"the reference has no column {schema.time!r}, which is declared as time")
        span = engine.span(source, schema.time)
        if not span.rows:
            raise BaselineError("the reference has no rows")
        if span.first is None:
            wanted = "write ISO 8601, like 2026-03-01T12:00:00Z"
            raise BaselineError(f"no row of the reference has a readable time in column {schema.time!r}: {wanted}")
        specs, findings = learn_signals(engine, source, schema, families, task)
        counted = count(engine, source, schema, specs, window=window, now=now, families=families, live=False)
        if not any(one.rows for one in counted.windows):
            raise BaselineError(
                f"the reference has no complete window of {window}: give more rows or a narrower window"
            )
        findings = (*findings, *counted.findings, *_about(len(counted.windows), schema, families))
        calibration = learn_calibration(engine, source, schema, specs)
        known = cls(schema, task, window, utc_text(now), dict(families), specs, counted.windows, findings, calibration)
        return replace(known, findings=(*findings, *about_trends(known)))

    @property
    def rows(self) -> int:
        """Rows of all windows."""
        return sum(window.rows for window in self.windows)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex: what windows and alarms are kept under."""
        if not self._digest:  # a large baseline takes a quarter of a second to write out
            digest = hashlib.sha256(_canonical(self.to_json())).hexdigest()
            object.__setattr__(self, "_digest", digest)
        return self._digest

    @property
    def content(self) -> str:
        """The same of what was learned, whenever that was and whatever was said about it."""
        return hashlib.sha256(_canonical(replace(self, created="", since="", findings=()).to_json())).hexdigest()

    @property
    def answers(self) -> str:
        """The same of what the model answered alone, however windows are cut and whatever else is watched; or ""."""
        outputs = [spec for spec in self.specs if spec.family == "outputs"]
        totals = [counts_of(spec, self.windows).sum(0).astype(int).tolist() for spec in outputs]
        body = {"answers": [[spec.to_json(), total] for spec, total in zip(outputs, totals, strict=True)]}
        return hashlib.sha256(rfc8785.dumps(cast("dict[str, None]", body))).hexdigest() if outputs else ""

    def to_json(self) -> dict[str, object]:
        """The baseline as JSON types; `Baseline.parse` reads it back."""
        said = {"since": self.since, "root": self.root}  # where they are said: others keep their digest
        return {
            "format": _FORMAT,
            "schema": self.schema.to_json(),
            "task": self.task,
            "window": self.window,
            "created": self.created,
            "families": dict(self.families),
            "specs": [spec.to_json() for spec in self.specs],
            "windows": [window.to_json() for window in self.windows],
            "findings": [finding.as_json() for finding in self.findings],
            "calibration": self.calibration.to_json() if self.calibration else None,
        } | {key: value for key, value in said.items() if value}

    @classmethod
    def parse(cls, data: object) -> Baseline:
        """Read what `to_json` wrote, as JSON types or as text.

        Raises:
            BaselineError: When it is anything else.
        """
        try:
            raw = json.loads(data) if isinstance(data, str | bytes) else data
            if not isinstance(raw, Mapping) or raw.get("format") != _FORMAT:
                raise BaselineError("a stored baseline is of another format: learn it again")
            return cls(
                schema=PredictionSchema.parse(raw["schema"]),
                task=raw["task"],
                window=str(raw["window"]),
                created=str(raw["created"]),
                families={str(column): family for column, family in raw["families"].items()},
                specs=tuple(SignalSpec.parse(spec) for spec in raw["specs"]),
                windows=tuple(WindowCounts.parse(window) for window in raw["windows"]),
                findings=tuple(
                    Finding(f["rule"], f["subject"], Severity(f["severity"]), f["detail"], dict(f["numbers"]))
                    for f in raw["findings"]
                ),
                calibration=Calibration.parse(raw["calibration"]) if raw["calibration"] else None,
                since=str(raw.get("since", "")),
                root=str(raw.get("root", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, ConfigError) as err:
            raise BaselineError(f"a stored baseline is malformed ({type(err).__name__}): learn it again") from err


def _canonical(body: Mapping[str, object]) -> bytes:
    """RFC 8785: the windows, which are most of it and hold text and whole numbers only, by the quicker writer.

    It sorts names by code point, the RFC by UTF-16 unit: the same but for signs beyond U+FFFF.
    """

    def strict(value: object) -> bytes:
        return rfc8785.dumps(cast("dict[str, None]", value))

    windows = json.dumps(body["windows"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if max(windows) > "\uffff":
        return strict(body)
    parts = {key: windows.encode() if key == "windows" else strict(value) for key, value in body.items()}
    return b"{" + b",".join(strict(key) + b":" + parts[key] for key in sorted(parts)) + b"}"


def _about(windows: int, schema: PredictionSchema, families: Mapping[str, ColumnFamily]) -> tuple[Finding, ...]:
    found = []
    numbers = {"windows": windows, "wanted_windows": COMFORTABLE}
    if windows < CLAIMABLE:
        detail = (
            f"{windows} windows are too few to claim natural variation: {CLAIMABLE} are needed, {COMFORTABLE} better"
        )
        found.append(Finding("baseline.short", "baseline", Severity.WARNING, detail, numbers))
    elif windows < COMFORTABLE:
        detail = f"{windows} windows tell natural variation roughly: {COMFORTABLE} are better"
        found.append(Finding("baseline.brief", "baseline", Severity.WARNING, detail, numbers))
    if schema.inputs_only:
        detail = "no predictions are named: only inputs and volume are watched"
        found.append(Finding("baseline.inputs-only", "prediction", Severity.INFO, detail))
    elif schema.prediction not in families:
        detail = "the reference has no predictions: only inputs and volume are watched"
        found.append(Finding("baseline.inputs-only", schema.prediction, Severity.WARNING, detail))
    elif schema.label is None or schema.label not in families:
        detail = "the reference has no labels: performance is not watched"
        found.append(Finding("baseline.no-labels", schema.label or "label", Severity.INFO, detail))
    return tuple(found)
