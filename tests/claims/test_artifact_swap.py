"""Promise: a file swapped between verification and load, or while it is read, is never loaded."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from assay.artifacts.compare import compare
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure
from assay.artifacts.snapshot import Snapshot
from assay.errors import ArtifactError
from assay.frameworks.safetensors import SafetensorsFiles

GOOD = save({"w": np.zeros(4000, dtype="f4")})
EVIL = save({"w": np.full(4000, 1e9, dtype="f4")})


def load(model: Path, signed: Manifest) -> float | None:
    """What is loaded: the largest weight, or None when it was refused."""
    try:
        with Snapshot.of(model) as copy:
            if compare(signed, copy.manifest()):
                return None
            return float(SafetensorsFiles().open(copy)["w"].max())
    except ArtifactError:
        return None


@contextmanager
def swapper(model: Path, seed: int) -> Iterator[None]:
    """Swaps the file as fast as it can: in place, by renaming, by a link, by cutting it."""
    stop, path, chance = threading.Event(), model / "w.safetensors", random.Random(seed)  # noqa: S311  no secret
    (model.parent / "evil").write_bytes(EVIL)

    def swap() -> None:
        spare = model.parent / "spare"
        while not stop.is_set():
            way = chance.randrange(4)
            if way == 0:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
                os.pwrite(descriptor, chance.choice((GOOD, EVIL)), 0)
                os.close(descriptor)
            elif way == 1:
                spare.write_bytes(chance.choice((GOOD, EVIL)))
                spare.replace(path)
            elif way == 2:
                spare.symlink_to(model.parent / "evil")
                spare.replace(path)
                path.unlink()
                path.write_bytes(GOOD)
            else:
                os.truncate(path, chance.randrange(len(GOOD)))
                path.write_bytes(GOOD)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    root.mkdir()
    (root / "w.safetensors").write_bytes(GOOD)
    return root


def test_a_swap_after_the_copy_was_verified_is_not_loaded(model: Path) -> None:
    signed = measure(model)
    with Snapshot.of(model) as copy:
        assert compare(signed, copy.manifest()) == ()
        (model / "w.safetensors").write_bytes(EVIL)
        assert SafetensorsFiles().open(copy)["w"].max() == 0


def test_in_a_thousand_races_only_verified_bytes_are_loaded(model: Path) -> None:
    signed = measure(model)
    with swapper(model, seed=7):
        results = [load(model, signed) for _ in range(1000)]
    assert set(results) <= {0.0, None}
    assert load(model, signed) is not None or (model / "w.safetensors").read_bytes() != GOOD
    assert 0.0 in results  # the race is real: some rounds met the good bytes,
    assert None in results  # and some the others


def test_a_folder_swapped_for_a_link_while_reading_is_not_followed(model: Path) -> None:
    (model / "sub").mkdir()
    (model / "sub" / "a").write_bytes(b"signed")
    signed = measure(model)
    (model / "sub").rename(model.parent / "sub")
    (model / "sub").symlink_to(model.parent / "sub")
    with Snapshot.of(model) as copy:
        assert "sub/a" not in copy.names()
        assert {finding.subject for finding in compare(signed, copy.manifest())} == {"sub", "sub/a"}
