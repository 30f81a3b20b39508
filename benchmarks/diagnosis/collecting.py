"""The evidence of every scenario, gathered once and kept until the code it came from changes."""

from __future__ import annotations

import ast
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from functools import cache
from inspect import getsourcefile
from pathlib import Path

import attacks  # noqa: F401 - registers its scenarios
import scenarios  # noqa: F401 - registers its scenarios
from datasets import LOADERS
from joblib import Parallel, delayed
from worlds import FAMILIES, SCENARIOS, make

from assay.demo.data import cache_folder
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.shelf import EVIDENCE, gatherers

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "src" / "assay" / "diagnosis"
SHARED = ("columns", "comparison", "frames", "learners", "matching", "slices")
BESIDE = {"replay": ("replaying",), "stamp": ("marks",), "trigger": ("marks",)}
NOTED = ("scope", "silent", "hard", "varies", "rows", "skipped")  # what the verdict reads beside the measures
Job = tuple[str, str, str, int]


@cache
def _tree(file: Path) -> str:
    """What a file says: comments and layout change nothing."""
    return ast.dump(ast.parse(file.read_text(encoding="utf-8")))


def _digest(*files: Path) -> str:
    return hashlib.sha256("\n".join(_tree(file) for file in files).encode()).hexdigest()[:16]


@cache
def digest_of(scenario: str, gatherer: str) -> str:
    """What a piece of evidence of a scenario was made by."""
    own = Path(str(getsourcefile(SCENARIOS[scenario][0])))
    module = EVIDENCE[gatherer].split(":")[0].rsplit(".", 1)[1]
    shared = [PACKAGE / f"{name}.py" for name in (*SHARED, *BESIDE.get(gatherer, ()))]
    return _digest(HERE / "worlds.py", HERE / "datasets.py", own, *shared, PACKAGE / "evidence" / f"{module}.py")


def jobs(seeds: Sequence[int]) -> Iterator[Job]:
    """Every scenario on every data set; the families of models take turns, so that each meets each in four seeds."""
    for seed in seeds:
        for turn, family in enumerate(FAMILIES):
            for i, dataset in enumerate(LOADERS):
                for j, name in enumerate(SCENARIOS):
                    if (i + j + seed) % len(FAMILIES) == turn:
                        yield name, dataset, family, seed


def gather(job: Job, wanted: tuple[str, ...]) -> dict[str, object]:
    """The wanted evidence of one scenario as plain numbers, with the processor time it took."""
    case, _ = make(*job)
    comparison = Comparison(case)
    items = {}
    for name, gatherer in gatherers():
        if name not in wanted:
            continue
        made_by, start = digest_of(job[0], name), time.process_time()
        e = gatherer(comparison)
        items[name] = {
            "digest": made_by,
            "seconds": round(time.process_time() - start, 4),
            "value": e.value,
            "numbers": dict(e.numbers),
            "missing": e.missing,
            "decides": e.decides,
            "notes": {k: v for k, v in e.notes.items() if k in NOTED},
        }
    return {"job": list(job), "items": items}


def collect(wanted: Sequence[Job], processes: int, file: Path | None = None) -> list[dict]:
    """The wanted cases; evidence whose code changed is gathered anew."""
    file = file or cache_folder() / "diagnosis-benchmark.jsonl"
    held: dict[Job, dict] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        record = json.loads(line)
        job = tuple(record["job"])
        if job in held:
            record["items"] = held[job]["items"] | record["items"]
        record["seconds"] = sum(item["seconds"] for item in record["items"].values())
        held[job] = record
    todo = []
    for job in wanted:
        have = held.get(job, {"items": {}})["items"]
        stale = tuple(n for n in EVIDENCE if n not in have or have[n]["digest"] != digest_of(job[0], n))
        if stale:
            todo.append((job, stale))
    file.parent.mkdir(parents=True, exist_ok=True)
    batches = Parallel(n_jobs=processes, return_as="generator_unordered", batch_size=1)
    for number, record in enumerate(batches(delayed(gather)(*work) for work in todo)):
        with file.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        if number % 50 == 0:
            print(f"{number} of {len(todo)}", flush=True)
    return collect(wanted, processes, file) if todo else [_flat(job, held[job]) for job in wanted]


def _flat(job: Job, record: dict) -> dict:
    name, dataset, family, seed = job
    evidence = [{"name": n, **record["items"][n]} for n in EVIDENCE]
    where = {"scenario": name, "dataset": dataset, "family": family, "seed": seed}
    return {**where, "seconds": record["seconds"], "evidence": evidence}
