"""The scan beside picklescan: what each finds, what each alarms for falsely, how long each takes.

The files are those of the tests (`tests/scan_benign.py`, `tests/scan_malicious.py`), and published models
from pinned wheels where the package registry can be reached; what cannot be fetched is said and left out.
Prints the tables and writes them to RESULTS.md.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests import scan_benign, scan_malicious  # noqa: E402

from assay.artifacts.scan.opinion import ask  # noqa: E402 - the tests' files lie beside the package
from assay.artifacts.scan.scan import put_together, scan  # noqa: E402
from assay.demo.data import PublicFile, cache_folder, fetch  # noqa: E402
from assay.errors import DownloadError  # noqa: E402
from assay.findings import Severity  # noqa: E402
from assay.formats.base import ViewContent  # noqa: E402

# package, digest of its wheel, licence, then path and digest of each file in it.
PUBLISHED: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "alt-profanity-check==1.6.1",
        "3da55fac9d674442c8d1a5aece1d96e77290c71da8fe54f99ff34fe490181cca",
        "MIT",
        (
            (
                "profanity_check/data/model.joblib",
                "e7560dfe6b3c4e0128551a5faa15f2f70cb6d122c87d217aa20da7a015c48bfb",
            ),
            (
                "profanity_check/data/vectorizer.joblib",
                "9056651b85d2df9852216461f87ea90e22b54f9fbdd588ffeebb849f08ed240b",
            ),
        ),
    ),
    (
        "alt-profanity-check==1.9.1",
        "cccb8ce072306bac21188670777a25cfb1de978aa8c7a93c8e4a43c03b3945c3",
        "MIT",
        (
            (
                "profanity_check/data/model.joblib",
                "aeafc04849d4d93db4721cf30a86ebf22085595294b8a07d51918e7fa98f538b",
            ),
            (
                "profanity_check/data/vectorizer.joblib",
                "19c5200dc6a41f026e0558e2f164f5fe8d8f58e502b46b37e4385037fcfa4831",
            ),
        ),
    ),
    (
        "basic-pitch==0.4.0",
        "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
        "Apache-2.0",
        (
            (
                "basic_pitch/saved_models/icassp_2022/nmp/saved_model.pb",
                "eaa25c91c431c91100c416a2c018663f4c635f28fa19529c4ff5e14c18aa29c9",
            ),
            (
                "basic_pitch/saved_models/icassp_2022/nmp.mlpackage/Data/com.apple.CoreML/model.mlmodel",
                "af7bf7d49bc167e0bf0c30aa2ca6b432c3e10df048d2dd4173ff3a738c020858",
            ),
            (
                "basic_pitch/saved_models/icassp_2022/nmp.onnx",
                "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
            ),
            (
                "basic_pitch/saved_models/icassp_2022/nmp.tflite",
                "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676",
            ),
        ),
    ),
    (
        "magika==0.5.1",
        "a4d1f64f71460f335841c13c3d16cfc2cb21e839c1898a1ae9bd5adc8d66cb2b",
        "Apache-2.0",
        (
            (
                "magika/models/standard_v1/model.onnx",
                "71892ac28ffe028b9512561584970417f8cee1f2fbb7624634f4032cb92a0a5a",
            ),
        ),
    ),
    (
        "magika==0.6.3",
        "3d9661eedbdf445ac9567e97e7ceefb93545d77a6a32858139ea966b5806fb64",
        "Apache-2.0",
        (
            (
                "magika/models/standard_v3_3/model.onnx",
                "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
            ),
        ),
    ),
    (
        "silero-vad==5.1.2",
        "93b41953d7774b165407fda6b533c119c5803864e367d5034dc626c82cfdf661",
        "MIT",
        (
            (
                "silero_vad/data/silero_vad.jit",
                "85c48e1f0ecb604e5d2a268f3ccfb912d4f7e935acdc86af5a3fc5b0aea7b29a",
            ),
            (
                "silero_vad/data/silero_vad.onnx",
                "2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f",
            ),
            (
                "silero_vad/data/silero_vad_half.onnx",
                "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769",
            ),
        ),
    ),
    (
        "silero-vad==6.2.3",
        "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        "MIT",
        (
            (
                "silero_vad/data/silero_vad.jit",
                "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720",
            ),
            (
                "silero_vad/data/silero_vad.onnx",
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            ),
            (
                "silero_vad/data/silero_vad_16k.safetensors",
                "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
            ),
            (
                "silero_vad/data/silero_vad_16k_op15.onnx",
                "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
            ),
            (
                "silero_vad/data/silero_vad_16k_sequence.onnx",
                "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
            ),
            (
                "silero_vad/data/silero_vad_half.onnx",
                "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769",
            ),
            (
                "silero_vad/data/silero_vad_op18_ifless.onnx",
                "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
            ),
            (
                "silero_vad/data/silero_vad_openvino_16k.onnx",
                "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
            ),
        ),
    ),
)


@dataclass(frozen=True)
class Row:
    """How both did on some files."""

    group: str
    files: int
    ours: int
    theirs: int
    failed: int
    ours_ms: tuple[float, ...]
    theirs_ms: tuple[float, ...]


def published() -> Iterator[Path]:
    """The published models that can be had here."""
    for package, wheel, licence, members in PUBLISHED:
        for member, digest in members:
            file = PublicFile(package, wheel, member, digest, licence, f"the model of {package}")
            try:
                yield fetch(file, cache=cache_folder() / package)
            except DownloadError as err:
                print(f"left out: {err.message}")


def both(group: str, bodies: dict[str, bytes]) -> Row:
    """How many of these files each scanner calls bad."""
    ours = theirs = failed = 0
    ours_ms, theirs_ms = [], []
    for name, body in bodies.items():
        content = ViewContent(memoryview(body))
        begin = time.perf_counter()
        found = put_together("model", [(name, content)])
        middle = time.perf_counter()
        opinion = ask(name, content)
        theirs_ms.append(1000 * (time.perf_counter() - middle))
        ours_ms.append(1000 * (middle - begin))
        ours += any(one.severity.rank >= Severity.ERROR.rank for one in found.findings)
        theirs += bool(opinion.dangerous)
        failed += bool(opinion.failed) and not opinion.dangerous
    return Row(group, len(bodies), ours, theirs, failed, tuple(ours_ms), tuple(theirs_ms))


def rows(folder: Path) -> Iterator[Row]:
    """Every group of files."""
    models = list(published())
    yield both("benign: published models", {f"{one.parent.name}/{one.name}": one.read_bytes() for one in models})
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield both(f"benign: {place.name}", {one.name: one.read_bytes() for one in sorted(place.iterdir())})
    attacks = scan_malicious.every()
    for family in scan_malicious.FAMILIES:
        mine = {name: body for name, body in attacks.items() if name.startswith(f"{family.__name__}/")}
        yield both(f"malicious: {family.__name__}", mine)


def table(found: list[Row]) -> str:
    """The comparison as Markdown."""
    titles = ("files", "count", "assay flags", "picklescan flags", "picklescan errors, no finding")
    titles += ("assay median ms", "slowest", "picklescan median ms")
    lines = [f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 1)}"]
    lines += [
        f"| {row.group} | {row.files} | {row.ours} | {row.theirs} | {row.failed} "
        f"| {statistics.median(row.ours_ms):.2f} | {max(row.ours_ms):.1f} | {statistics.median(row.theirs_ms):.2f} |"
        for row in found
        if row.files
    ]
    return "\n".join(lines)


def large(folder: Path) -> str:
    """How long files take whose size is all numbers."""
    import joblib
    import numpy as np
    import torch

    numbers = np.random.default_rng(0).random(50_000_000)  # 400 MB
    lines = ["| one file of 400 MB | seconds |", "| --- | ---: |"]
    tensor = torch.from_numpy(numbers)
    for name, write in (
        ("torch zip", lambda place: torch.save({"w": tensor}, place)),
        ("torch legacy", lambda place: torch.save({"w": tensor}, place, _use_new_zipfile_serialization=False)),
        ("joblib", lambda place: joblib.dump(numbers, place)),
        ("unknown, random bytes", lambda place: place.write_bytes(numbers.tobytes())),
    ):
        place = folder / "large.bin"
        write(place)
        begin = time.perf_counter()
        scan(place)
        lines.append(f"| {name} | {time.perf_counter() - begin:.3f} |")
        place.unlink()
    return "\n".join(lines)


def main() -> None:
    """Make the files, scan them with both, write the tables."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "benign"
        scan_benign.write_all(folder)
        found = list(rows(folder))
        sizes = large(Path(scratch))
    benign = [row for row in found if row.group.startswith("benign")]
    attacks = [row for row in found if row.group.startswith("malicious")]
    every = [value for row in found for value in row.ours_ms]
    summary = (
        f"{sum(row.files for row in benign)} benign files, {sum(row.ours for row in benign)} false alarms of assay, "
        f"{sum(row.theirs for row in benign)} of picklescan. {sum(row.files for row in attacks)} malicious files: "
        f"assay misses {sum(row.files - row.ours for row in attacks)}, picklescan misses "
        f"{sum(row.files - row.theirs for row in attacks)} (for {sum(row.failed for row in attacks)} of them it "
        f"reports an error instead). assay: median {statistics.median(every):.2f} ms a file."
    )
    note = (
        "The last family, `others`, is no pickle (Keras, templates, ONNX): picklescan does not claim to see it. "
        "The malicious files were written by us, so the comparison says which tricks are covered, "
        "not how often they occur."
    )
    text = f"# Scan, beside picklescan\n\n{summary}\n\n{note}\n\n{table(found)}\n\n{sizes}\n"
    Path(__file__).with_name("RESULTS.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
