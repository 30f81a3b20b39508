"""The demo's stage: a project in a folder of its own, and three people with keys."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from assay.errors import StorageError
from assay.keys.pem import PemSigner, generate
from assay.project import baselines, releasing, validating
from assay.project.people import trust_key
from assay.project.project import Project

FOLDER = ".assay-demo"
MARK = "this folder was made by assay demo and is made anew by it"
RELEASE, ANNA, BEN = "release@station.example", "anna@station.example", "ben@station.example"
REQUESTER = "mlops@station.example"

CONFIG = """\
[project]
name = "weather-station"

[log]
checkpoints = ["outside-the-database"]

[models.rain]
path = "models/rain"
framework = "sklearn"
tier = "standard"
reference = "data/rain/reference.parquet"
suite = "checks/rain.py:suite"

[models.rain.training]
path = "data/rain/training.parquet"
label = "label"

[models.rain.predictions]
path = "predictions/rain/**/*.parquet"
time = "time"
prediction = "prediction"
confidence = "confidence"
latency_s = "latency_s"
error = "error"
label = "label"
label_time = "label_time"
model = "model"
request_id = "request_id"

[models.rain.monitor]
window = "15d"
false_alarm_every = "10y"

[models.rain.policy]
signed_by = ["release@station.example"]
approvers = ["anna@station.example", "ben@station.example"]
approvals = 2
require = ["validation", "lineage"]
max_age = "30d"

[models.bikes]
path = "models/bikes"
framework = "sklearn"
reference = "data/bikes/reference.parquet"
suite = "checks/bikes.py:suite"

[models.bikes.training]
path = "data/bikes/training.parquet"
label = "label"

[models.bikes.predictions]
path = "predictions/bikes/*.parquet"
time = "time"
prediction = "prediction"
confidence = "confidence"
label = "label"
label_time = "label_time"

[models.bikes.monitor]
window = "1d"
false_alarm_every = "1y"

[models.bikes.policy]
signed_by = ["release@station.example"]
approvers = ["anna@station.example", "ben@station.example"]
approvals = 2
require = ["validation", "lineage"]
max_age = "30d"

[alerts]
security = ["{security}"]
owners = ["{owners}"]
escalate_after = "15m"
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the closing table.

    Attributes:
        chapter: Its number.
        what: What happened.
        truth: What is true, known from how the chapter was made.
        verdict: What assay said.
        right: Whether that is right.
        delay_days: Days from when it began to when assay said so; None where nothing began.
        evidence: What it rests on, one sentence.
    """

    chapter: int
    what: str
    truth: str
    verdict: str
    right: bool
    delay_days: float | None
    evidence: str

    def as_json(self) -> dict[str, object]:
        """The row as result.json holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass
class Stage:
    """Where the story plays.

    Attributes:
        folder: The demo's own folder.
        project: The project in it.
        keys: Private keys by identity: the release pipeline's and two approvers'.
        now: The present.
        today: Midnight after the last replayed day, UTC.
        without: Chapters whose attack is left out.
        told: What was told so far.
    """

    folder: Path
    project: Project
    keys: Mapping[str, PemSigner]
    now: datetime
    today: datetime
    without: frozenset[int]
    told: list[Told] = field(default_factory=list)

    @classmethod
    def set_up(cls, folder: Path, *, now: datetime, without: frozenset[int]) -> Stage:
        """Make the folder anew, with a project, keys and a trust store in it.

        Raises:
            StorageError: The folder exists and is not the demo's.
        """
        if folder.exists():
            mark = folder / "README"
            if not mark.is_file() or MARK not in mark.read_text(encoding="utf-8", errors="replace"):
                raise StorageError(f"{folder} is there and was not made by the demo: move it away, or choose --folder")
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / "README").write_text(MARK + "\n", encoding="utf-8")
        alerts = (folder / "alerts").resolve()
        alerts.mkdir()
        urls = {name: f"file://{alerts / name}.jsonl" for name in ("security", "owners")}
        (folder / "assay.toml").write_text(CONFIG.format(**urls), encoding="utf-8")
        shutil.copytree(Path(__file__).parent / "suites", folder / "checks", ignore=shutil.ignore_patterns("__*"))
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        begin = today - timedelta(days=6000)
        project = Project.open(folder / "assay.toml", now=begin, actor=REQUESTER)
        keys = {}
        (folder / "keys").mkdir(mode=0o700)
        for identity in (RELEASE, ANNA, BEN):
            path = folder / "keys" / f"{identity.split('@')[0]}.pem"
            keys[identity] = generate(path, passphrase=None)
            trust_key(project, identity, path.with_suffix(".pub"), until=None, now=begin)
        return cls(folder, project, keys, now, today, without)

    def write(self, table: pa.Table, place: str) -> Path:
        """Write a Parquet file below the folder."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(table, path)
        return path

    def validate(self, name: str, now: datetime) -> str:
        """Run the suite of the model that lies in place; the result is signed.

        Returns:
            How it ended, in words.
        """
        report = validating.validate_model(self.project, name, suite=None, signer=self.keys[RELEASE], now=now).report
        return f"{report.outcome.value}: " + ", ".join(f"{one.name} {one.outcome.value}" for one in report.results)

    def approve(self, name: str, now: datetime) -> None:
        """Both approvers look and sign."""
        for identity, minutes in ((ANNA, 5), (BEN, 20)):
            releasing.review(
                self.project,
                name,
                self.keys[identity],
                decision="approve",
                reason="report and lineage read",
                expires_after=timedelta(days=30),
                now=now + timedelta(minutes=minutes),
            )

    def deploy(self, name: str, now: datetime) -> None:
        """Go live, and learn what is normal from the reference."""
        releasing.deploy(self.project, name, now=now)
        baselines.learn_baseline(self.project, name, now=now)
        self.project.tell(now)

    def close(self, model: str, who: str, reason: str, now: datetime) -> None:
        """Somebody takes and resolves every open incident of a model."""
        for one in self.project.desk.list(model=model):
            if one.state == "open":
                self.project.desk.acknowledge(one.id, who, now)
            if one.state != "resolved":
                self.project.desk.resolve(one.id, who, reason, now)

    def attacked(self, chapter: int) -> bool:
        """Whether the attack of a chapter takes place."""
        return chapter not in self.without

    def alerts(self, audience: str) -> list[str]:
        """What an audience was told so far, one line a message."""
        path = self.folder / "alerts" / f"{audience}.jsonl"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
