"""Chapters 6 to 8: a city that grows, labels that are flipped, and a log that is edited."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assay.artifacts.snapshot import Snapshot
from assay.demo import bikes
from assay.demo.rain_story import INTACT, Seen
from assay.demo.stage import RELEASE, REQUESTER, Stage, Told
from assay.demo.telling import Teller
from assay.errors import StorageError
from assay.frameworks.base import Predictor
from assay.frameworks.sklearn import Sklearn
from assay.project import integrity, releasing
from assay.project.auditing import verify_log
from assay.project.data import verify_data
from assay.validation.checks.regression import Golden

GROWTH_VERDICTS = ("covariate-drift", "concept-drift")
LABEL_DELAY = timedelta(days=1)
SOON = timedelta(minutes=30)
FLIPS = 37
STEP_DAYS = 7


class BikeStory:
    """Chapter 6: a model of busy hours, and a city that rides more every year."""

    def __init__(self, stage: Stage, teller: Teller, csv: Path) -> None:
        self._stage = stage
        self._say = teller
        hours = bikes.read(csv)
        year = bikes.between(hours, bikes.YEAR, bikes.GROWTH)
        by = bikes.shift_to(stage.today)
        self._train = bikes.shifted(bikes.weeks(year, every=2, of=0), by)
        self._reference = bikes.shifted(bikes.weeks(year, every=4, of=1), by)
        self._start = bikes.GROWTH + by
        growing = bikes.shifted(bikes.between(hours, bikes.GROWTH, bikes.END), by)
        still = bikes.shifted(bikes.weeks(year, every=4, of=3), by + timedelta(weeks=52))  # last year's weeks again
        self._live = still if not stage.attacked(6) else growing

    def chapter_6(self) -> Told:
        """Growth: natural drift, not tampering, with its onset; retraining is shown."""
        self._say.chapter(6, "a bike model meets a city that rides more every month")
        stage = self._stage
        self._release(self._start)
        with integrity.verify_model(stage.project, "bikes", now=self._start + SOON, hold=True) as verified:
            self._log(verified.load("sklearn"))
        seen = self._watch()
        grows = stage.attacked(6)
        verdict = seen[-1].diagnosis.verdict if seen else INTACT
        if not seen:
            self._say.line("nothing found")
        elif grows:
            self._retrain()
        right = verdict in GROWTH_VERDICTS if grows else not seen
        delay = float(seen[-1].row) if seen and grows else None
        evidence = seen[-1].why() if seen else "no alarm in the weeks of an unchanged city"
        return Told(6, "growth", "natural drift" if grows else "unchanged", verdict, right, delay, evidence)

    def _release(self, now: datetime) -> None:
        stage = self._stage
        stage.write(self._train, "data/bikes/training.parquet")
        stage.write(self._reference, "data/bikes/reference.parquet")
        bikes.train(self._train, stage.folder / "models" / "bikes")
        integrity.sign_model(stage.project, "bikes", stage.keys[RELEASE], now=now)
        with integrity.verify_model(stage.project, "bikes", now=now, hold=True) as verified:
            sample = self._reference.select(bikes.FEATURES).slice(0, 50)
            Golden.record(verified.load("sklearn"), sample, stage.folder / "data/bikes/golden.parquet", verified.root)
        self._say.line(f"validated: {stage.validate('bikes', now)}")
        releasing.request(stage.project, "bikes", requester=REQUESTER, now=now)
        stage.approve("bikes", now)
        stage.deploy("bikes", now + SOON)

    def _log(self, model: Predictor) -> None:
        """Write what the model answers, as a service's own table would hold it."""
        answered = model.predict(self._live.select(bikes.FEATURES))
        known = pc.add(self._live.column("time"), pa.scalar(LABEL_DELAY, pa.duration("us")))
        table = self._live.append_column("prediction", pa.array(np.asarray(answered.labels).tolist()))
        table = table.append_column("confidence", pa.array(np.asarray(answered.confidence, dtype=np.float64)))
        self._stage.write(table.append_column("label_time", known), "predictions/bikes/hours.parquet")

    def _watch(self) -> list[Seen]:
        """Monitor once a week until a cause is sure; rows of `Seen` are days since the start."""
        seen: list[Seen] = []
        days = (self._stage.today - self._start).days
        for day in [*range(STEP_DAYS, days, STEP_DAYS), days]:
            now = self._start + timedelta(days=day)
            watched = self._stage.project.monitor("bikes", now)
            self._stage.project.tell(now)
            if watched.diagnosis is not None:
                seen.append(Seen(day, watched.diagnosis))
                self._say.diagnosis(now, watched.diagnosis)
                if seen[-1].sure:
                    break
        return seen

    def _retrain(self) -> None:
        """Fit again on the first half of what came since, and compare both on the second half."""
        half = self._live.num_rows // 2
        folder = self._stage.folder / "retrained"
        bikes.train(self._live.slice(0, half), folder)  # without the old labels, which teach the old relation
        later = self._live.slice(half)
        truth = np.array(later.column(bikes.LABEL).to_pylist())
        shares = []
        for place in (self._stage.folder / "models" / "bikes", folder):
            with Snapshot.of(place) as files:
                answered = Sklearn().open(files).predict(later.select(bikes.FEATURES))
            shares.append(float((np.asarray(answered.labels) == truth).mean()))
        self._say.line(
            f"retrained on what came since, it is right in {shares[1]:.1%} of later hours, the old in {shares[0]:.1%}"
        )


