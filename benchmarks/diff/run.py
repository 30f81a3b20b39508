"""How often ``assay diff`` names the right kind of change: a confusion matrix over made cases.

Each case is written as two safetensors files and compared as the command does. ``python
benchmarks/diff/run.py [SEEDS [FIRST]]``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import cases
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from assay.artifacts.diff.diff import Source, diff
from assay.artifacts.diff.reading import Kind

FIRST_SEED = 100  # the thresholds were set while looking at seeds 0 to 2


def write(folder: Path, name: str, weights: cases.State) -> Path:
    """A state as a safetensors file."""
    path = folder / f"{name}.safetensors"
    save_file({key: one.copy() for key, one in weights.items()}, path)
    return path


def typed(folder: Path, seed: int) -> list[tuple[str, str, Path, Path]]:
    """Cases of other element types: conversions, and adapters merged into BF16."""
    found = []
    for kind in cases.NETWORKS:
        old = write(folder, f"{kind}-full", cases.copy(kind, seed))
        for narrow in ("F16", "BF16"):
            new = folder / f"{kind}-{narrow}.safetensors"
            save_tensors(cases.stored(cases.copy(kind, seed), narrow), new)
            found.append(("quantised", f"{kind}: stored as {narrow}", old, new))
        for truth, what, weights in (
            ("low-rank edit", "adapter of rank 2 merged in BF16", cases.low_rank(cases.copy(kind, seed), 2, seed)),
            ("fine-tuned", "trained on in BF16", cases.trained_on(kind, seed, epochs=3, rate=1e-3)),
        ):
            new = folder / f"{kind}-{truth}.safetensors"
            save_tensors(cases.stored(weights, "BF16"), new)
            found.append((truth, f"{kind}: {what}", folder / f"{kind}-BF16.safetensors", new))
    return found


def main() -> int:
    """Print both matrices, the cases that were read otherwise, and the seconds."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    first = int(sys.argv[2]) if len(sys.argv) > 2 else FIRST_SEED
    torch.set_num_threads(1)  # the networks are too small for more
    for title, harder in (("Usual cases", False), ("Hard cases", True)):
        matrix: dict[str, Counter[str]] = defaultdict(Counter)
        missed: Counter[str] = Counter()
        words: Counter[tuple[str, bool]] = Counter()
        spent = 0.0
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for seed in range(first, first + count):
                for one in cases.cases(seed, harder=harder):
                    pairs = [(one.truth, one.what, write(folder, "old", one.old), write(folder, "new", one.new))]
                    spent += judge(pairs, matrix, missed, words)
                if not harder:
                    spent += judge(typed(folder, seed), matrix, missed, words)
        print(f"\n## {title}\n")
        report(matrix, missed, words)
        total = sum(sum(row.values()) for row in matrix.values())
        print(f"\n{total} pairs, seeds {first} to {first + count - 1}, {1000 * spent / total:.0f} ms a comparison")
    return 0


def judge(
    pairs: list[tuple[str, str, Path, Path]],
    matrix: dict[str, Counter[str]],
    missed: Counter[str],
    words: Counter[tuple[str, bool]],
) -> float:
    """Compare each pair and count; returns the seconds it took."""
    began = time.perf_counter()
    for truth, what, old, new in pairs:
        found = diff(Source(old), Source(new)).reading
        matrix[truth][found.kind.value] += 1
        words[found.confidence.value, found.kind.value == truth] += 1
        if found.kind.value != truth:
            missed[f"{truth} ({what}) read as {found.kind.value}, {found.confidence.value}"] += 1
    return time.perf_counter() - began


def report(matrix: dict[str, Counter[str]], missed: Counter[str], words: Counter[tuple[str, bool]]) -> None:
    """The matrix as Markdown, then what was read otherwise."""
    columns = [kind.value for kind in Kind if any(kind.value in row for row in matrix.values())]
    print("| truth \\ read as | " + " | ".join(columns) + " | right |")
    print("| --- |" + " ---: |" * (len(columns) + 1))
    for truth, row in matrix.items():
        right = f"{row[truth] / sum(row.values()):.1%}"
        print(f"| {truth} | " + " | ".join(str(row[column] or "") for column in columns) + f" | {right} |")
    total, right = sum(sum(row.values()) for row in matrix.values()), sum(row[truth] for truth, row in matrix.items())
    print(f"\nright: {right} of {total} ({right / total:.2%})\n")
    for word in ("certain", "likely", "unsure"):
        good, bad = words[word, True], words[word, False]
        if good + bad:
            print(f'- said "{word}": {good} of {good + bad} right')
    print()
    for text, count in missed.most_common(40):
        print(f"- {count}x {text}")


if __name__ == "__main__":
    sys.exit(main())
