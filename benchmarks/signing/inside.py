"""One step inside one process, timed without the imports before it: ``inside.py STEP MODEL [KEY]`` prints seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from assay.artifacts.measure import measure
from assay.keys.pem import read_public
from assay.signing.signers import SignedByKey
from assay.signing.verified import VerifiedModel
from assay.signing.verify import verify

if TYPE_CHECKING:
    import numpy as np


def raw(model: Path) -> object:
    """BLAKE3 of the file by the library alone, on as many threads as it likes, mapped as a whole."""
    return blake3(max_threads=blake3.AUTO).update_mmap(model).hexdigest()


def digests(model: Path) -> object:
    """The BLAKE3 digests of the manifest."""
    return measure(model, wanted="blake3").files[0].blake3


def load(model: Path) -> object:
    """Every tensor, unchecked."""
    import safetensors.numpy  # it starts threads, which the steps without it must not have

    return _touched(safetensors.numpy.load_file(model))


def verified(model: Path, key: Path, *, defer: bool) -> object:
    """Every tensor, after the signature, the files and each tensor were checked."""
    found = _verify(model, key, defer=defer)
    return _touched(found.load("safetensors").arrays())


def _verify(model: Path, key: Path, *, defer: bool) -> VerifiedModel:
    return verify(model, signers=SignedByKey(read_public(key)), now=datetime.now(UTC), defer=defer)


def _touched(tensors: dict[str, np.ndarray]) -> object:
    """What a first use reads: nothing may be left for later."""
    return sum(int(one.reshape(-1).view("u1")[::4096].max()) for one in tensors.values())


def main() -> None:
    """Time one step."""
    step, model = sys.argv[1], Path(sys.argv[2])
    key = Path(sys.argv[3]) if len(sys.argv) > 3 else Path()
    if step not in ("raw", "digests"):
        import safetensors.numpy  # noqa: F401  what is imported on first use is no part of the step

        import assay.frameworks.safetensors  # noqa: F401
    measure(Path(__file__))
    steps: dict[str, Callable[[], object]] = {
        "raw": lambda: raw(model),
        "digests": lambda: digests(model),
        "load": lambda: load(model),
        "verified": lambda: verified(model, key, defer=False),
        "verified-once": lambda: verified(model, key, defer=True),
    }
    began = time.perf_counter()
    result = steps[step]()
    print(time.perf_counter() - began, result, sep="\t")


if __name__ == "__main__":
    main()
