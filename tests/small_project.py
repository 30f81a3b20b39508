"""A project small enough to be built in a test: one model of two columns, three people, 56 days of reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import skops.io
from sklearn.linear_model import LogisticRegression

from assay.keys.pem import PemSigner, generate
from assay.project import integrity, releasing, validating
from assay.project.people import trust_key
from assay.project.project import Project

TODAY = datetime(2026, 3, 2, tzinfo=UTC)
RELEASE, ANNA, BEN = "release@acme.example", "anna@acme.example", "ben@acme.example"
REFERENCE_DAYS, ROWS_A_DAY = 56, 40

CONFIG = """\
[project]
name = "small"

[log]
checkpoints = ["outside"]

[models.spam]
path = "models/spam"
framework = "sklearn"
reference = "data/reference.parquet"
suite = "checks/spam.py:suite"

[models.spam.training]
path = "data/training.csv"
label = "y"

[models.spam.predictions]
path = "predictions/*.parquet"
time = "ts"
prediction = "pred"
confidence = "p"
label = "y"

[models.spam.policy]
signed_by = ["release@acme.example"]
approvers = ["anna@acme.example", "ben@acme.example", "release@acme.example"]
approvals = 1
require = ["validation", "lineage"]

[alerts]
security = ["file://ALERTS/security.jsonl"]
owners = ["file://ALERTS/owners.jsonl"]
"""

SUITE = """\
from pathlib import Path

from assay.validation.checks.regression import Metric
from assay.validation.suite import Suite

TABLE = Path(__file__).parent.parent / "data" / "training.csv"
suite = Suite("small", Metric(TABLE, "y", at_least=0.7, features=("a", "b")))
strict = Suite("strict", Metric(TABLE, "y", at_least=0.999, features=("a", "b")))
"""


@dataclass(frozen=True)
class Small:
    """The project, its folder and its people's keys."""

    folder: Path
    project: Project
    keys: dict[str, PemSigner]

    @property
    def model(self) -> Path:
        return self.folder / "models" / "spam"

    def reopened(self, *, now: datetime = TODAY, actor: str = "mlops@acme.example") -> Project:
        """The project as another process sees it."""
        return Project.open(self.folder / "assay.toml", now=now, actor=actor)

    def alerts(self, audience: str) -> list[str]:
        path = self.folder / "alerts" / f"{audience}.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    def sign(self, *, now: datetime = TODAY) -> None:
        integrity.sign_model(self.project, "spam", self.keys[RELEASE], now=now)

    def go_live(self, *, now: datetime = TODAY) -> None:
        """Sign, validate, ask, approve and deploy."""
        self.sign(now=now)
        validating.validate_model(self.project, "spam", suite=None, signer=self.keys[RELEASE], now=now)
        releasing.request(self.project, "spam", requester="mlops@acme.example", now=now)
        releasing.review(
            self.project,
            "spam",
            self.keys[ANNA],
            decision="approve",
            reason="report read",
            expires_after=timedelta(days=30),
            now=now,
        )
        releasing.deploy(self.project, "spam", now=now)

    def serve(
        self, days: int, *, start: datetime = TODAY, seed: int = 5, shift: float = 0.0, wrong: bool = False
    ) -> None:
        """Log so many days of predictions; ``shift`` moves the inputs, ``wrong`` answers as edited weights would."""
        table = rows(days, start=start, seed=seed, shift=shift)
        answers = self._answers(table, wrong=wrong)
        folder = self.folder / "predictions"
        folder.mkdir(exist_ok=True)
        pa.parquet.write_table(answers, folder / f"{start:%Y%m%d}-{seed}.parquet")

    def _answers(self, table: pa.Table, *, wrong: bool) -> pa.Table:
        fitted = skops.io.load(self.model / "model.skops")
        shares = fitted.predict_proba(table.select(["a", "b"]).to_pandas())
        labels = fitted.classes_[shares.argmax(axis=1)]
        if wrong:
            labels = np.where(np.asarray(table.column("a")) > 0, "ham", labels)
        table = table.append_column("pred", pa.array(labels.tolist()))
        return table.append_column("p", pa.array(shares.max(axis=1)))


def rows(days: int, *, start: datetime, seed: int, shift: float = 0.0) -> pa.Table:
    """Rows of so many days from ``start`` on, evenly in time, with the truth."""
    rng = np.random.default_rng(seed)
    n = days * ROWS_A_DAY
    a, b = rng.normal(shift, 1, n), rng.normal(shift, 1, n)
    truth = np.where(rng.random(n) < 1 / (1 + np.exp(-3 * (a + b))), "spam", "ham")
    step = timedelta(days=1) / ROWS_A_DAY
    times = pa.array([start + at * step for at in range(n)], pa.timestamp("us", tz="UTC"))
    return pa.table({"ts": times, "a": a, "b": b, "y": pa.array(truth.tolist())})


def write_model(folder: Path, table: pa.Table, *, seed: int = 0) -> None:
    """Fit a model of the rows and save it as its files."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({name: np.asarray(table.column(name)) for name in ("a", "b")})
    fitted = LogisticRegression(random_state=seed, C=1.0 + seed).fit(frame, table.column("y").to_pylist())
    skops.io.dump(fitted, folder / "model.skops")
    (folder / "labels.txt").write_text("ham\nspam\n")


def build(folder: Path, *, today: datetime = TODAY, config: str = CONFIG) -> Small:
    """Make the project in an empty folder; nothing is signed yet.

    Args:
        folder: Where.
        today: The reference ends here, and the keys count from the day before.
        config: The text of assay.toml; ``ALERTS`` stands for the folder of the alert files.
    """
    training = rows(10, start=today - timedelta(days=100), seed=1)
    write_model(folder / "models" / "spam", training)
    (folder / "data").mkdir()
    (folder / "alerts").mkdir()
    (folder / "checks").mkdir()
    (folder / "checks" / "spam.py").write_text(SUITE)
    pyarrow.csv.write_csv(training, folder / "data" / "training.csv")
    reference = rows(REFERENCE_DAYS, start=today - timedelta(days=REFERENCE_DAYS), seed=2)
    pa.parquet.write_table(reference, folder / "data" / "reference.parquet")
    (folder / "assay.toml").write_text(config.replace("ALERTS", str(folder / "alerts")))
    begin = today - timedelta(days=1)
    project = Project.open(folder / "assay.toml", now=begin, actor="mlops@acme.example")
    keys = {}
    (folder / "keys").mkdir()
    for identity in (RELEASE, ANNA, BEN):
        path = folder / "keys" / f"{identity.split('@')[0]}.pem"
        keys[identity] = generate(path, passphrase=None)
        trust_key(project, identity, path.with_suffix(".pub"), until=None, now=begin)
    return Small(folder, project, keys)
