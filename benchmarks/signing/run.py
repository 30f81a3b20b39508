"""Signing, verifying and loading beside the reference implementation, in one run, as ratios; and the footprint.

Two commands are started as whole processes in turn, so that a change of the machine's speed meets both alike. What
counts is the median of the pairwise ratios. Prints the table and writes it to RESULTS.md; ``--quick`` uses small
models, for a look whether it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
ASSAY, PYTHON, UV = BIN / "assay", BIN / "python", BIN / "uv"
PEER = ROOT / ".venv-interop" / "bin" / "model_signing"
INSIDE = Path(__file__).with_name("inside.py")
RESULTS = Path(__file__).with_name("RESULTS.md")
MB = 1_000_000
# Bytecode is kept, as in an installation: compiling the same modules at each start would be most of a short run.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    tensors: int
    tensor_bytes: int
    files: int
    file_bytes: int
    runs: int


FULL = Sizes(tensors=32, tensor_bytes=64 * 2**20, files=5000, file_bytes=20_000, runs=7)
QUICK = Sizes(tensors=4, tensor_bytes=4 * 2**20, files=200, file_bytes=20_000, runs=2)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    beside: str
    measured: str
    goal: str
    met: bool


@dataclass(frozen=True)
class Ran:
    """One process: seconds of wall time, largest resident memory in bytes, what it printed."""

    seconds: float
    peak: int
    out: str


def run(command: Command) -> Ran:
    """Start a command that must succeed."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=out, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = status
        out.seek(0)
        said = out.read()
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed: {said}")
    return Ran(seconds, usage.ru_maxrss * 1024, said)


def inside(step: str, *paths: Path) -> float:
    """Seconds of one step without the start of its process."""
    return float(run([PYTHON, INSIDE, step, *paths]).out.split("\t")[0])


@dataclass(frozen=True)
class Compared:
    """Medians of two commands in turn."""

    ours: float
    theirs: float
    ratio: float

    @property
    def times(self) -> str:
        """The ratio as text."""
        return f"{self.ratio:.2f} x as fast"


def in_turn(ours: Command, theirs: Command, runs: int) -> Compared:
    """Run both in turn after one uncounted run each; the ratio is how many times as long theirs takes."""
    run(ours)
    run(theirs)
    pairs: list[tuple[float, float]] = []
    for number in range(runs):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        found = {id(command): run(command).seconds for command in order}
        pairs.append((found[id(ours)], found[id(theirs)]))
    mine, other = zip(*pairs, strict=True)
    return Compared(statistics.median(mine), statistics.median(other), statistics.median(b / a for a, b in pairs))


