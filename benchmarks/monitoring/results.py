"""Results as they come: one JSON object a line, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from joblib import Parallel, delayed

import assay

Record = dict[str, object]
Job = tuple[str, str, str, int]
"""What was measured: row, who, variant, seed."""


@dataclass(frozen=True)
class Work:
    """What is measured in one go.

    Attributes:
        jobs: What comes of it.
        run: Measures it, one record a job.
        long: It takes some times as long as the others.
    """

    jobs: tuple[Job, ...]
    run: Callable[[], Sequence[Record]]
    long: bool = False


_PACKAGE = Path(assay.__file__).parent
_DECIDES = ("calendar", "discovery", "floors", "judgement", "patterns", "walk", "watching", "weights")
"""Modules of `assay.monitoring` that, beside its detectors and `assay.inference`, make alarms of counts."""


def version() -> str:
    """Digest of the code whose figures these are: results of other code are made again.

    It is of what decides. That counts are what they were is asked of the engine at every run; what is told of a table,
    kept or drawn changes no figure.
    """
    here = sorted([*_PACKAGE.glob("monitoring/detectors/*.py"), *_PACKAGE.glob("inference/*.py")])
    here += [_PACKAGE / "monitoring" / f"{name}.py" for name in _DECIDES]
    here += sorted(Path(__file__).parent.glob("*.py"))
    skip = {"tables.py", "run.py", "results.py"}
    content = b"".join(path.read_bytes() for path in here if path.name not in skip)
    return hashlib.sha256(content).hexdigest()[:12]


@dataclass
class Store:
    """A file of results."""

    path: Path
    of: str = field(default_factory=version)

    def __post_init__(self) -> None:
        self.records: list[Record] = self._read()

    def _read(self) -> list[Record]:
        """What the file holds; of several results of one job the last."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return list({key(record): record for record in map(json.loads, lines)}.values())

    def has(self, job: Job, of: str | None = None) -> bool:
        """Whether this was measured with this code."""
        return any(key(record) == job and record["of"] == (of or self.of) for record in self.records)

    def add(self, job: Job, found: Mapping[str, object], of: str | None = None) -> None:
        """Keep one result."""
        row, who, variant, seed = job
        record = {"row": row, "who": who, "variant": variant, "seed": seed, "of": of or self.of, **found}
        self.records = [r for r in self.records if key(r) != job] + [record]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Write the file anew, with one line a job; another run may have added some."""
        self.records = self._read()
        lines = sorted(json.dumps(record) for record in self.records)
        self.path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def all(self, row: str, who: str | None = None, variant: str | None = None) -> list[Record]:
        """Results of a row, by who and variant."""
        found = [r for r in self.records if r["row"] == row]
        return [r for r in found if who in (None, r["who"]) and variant in (None, r["variant"])]


def key(record: Mapping[str, object]) -> Job:
    """What a record is of."""
    return str(record["row"]), str(record["who"]), str(record["variant"]), int(str(record["seed"]))


def measure(store: Store, jobs: Iterable[Work], workers: int) -> None:
    """Run what is not there yet, the first run of each row before the second, and keep each result as it comes.

    Of long runs, the second comes with the sixth of the others.
    """
    wanted = [work for work in jobs if not all(store.has(job) for job in work.jobs)]
    wanted.sort(key=lambda work: work.jobs[0][3] * (5 if work.long else 1))
    with Parallel(n_jobs=workers, return_as="generator_unordered") as pool:
        for jobs_done, found in pool(delayed(_run)(work) for work in wanted):
            for job, record in zip(jobs_done, found, strict=True):
                store.add(job, record)
                print(*job, json.dumps(record), flush=True)


def _run(work: Work) -> tuple[tuple[Job, ...], Sequence[Record]]:
    return work.jobs, work.run()
