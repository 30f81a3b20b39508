"""Chapters 1 to 5: the rain forecaster is released, lives, drifts, is attacked twice, and is fed broken data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.artifacts.snapshot import Snapshot
from assay.demo import rain
from assay.demo.stage import ANNA, BEN, RELEASE, REQUESTER, Stage, Told
from assay.demo.telling import Teller
from assay.diagnosis.verdict import ATTACKS, SURE, Diagnosis
from assay.errors import VerificationError
from assay.frameworks.base import Predictor
from assay.frameworks.sklearn import Sklearn
from assay.monitoring.partitions import settle
from assay.monitoring.recorder import Recorder
from assay.project import integrity, releasing
from assay.release.store import live_at
from assay.validation.checks.regression import Golden

NATURAL = ("intact", "covariate-drift", "concept-drift")
INTACT = "intact"
TAMPERING = "model-tampering"
LABEL_DELAY = timedelta(days=2)
WINDOW_DAYS = 15
SOON = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Version:
    """The rows of one version's life: trained on, judged by, served until."""

    train: range
    reference: range
    end: int


FIRST = Version(train=range(4_500), reference=range(4_500, 7_500), end=9_500)
SECOND = Version(train=range(8_000, 9_700), reference=range(9_700, 11_000), end=rain.LAST_ROW)
TAMPERED = range(11_500, rain.FAULT_ROW)
FLIPPED_BYTE = 640  # an offset inside the numbers of the first array of the file


@dataclass(frozen=True, slots=True)
class Seen:
    """A diagnosis and the row whose day it was made on."""

    row: int
    diagnosis: Diagnosis

    @property
    def sure(self) -> bool:
        """Whether a cause is named, and will not be asked about again."""
        return self.diagnosis.verdict != INTACT and self.diagnosis.certainty >= SURE

    def why(self) -> str:
        """What it rests on, in one sentence."""
        return self.diagnosis.explanation[1]


def _blames_nobody(seen: Sequence[Seen]) -> bool:
    """Whether what was found is the weather's own: real years do change, and here visibility does about row 11,000.

    A cause that is not sure is asked again with more rows: what counts then is what is sure, and what is said last.
    No attack may be named, however unsure.
    """
    said = [one for one in seen if one.sure or one is seen[-1] or one.diagnosis.verdict in ATTACKS]
    return all(one.diagnosis.verdict in NATURAL for one in said)