def make_tensors(path: Path, sizes: Sizes) -> Path:
    """A safetensors file of random weights."""
    header: dict[str, object] = {}
    for number in range(sizes.tensors):
        start = number * sizes.tensor_bytes
        header[f"layer.{number}.weight"] = {
            "dtype": "F32",
            "shape": [sizes.tensor_bytes // 4096, 1024],
            "data_offsets": [start, start + sizes.tensor_bytes],
        }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(sizes.tensors):
            file.write(os.urandom(sizes.tensor_bytes))
    return path


def make_files(folder: Path, sizes: Sizes) -> Path:
    """A folder of small files of random bytes."""
    folder.mkdir()
    for number in range(sizes.files):
        (folder / f"part-{number:05d}.dat").write_bytes(os.urandom(sizes.file_bytes))
    return folder


class Bench:
    """The cases over one set of models.

    Args:
        folder: Where they are made.
        sizes: How large.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._sizes = sizes
        self._folder = folder
        self._key, self._public = folder / "key.pem", folder / "key.pub"
        run([ASSAY, "keys", "new", self._key, "--plain"])
        self._large = folder / "large"
        self._large.mkdir()
        self._file = make_tensors(self._large / "model.safetensors", sizes)
        self._many = make_files(folder / "many", sizes)

    def rows(self) -> Iterator[Row]:
        """Every row, measured when it is asked for."""
        yield from self._beside_the_peer(self._large, "one safetensors file", verify_goal=4.0)
        yield from self._beside_the_peer(self._many, f"{self._sizes.files:,} small files", verify_goal=3.0)
        yield from self._inside()
        yield from self._memory()
        yield from self._start()
        yield from _installed(self._folder)

    def _beside_the_peer(self, model: Path, name: str, *, verify_goal: float) -> Iterator[Row]:
        ours, theirs = self._folder / f"{model.name}.ours", self._folder / f"{model.name}.theirs"
        runs = self._sizes.runs
        sign = in_turn(
            [ASSAY, "sign", model, "--key", self._key, "--signature", ours],
            [PEER, "sign", "key", model, "--private_key", self._key, "--signature", theirs],
            runs,
        )
        yield _row(f"sign {name}", sign, 1.0)
        peer: Command = [PEER, "verify", "key", model, "--public_key", self._public, "--signature", theirs]
        yield _row(f"verify {name}, our signature", in_turn(self._verify(model, ours), peer, runs), verify_goal)
        if model == self._large:
            yield _row(f"verify {name}, their signature", in_turn(self._verify(model, theirs), peer, runs), 0.95)
            both = in_turn([*self._verify(model, ours), "--thorough"], peer, runs)
            yield _row(f"verify {name}, our signature, both digests", both, None)

    def _verify(self, model: Path, signature: Path) -> Command:
        return [ASSAY, "verify", model, "--public-key", self._public, "--signature", signature]

    def _inside(self) -> Iterator[Row]:
        """Steps inside a process: a round of all of them, several times."""
        signature = self._file.with_name(f"{self._file.name}.sig")
        run([ASSAY, "sign", self._file, "--key", self._key, "--signature", signature])
        rounds: list[dict[str, float]] = []
        for _ in range(self._sizes.runs):
            seconds = {step: inside(step, self._file) for step in ("digests", "raw", "load")}
            seconds |= {step: inside(step, self._file, self._public) for step in ("verified", "verified-once")}
            rounds.append(seconds)
        signature.unlink()

        def row(what: str, step: str, *others: str, goal: float) -> Row:
            longer = [max(one[other] for other in others) for one in rounds]
            ratio = statistics.median(one[step] / long for one, long in zip(rounds, longer, strict=True))
            mine = statistics.median(one[step] for one in rounds)
            beside = f"{statistics.median(longer):.2f} s"
            return Row(what, f"{mine:.2f} s", beside, f"{ratio:.2f} x as long", f"at most {goal} x", ratio <= goal)

        yield row("BLAKE3 digests of the manifest; BLAKE3 alone", "digests", "raw", goal=1.1)
        yield row("verify and load; hash or load, the longer", "verified-once", "raw", "load", goal=1.25)
        yield row("verify, then load; hash and load, the longer", "verified", "raw", "load", goal=2.5)

    def _memory(self) -> Iterator[Row]:
        ours = self._folder / "large.ours"
        for words in ([], ["--thorough"]):
            peak = run([*self._verify(self._large, ours), *words]).peak / MB
            what = " ".join(["largest memory of assay verify", *words])
            yield Row(what, f"{peak:.0f} MB", "", "", "at most 300 MB", peak <= 300)
        signature = self._file.with_name(f"{self._file.name}.sig")
        run([ASSAY, "sign", self._file, "--key", self._key, "--signature", signature])
        size = self._file.stat().st_size / MB
        peak = run([PYTHON, INSIDE, "verified-once", self._file, self._public]).peak / MB
        signature.unlink()
        yield Row(
            "largest memory of load()",
            f"{peak:.0f} MB",
            f"model {size:.0f} MB",
            f"{peak - size:+.0f} MB",
            "model + 200 MB",
            peak <= size + 200,
        )

    def _start(self) -> Iterator[Row]:
        model = self._folder / "small.txt"
        model.write_text("a small model")
        run([ASSAY, "sign", model, "--key", self._key])
        cases: list[tuple[str, Command, float]] = [
            ("import assay", [PYTHON, "-c", "import assay"], 0.15),
            ("assay verify --help", [ASSAY, "verify", "--help"], 0.3),
            ("verify a small model", [ASSAY, "verify", model, "--public-key", self._public], 0.45),
        ]
        for what, command, goal in cases:
            run(command)
            seconds = statistics.median(run(command).seconds for _ in range(2 * self._sizes.runs))
            yield Row(what, f"{seconds:.3f} s", "", "", f"at most {goal} s", seconds <= goal)


def _row(what: str, found: Compared, goal: float | None) -> Row:
    wanted = "" if goal is None else f"at least {goal} x"
    met = goal is None or found.ratio >= goal
    return Row(what, f"{found.ours:.2f} s", f"{found.theirs:.2f} s", found.times, wanted, met)


def _installed(scratch: Path) -> Iterator[Row]:
    """The core alone, in an environment of its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    count = len(project["dependencies"])
    yield Row("direct dependencies of the core", str(count), "", "", "at most 10", count <= 10)
    place = scratch / "environment"
    run([UV, "venv", "-q", "--python", PYTHON, place])
    run([UV, "pip", "install", "-q", "--compile-bytecode", "--python", place / "bin" / "python", ROOT])
    size = sum(path.lstat().st_size for path in (place / "lib").rglob("*") if path.is_file()) / MB
    yield Row("installed core, compiled", f"{size:.0f} MB", "", "", "at most 80 MB", size <= 80)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | assay | beside it | | goal | |", "| --- | ---: | ---: | ---: | --- | --- |"]
    lines += [
        f"| {row.what} | {row.ours} | {row.beside} | {row.measured} | {row.goal} | {_verdict(row)} |" for row in rows
    ]
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    return "" if not row.goal else "yes" if row.met else "**no**"


def page(rows: Sequence[Row], sizes: Sizes, load: float) -> str:
    """RESULTS.md."""
    size = sizes.tensors * sizes.tensor_bytes / 1e9
    return (
        "# Signing and verifying beside model_signing 1.1.1\n\n"
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `benchmarks/signing/run.py`, in one run: medians of {sizes.runs} "
        "runs in turn, whole processes with their start where it does not say otherwise, files in the page cache, "
        f"{len(os.sched_getaffinity(0))} cores, load average {load:.1f} when it began (above 0.5 others were at work "
        "too: then read the ratios, and those of what uses several cores are lower than on a machine at rest).\n\n"
        f"One safetensors file is {size:.1f} GB of {sizes.tensors} tensors; small files are "
        f"{sizes.files:,} of {sizes.file_bytes / 1000:.0f} KB.\n\n{table(rows)}\n"
    )


def main() -> int:
    """Print one row per case, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small models; writes no page")
    quick = parser.parse_args().quick
    if not PEER.exists():
        print(f"the peer is not there: make {PEER.parent.parent.name}/.ready sets it up")
        return 1
    sizes, load = (QUICK if quick else FULL), os.getloadavg()[0]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for row in Bench(Path(scratch), sizes).rows():
            rows.append(row)
            print(f"{row.what}: {row.ours}, {row.beside} {row.measured} ({row.goal}) {_verdict(row)}", flush=True)
    print(table(rows))
    if not quick:
        RESULTS.write_text(page(rows, sizes, load), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
