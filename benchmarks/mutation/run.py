"""Delete every single check of a floor, one at a time: does a test fail?

``python benchmarks/mutation/run.py FLOOR [--jobs N] [--only MODULE,…] [--claims] [--survivors FILE]`` works on copies
of the tree under the temporary folder. First every test of the floor runs once, and it is noted which lines each runs
and how long it takes; then, for each mutant, the tests that run its line run, fastest first, until one fails. A mutant
that no test kills is printed. Processes are forked with the libraries loaded and the product not.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

import coverage
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
TESTS: Mapping[str, tuple[str, ...]] = {
    "audit": (
        "tests/unit/audit",
        "tests/conformance/test_rfc6962.py",
        "tests/conformance/test_signed_note.py",
        "tests/claims/test_the_log_cannot_be_rewritten_unseen.py",
        "tests/claims/test_no_logged_entry_is_lost.py",
        "tests/unit/project/test_data_and_log.py",
    ),
    "signing": (
        "tests/unit/signing",
        "tests/conformance/test_oms_vectors.py",
        "tests/compat",
        "tests/unit/cli/test_verify_by_path.py",
    ),
}
CLAIMS_LEFT_OUT = ("test_postgresql", "test_false_alarms", "test_killed_monitor", "test_recorder_crash", "test_why_it")
LONGEST_S = 120
PRELOADED = (
    "pytest", "pytest_cov", "hypothesis", "numpy", "sqlalchemy", "sqlalchemy.orm", "alembic.command",
    "cryptography.x509", "cryptography.hazmat.primitives.serialization", "click", "rich.console", "rich.table",
    "blake3", "rfc8785", "pandas", "pyarrow.parquet", "skops.io", "sklearn.linear_model", "pytest_timeout",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant."""

    module: str
    kind: str
    line: int
    before: str
    killed: str  # the test that failed, "(no test runs it)" or "" for a survivor
    seconds: float


class Timing:
    """A pytest plugin that notes how long each test takes, which failed, and for whom lines are run."""

    def __init__(self, cover: coverage.Coverage | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._cover = cover

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Lines run from now on are run for this test."""
        if self._cover is not None:
            self._cover.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: object) -> None:
        """Add up set-up and call."""
        name = report.nodeid  # type: ignore[attr-defined]
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration  # type: ignore[attr-defined]
        if report.failed:  # type: ignore[attr-defined]
            self.failed.append(name)


def copied(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in ("src", "tests", "docs", "benchmarks", "shared"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, folder / file.name)
    for name in (".venv", ".venv-interop"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


def forked(work: Callable[[], int], limit_s: float) -> int:
    """Run in a fork of this process; its exit code, 124 after the time limit."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            os._exit(work())
        os._exit(99)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


def entered(tree: Path) -> None:
    """Work in a copy from now on, silently."""
    os.chdir(tree)
    sys.path[:0] = [str(tree / "src"), str(tree)]
    os.environ["PYTHONPATH"] = f"{tree / 'src'}"
    os.environ["TMPDIR"] = str(tree / "scratch")
    (tree / "scratch").mkdir(exist_ok=True)
    tempfile.tempdir = None
    sink = os.open(tree / "last.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


ALWAYS = [
    *("-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"),
    *("-o", "addopts=--import-mode=importlib", "--timeout", "100", "--basetemp", "scratch/pytest"),
]
FIRST_TESTS = 6  # most mutants fall at once; the others meet every test that runs their line


def mapped(tree: Path, floor: str, tests: Sequence[str]) -> tuple[dict[str, dict[int, list[str]]], dict[str, float]]:
    """Which tests run which line of the floor, and how long each takes."""

    def work() -> int:
        import pytest

        entered(tree)
        cover = coverage.Coverage(str(tree / "lines"), source=[str(tree / "src" / "assay" / floor)], config_file=False)
        timing = Timing(cover)
        cover.start()
        code = pytest.main([*ALWAYS, *tests], plugins=[timing])
        cover.stop()
        cover.save()
        (tree / "seconds.json").write_text(json.dumps([timing.seconds, timing.failed]))
        return int(code)

    code = forked(work, 1800)
    if not (tree / "seconds.json").exists():
        sys.exit(f"the unchanged tests could not be run: {code}\n{(tree / 'last.txt').read_text()[-3000:]}")
    seconds, failed = json.loads((tree / "seconds.json").read_text())
    print(
        f"{len(seconds)} tests, {sum(seconds.values()):.0f} s; failing without any mutant: {failed or 'none'}",
        flush=True,
    )
    data = coverage.CoverageData(str(tree / "lines"))
    data.read()
    found: dict[str, dict[int, list[str]]] = {}
    for file in data.measured_files():
        lines = data.contexts_by_lineno(file)
        found[Path(file).name] = {
            line: sorted({one for one in names if one} - set(failed), key=lambda n: seconds.get(n, 9))
            for line, names in lines.items()
        }
    return found, seconds


def judged(tree: Path, path: Path, mutant: Mutant, tests: Sequence[str]) -> str:
    """The first test that fails with the mutant in place; empty when none does."""
    target = tree / path
    kept, times = target.read_text(encoding="utf-8"), target.stat()
    target.write_text(mutant.source, encoding="utf-8")
    try:
        return _failing(tree, tests[:FIRST_TESTS]) or (
            _failing(tree, tests[FIRST_TESTS:]) if tests[FIRST_TESTS:] else ""
        )
    finally:
        target.write_text(kept, encoding="utf-8")
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))  # its compiled file counts again
        shutil.rmtree(tree / "scratch", ignore_errors=True)


