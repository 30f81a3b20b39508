"""Results as they come: one JSON object a line, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from joblib import Parallel, delayed

import assay

Record = dict[str, object]
Job = tuple[str, str, str, int]
"""What was measured: row, who, variant, seed."""

_PACKAGE = Path(assay.__file__).parent


def version() -> str:
    """Digest of the code whose figures these are: results of other code are made again."""
    here = sorted([*_PACKAGE.glob("monitoring/**/*.py"), *_PACKAGE.glob("inference/*.py")])
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
        self.records: list[Record] = []
        if self.path.exists():
            self.records = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

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
        """Write the file anew, with one line a job."""
        lines = sorted(json.dumps(record) for record in self.records)
        self.path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def all(self, row: str, who: str | None = None, variant: str | None = None) -> list[Record]:
        """Results of a row, by who and variant."""
        found = [r for r in self.records if r["row"] == row]
        return [r for r in found if who in (None, r["who"]) and variant in (None, r["variant"])]


def key(record: Mapping[str, object]) -> Job:
    """What a record is of."""
    return str(record["row"]), str(record["who"]), str(record["variant"]), int(str(record["seed"]))


def measure(store: Store, jobs: Iterable[tuple[Job, Callable[[], Record]]], workers: int) -> None:
    """Run what is not there yet, and keep each result as it comes."""
    wanted = [(job, work) for job, work in jobs if not store.has(job)]
    for job, found in _run(wanted, workers):
        store.add(job, found)
        print(*job, json.dumps(found), flush=True)


def _run(wanted: list[tuple[Job, Callable[[], Record]]], workers: int) -> Iterator[tuple[Job, Record]]:
    def one(job: Job, work: Callable[[], Record]) -> tuple[Job, Record]:
        return job, work()

    yield from Parallel(n_jobs=workers, return_as="generator_unordered")(delayed(one)(j, w) for j, w in wanted)