class RainStory:
    """The chapters of the rain forecaster, told in order on one stage."""

    def __init__(self, stage: Stage, teller: Teller, csv: Path) -> None:
        self._stage = stage
        self._say = teller
        self._days = rain.read(csv, stage.today, mended=not stage.attacked(5))
        self._model = stage.folder / "models" / "rain"

    def chapter_1(self) -> Told:
        """Fingerprint, train, sign, validate, refuse, approve, admit, deploy."""
        self._say.chapter(1, "a rain forecaster is trained, signed, validated, approved and deployed")
        now = self._day(FIRST.reference.stop)
        outcome, reasons = self._release(FIRST, now)
        live = live_at(self._stage.project.state, "rain", now + 2 * SOON)
        admitted = live is not None and outcome == "refuse"
        verdict = "refused without approvals, admitted with two" if admitted else f"the gate said {outcome}"
        return Told(1, "release", "no approvals, then two", verdict, admitted, None, "; ".join(reasons) or "none")

    def chapter_2(self) -> Told:
        """The real following years, with latencies and late labels: whatever happens there is natural."""
        self._say.chapter(2, "five and a half real years go by")
        with self._known_good(FIRST.reference.stop + 1) as (predictor, root):
            self._import(range(FIRST.reference.stop, FIRST.end), predictor, root)
        seen = self._watch(FIRST.reference.stop, FIRST.end, step=90, stop=False)
        if not seen:
            self._say.line("nothing beyond tolerance and natural variation")
        self._stage.close("rain", ANNA, "the world changed; the model is retrained", self._day(FIRST.end))
        verdicts = [one.diagnosis.verdict for one in seen]
        right = _blames_nobody(seen)
        evidence = seen[-1].why() if seen else "no alarm in five and a half years"
        return Told(2, "real years", "natural", verdicts[-1] if verdicts else INTACT, right, None, evidence)

    def chapter_3(self) -> Told:
        """Flip one bit of the deployed file: loading is refused and security is told."""
        self._say.chapter(3, "the model is retrained and released; then one bit of the deployed file flips")
        now = self._day(SECOND.reference.stop)
        self._release(SECOND, now)
        stage = self._stage
        told_before = len(stage.alerts("security"))
        flipped = stage.attacked(3)
        if flipped:
            path = self._model / "model.skops"
            content = bytearray(path.read_bytes())
            content[FLIPPED_BYTE] ^= 1
            path.write_bytes(content)
        try:
            with integrity.verify_model(stage.project, "rain", now=now + 2 * SOON, hold=True) as verified:
                verified.load("sklearn")
            verdict, evidence = INTACT, "every file and tensor as signed; loaded from the verified bytes"
        except VerificationError as err:
            verdict = "loading refused"
            evidence = "; ".join(finding.detail for finding in err.findings[:2])
        stage.project.tell(now + 2 * SOON)
        alerted = len(stage.alerts("security")) > told_before
        self._say.line(f"{verdict}: {evidence}")
        self._say.line(f"security was {'' if alerted else 'not '}told")
        if flipped:
            releasing.rollback(stage.project, "rain", reason="one bit flipped on disk", now=now + 3 * SOON)
            stage.close("rain", ANNA, "one bit flipped on disk; the copy was put back", now + 3 * SOON)
            self._say.line("the verified known-good copy was put back in place")
        right = (verdict != INTACT and alerted and "model.skops" in evidence) if flipped else verdict == INTACT
        truth = "one bit flipped" if flipped else "untouched"
        return Told(3, "bit flip", truth, verdict, right, 0.0 if flipped else None, evidence)

    def chapter_4(self) -> Told:
        """Edited weights are served by a process that does not check; the files on disk are intact."""
        self._say.chapter(4, "a process that does not check serves edited weights; the files on disk are intact")
        stage = self._stage
        with self._known_good(SECOND.reference.stop + 1) as (predictor, root):
            self._import(range(SECOND.reference.stop, TAMPERED.start), predictor, root)
            early = self._watch(SECOND.reference.stop, TAMPERED.start, step=90)
            seen: list[Seen] = []
            with self._edited() if stage.attacked(4) else nullcontext(predictor) as served:
                for row in range(TAMPERED.start, TAMPERED.stop, WINDOW_DAYS):  # it claims to be the signed model
                    days = range(row, min(row + WINDOW_DAYS, TAMPERED.stop))
                    self._serve(days, served, root)
                    seen += self._watch(days.start, days.stop)
                    if seen and seen[-1].sure and (seen[-1].diagnosis.escalate or not stage.attacked(4)):
                        break  # nobody stops a process because the weather changes
            rest = range(days.stop, TAMPERED.stop)
            if rest:
                self._say.line("that process is stopped; the signed model serves again (its last days are still seen)")
                self._import(rest, predictor, root)
                self._watch(rest.start, rest.stop, step=90, stop=False)
                stage.close("rain", BEN, "a process served edited weights; it was stopped", self._day(rest.stop))
        tampered = stage.attacked(4)
        verdict = seen[-1].diagnosis.verdict if seen else INTACT
        if not seen:
            self._say.line("nothing found: outputs are those of the signed model")
        right = verdict == TAMPERING if tampered else _blames_nobody(seen)
        right = right and not any(one.diagnosis.verdict == TAMPERING for one in early)
        delay = float(seen[-1].row - TAMPERED.start) if seen and tampered else None
        evidence = seen[-1].why() if seen else "replay through the signed copy agrees in every window"
        return Told(4, "edited weights", "weights edited" if tampered else "untouched", verdict, right, delay, evidence)

    def chapter_5(self) -> Told:
        """The real fault of the published file: its feature columns are rotated from row 12,000 on."""
        self._say.chapter(5, "the published file's own fault: eight columns rotated by one")
        with self._known_good(rain.FAULT_ROW) as (predictor, root):
            self._serve(range(rain.FAULT_ROW, rain.LAST_ROW), predictor, root)
        seen = self._watch(rain.FAULT_ROW, rain.LAST_ROW)
        faulty = self._stage.attacked(5)
        verdict = seen[-1].diagnosis.verdict if seen else INTACT
        if not seen:
            self._say.line("nothing found")
        evidence = _columns(seen[-1].diagnosis) if seen else "no alarm, and replay agrees"
        named = verdict == "data-fault" and any(name in evidence for name in rain.FEATURES)
        right = named if faulty else _blames_nobody(seen)
        delay = float(seen[-1].row - rain.FAULT_ROW) if seen and faulty else None
        return Told(5, "rotated columns", "data fault" if faulty else "mended", verdict, right, delay, evidence)

    def _release(self, version: Version, now: datetime) -> tuple[str, list[str]]:
        """Train, sign, validate, be refused for want of approvals, be approved, go live.

        Returns:
            What the gate said before the approvals, and why.
        """
        stage = self._stage
        self._prepare(version)
        _, extra = integrity.sign_model(stage.project, "rain", stage.keys[RELEASE], now=now)
        self._say.line(f"signed version {extra['version']}; training data: {extra['training_data']}")
        with integrity.verify_model(stage.project, "rain", now=now, hold=True) as verified:
            sample = self._rows(version.reference).select(rain.FEATURES).slice(0, 50)
            Golden.record(verified.load("sklearn"), sample, stage.folder / "data/rain/golden.parquet", verified.root)
        self._say.line(f"validated: {stage.validate('rain', now)}")
        first = releasing.decide(stage.project, "rain", requester=REQUESTER, now=now)
        reasons = [rule.detail for rule in first.rules if rule.outcome != "admit"]
        self._say.line(f"the gate: {first.outcome}: {'; '.join(reasons)}")
        stage.approve("rain", now)
        stage.deploy("rain", now + SOON)
        live = live_at(stage.project.state, "rain", now + SOON)
        if live is not None:
            self._say.line(f"two people approved exactly these bytes; version {live.version} is live")
        return first.outcome, reasons

    def _prepare(self, version: Version) -> None:
        """Train, and lay model, training table, reference and held-out rows in place."""
        stage = self._stage
        stage.write(self._rows(version.train), "data/rain/training.parquet")
        held_out = self._rows(version.reference)
        stage.write(held_out, "data/rain/reference.parquet")
        wind = held_out.column("max_wind_speed")
        strength = pc.if_else(pc.less(wind, pc.quantile(wind, 0.5)[0]), "calm", "windy")
        stage.write(held_out.append_column("wind", strength), "data/rain/held-out.parquet")
        shutil.rmtree(self._model, ignore_errors=True)
        rain.train(self._rows(version.train), self._model)

    @contextmanager
    def _known_good(self, row: int) -> Iterator[tuple[Predictor, str]]:
        """What an honest serving process does: verify, and load the verified bytes."""
        with integrity.verify_model(self._stage.project, "rain", now=self._day(row), hold=True) as verified:
            yield verified.load("sklearn"), verified.root

    @contextmanager
    def _edited(self) -> Iterator[Predictor]:
        """What an attacker's process serves: a copy with one weight turned round, opened without checking."""
        folder = self._stage.folder / "attacker"
        weight = rain.edited(self._model, folder)
        self._say.line(f"the attacker turned the weight of {weight} round")
        with Snapshot.of(folder) as files:
            yield Sklearn().open(files)

    def _answers(self, rows: range, predictor: Predictor) -> pa.Table:
        """Some days as the serving process logs them: inputs, prediction, confidence, latency, request id."""
        table = self._rows(rows)
        answered = predictor.predict(table.select(rain.FEATURES))
        batch = table.drop_columns([rain.LABEL])
        batch = batch.append_column("prediction", pa.array(np.asarray(answered.labels).tolist()))
        batch = batch.append_column("confidence", pa.array(np.asarray(answered.confidence, dtype=np.float64)))
        batch = batch.append_column("latency_s", pa.array(rain.latencies(len(rows), seed=rows.start)))
        return batch.append_column("request_id", pa.array([f"day-{row}" for row in rows]))

    def _serve(self, rows: range, predictor: Predictor, root: str) -> None:
        """Serve some days through a Recorder; labels come two days later and are joined."""
        folder = self._stage.folder / "predictions" / "rain"
        labels = self._rows(rows).column(rain.LABEL).to_pylist()
        with Recorder(folder, model=root, flush_rows=5_000) as recorder:
            recorder.log_batch(self._answers(rows, predictor))
            for row, label in zip(rows, labels, strict=True):
                recorder.label(f"day-{row}", label, self._day(row) + LABEL_DELAY)
        settle(folder)

    def _import(self, rows: range, predictor: Predictor, root: str) -> None:
        """Serve some days whose log is one table of the service's own, with its labels joined already."""
        batch = self._answers(rows, predictor)
        known = pc.add(batch.column("time"), pa.scalar(LABEL_DELAY, pa.duration("us")))
        batch = batch.append_column("error", pa.nulls(len(rows), pa.string()))
        batch = batch.append_column("model", pa.array([root] * len(rows)))
        batch = batch.append_column("label", self._rows(rows).column(rain.LABEL)).append_column("label_time", known)
        self._stage.write(batch, f"predictions/rain/days-{rows.start}.parquet")

    def _watch(self, start: int, end: int, *, step: int = WINDOW_DAYS, stop: bool = True) -> list[Seen]:
        """Monitor as the days go by.

        Args:
            start: First day, as a row.
            end: Last day.
            step: Days between two runs.
            stop: End with the first diagnosis that is sure of a cause.
        """
        seen: list[Seen] = []
        for row in [*range(start + step, end, step), end]:
            now = self._day(row)
            watched = self._stage.project.monitor("rain", now)
            self._stage.project.tell(now)
            if watched.diagnosis is not None:
                seen.append(Seen(row, watched.diagnosis))
                self._say.diagnosis(now, watched.diagnosis)
                if stop and seen[-1].sure:
                    break
        return seen

    def _rows(self, rows: range) -> pa.Table:
        return self._days.slice(rows.start, len(rows))

    def _day(self, row: int) -> datetime:
        return rain.day(row, self._stage.today)


def _columns(diagnosis: Diagnosis) -> str:
    """Which columns moved where, as the evidence about the pipeline says."""
    said = {item.name: item.detail for item in diagnosis.evidence if item.detail}
    return next((said[name] for name in ("pipeline", "inputs") if name in said), diagnosis.explanation[1])