def _failing(tree: Path, tests: Sequence[str]) -> str:
    def work() -> int:
        import pytest

        entered(tree)
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        timing = Timing()
        code = pytest.main([*ALWAYS, "-x", *tests], plugins=[timing])
        (tree / "failed.json").write_text(json.dumps(timing.failed))
        return int(code)

    (tree / "failed.json").unlink(missing_ok=True)
    code = forked(work, LONGEST_S)
    if code == 0:
        return ""
    failed = json.loads((tree / "failed.json").read_text()) if (tree / "failed.json").exists() else []
    return failed[0] if failed else f"(exit {code})"


def claims() -> list[str]:
    """The quick claim tests."""
    return [
        str(one.relative_to(ROOT))
        for one in sorted((ROOT / "tests" / "claims").glob("test_*.py"))
        if not one.name.startswith(CLAIMS_LEFT_OUT)
    ]


def work_list(floor: str, only: Sequence[str], survivors: Path | None) -> Iterator[tuple[Path, Mutant]]:
    """Every mutant of the floor, or those that survived another run."""
    wanted: set[tuple[str, str, str]] | None = None
    if survivors is not None:
        outcomes = [Outcome(**json.loads(line)) for line in survivors.read_text().splitlines()]
        wanted = {(one.module, one.kind, one.before) for one in outcomes if not one.killed}
    for path in sorted((ROOT / "src" / "assay" / floor).glob("*.py")):
        if not only or path.stem in only:
            for mutant in mutants(path.read_text(encoding="utf-8")):
                if wanted is None or (path.stem, mutant.kind, mutant.before) in wanted:
                    yield path.relative_to(ROOT), mutant


def main() -> int:
    """Print what survived."""
    parser = argparse.ArgumentParser()
    parser.add_argument("floor", choices=sorted(TESTS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--claims", action="store_true", help="with the claims too, which takes long")
    parser.add_argument("--survivors", type=Path, help="only what survived in this file, which --out of a run wrote")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "mutation.json")
    chosen = parser.parse_args()
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    tests = [*TESTS[chosen.floor], *(claims() if chosen.claims else ())]
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        trees = []
        for number in range(chosen.jobs):
            (Path(scratch) / str(number)).mkdir()
            trees.append(copied(Path(scratch) / str(number)))
        lines, _ = mapped(trees[0], chosen.floor, tests)
        only = chosen.only.split(",") if chosen.only else []
        outcomes = _all(trees, lines, list(work_list(chosen.floor, only, chosen.survivors)), chosen.out)
    survivors = [one for one in outcomes if not one.killed]
    print(f"\n{len(outcomes)} mutants, {len(outcomes) - len(survivors)} killed, {len(survivors)} survive")
    for one in survivors:
        print(f"  {one.module}:{one.line} {one.kind}: {one.before[:150]}")
    return 0


def _all(
    trees: Sequence[Path],
    lines: Mapping[str, Mapping[int, Sequence[str]]],
    todo: Sequence[tuple[Path, Mutant]],
    out: Path,
) -> list[Outcome]:
    out.unlink(missing_ok=True)
    free: Queue[Path] = Queue()
    for tree in trees:
        free.put(tree)

    def one(job: tuple[Path, Mutant]) -> Outcome:
        path, mutant = job
        covered = lines.get(path.name, {})
        span = range(mutant.line, mutant.end + 1)
        tests = list(dict.fromkeys(name for line in span for name in covered.get(line, ())))
        tree, began = free.get(), time.monotonic()
        try:
            killed = judged(tree, path, mutant, tests) if tests else ""
        finally:
            free.put(tree)
        found = Outcome(path.stem, mutant.kind, mutant.line, mutant.before, killed, time.monotonic() - began)
        with out.open("a") as lines_so_far:  # a run that is stopped has not run for nothing
            lines_so_far.write(json.dumps(asdict(found)) + "\n")
        if not killed:
            print(
                f"SURVIVES {path.stem}:{mutant.line} {mutant.kind}: {mutant.before[:120]}"
                f"{'' if tests else ' (no test runs it)'}",
                flush=True,
            )
        return found

    with ThreadPoolExecutor(len(trees)) as pool:
        return list(pool.map(one, todo))


if __name__ == "__main__":
    sys.exit(main())