def chapter_7(stage: Stage, say: Teller) -> Told:
    """Flip labels in the training table on disk: exactly these rows are named."""
    say.chapter(7, f"{FLIPS} labels of the rain model's training table are flipped")
    path = stage.folder / "data" / "rain" / "training.parquet"
    table = pyarrow.parquet.read_table(path)
    flipped = stage.attacked(7)
    rows = sorted(int(row) for row in np.random.default_rng(7).choice(table.num_rows, FLIPS, replace=False))
    if flipped:
        labels = table.column("label").to_pylist()
        for row in rows:
            labels[row] = "dry" if labels[row] == "rain" else "rain"
        column = table.column_names.index("label")
        pyarrow.parquet.write_table(table.set_column(column, "label", pa.array(labels)), path)
    report = verify_data(stage.project, "rain", now=stage.now)
    stage.project.tell(stage.now)
    found = [finding for finding in report.findings if finding.rule == "data.label-changed"]
    named = [row for finding in found for row in _rows(str(finding.numbers["rows"]))]
    verdict = f"{len(named)} label flips named" if report.changed else INTACT
    right = (named == rows and bool(found)) if flipped else not report.changed
    evidence = "; ".join(finding.detail for finding in report.findings) or f"all {report.rows:,} rows as signed"
    say.line(evidence)
    truth = f"{FLIPS} labels flipped" if flipped else "untouched"
    return Told(7, "training data", truth, verdict, right, 0.0 if flipped else None, evidence)


def _rows(stretches: str) -> list[int]:
    """The rows that ``3,17,20-25`` names."""
    ends = [part.split("-") for part in stretches.split(",")]
    return [row for end in ends for row in range(int(end[0]), int(end[-1]) + 1)]


def chapter_8(stage: Stage, say: Teller) -> Told:
    """Edit an entry of the audit log in its database: it is found."""
    say.chapter(8, "an entry of the audit log is edited in its database")
    edited = stage.attacked(8)
    position = _edit(stage) if edited else -1
    report = verify_log(stage.project, now=stage.now)
    stage.project.desk.deliver(stage.now)
    verdict = {"sound": "sound", "broken": "log edited", "unwitnessed": "cannot tell"}[report.state]
    evidence = "; ".join(finding.detail for finding in report.findings) or f"all {report.size} entries as written"
    right = (report.state == "broken" and str(position) in evidence) if edited else report.state == "sound"
    say.line(f"{verdict}: {evidence}")
    truth = f"entry {position} edited" if edited else "untouched"
    return Told(8, "audit log", truth, verdict, right, 0.0 if edited else None, evidence)


def _edit(stage: Stage) -> int:
    """Replace the name of an approver in the log, as somebody with access to the database could.

    Returns:
        Position of the entry.
    """
    place = stage.project.log_database
    with sqlite3.connect(place) as database:
        row = database.execute("SELECT position, body FROM entries WHERE kind = 'approval.given' LIMIT 1").fetchone()
        if row is None:
            raise StorageError(f"{place} holds no approval to edit")
        body = bytes(row[1]).replace(b"anna@", b"eve_@")
        database.execute("UPDATE entries SET body = ? WHERE position = ?", (body, row[0]))
    database.close()
    return int(row[0])
