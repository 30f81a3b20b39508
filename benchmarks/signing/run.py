"""Signing and verifying beside the reference implementation, in one run, as ratios.

Both commands are started as whole processes in turn, so that a change of the machine's speed meets both alike. What is
printed is the median of the pairwise ratios: 2.0 means that the peer took twice as long.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[2]
ASSAY = HERE / ".venv" / "bin" / "assay"
PEER = HERE / ".venv-interop" / "bin" / "model_signing"
RUNS = 5
MEGABYTE = 2**20


def seconds(command: Sequence[str | Path]) -> float:
    """Wall time of one run of a command that must succeed."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def compare(ours: Sequence[str | Path], theirs: Sequence[str | Path]) -> tuple[float, float, float]:
    """Median seconds of ours and of theirs, and the median ratio theirs / ours, over alternating runs."""
    seconds(ours)
    seconds(theirs)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(RUNS)]
    mine, other = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(other), statistics.median(b / a for a, b in pairs)


def make(folder: Path, *, files: int, size: int) -> Path:
    """A folder of files of random bytes."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(files):
        (folder / f"part-{number:05d}.bin").write_bytes(draw.bytes(size))
    return folder


def main() -> int:
    """Print one row per case."""
    if not PEER.exists():
        print(f"the peer is not there: make {PEER.parent.parent.name}/.ready sets it up")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        key, public = root / "key.pem", root / "key.pub"
        subprocess.run([ASSAY, "keys", "new", key, "--plain"], check=True, capture_output=True, cwd=root)
        cases = {
            "1 file of 256 MB": make(root / "large", files=1, size=256 * MEGABYTE),
            "16 files of 16 MB": make(root / "middle", files=16, size=16 * MEGABYTE),
            "2,000 files of 20 KB": make(root / "small", files=2000, size=20_000),
        }
        print(f"{'case':24} {'verb':7} {'assay s':>8} {'model_signing s':>16} {'ratio':>6}")
        for name, folder in cases.items():
            ours, theirs = root / "ours.sig", root / "theirs.sig"
            sign = (
                [ASSAY, "sign", folder, "--key", key, "--signature", ours],
                [PEER, "sign", "key", folder, "--private_key", key, "--signature", theirs],
            )
            verify = (
                [ASSAY, "verify", folder, "--public-key", public, "--signature", ours],
                [PEER, "verify", "key", folder, "--public_key", public, "--signature", theirs],
            )
            for verb, pair in (("sign", sign), ("verify", verify)):
                mine, other, ratio = compare(*pair)
                print(f"{name:24} {verb:7} {mine:8.2f} {other:16.2f} {ratio:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
