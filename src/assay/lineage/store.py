"""The sidecar file of a fingerprint: the digests of single rows, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from assay.errors import StorageError, TableError
from assay.lineage.fingerprint import DatasetFingerprint
from assay.lineage.rows import DIGEST_BYTES


def write(folder: Path, model: str, fingerprint: DatasetFingerprint) -> Path:
    """Write ``<folder>/<model>.rows.bin`` and return where it is.

    Raises:
        StorageError: The folder cannot be written to.
        TableError: The fingerprint was made without its row digests.
    """
    if fingerprint.row_digests is None:
        raise TableError("this fingerprint has no digests of its rows; make it with its sidecar")
    target = path_of(folder, model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{target.name}.", delete=False) as stream:
            stream.write(fingerprint.row_digests)
            stream.write(fingerprint.feature_digests or b"")
            stream.flush()
            os.fsync(stream.fileno())
        Path(stream.name).replace(target)
    except OSError as err:
        raise StorageError(f"{target}: the row digests cannot be written: {err.strerror}") from err
    return target


def read(folder: Path, model: str, fingerprint: DatasetFingerprint) -> DatasetFingerprint:
    """The fingerprint with the digests of its rows from ``<folder>/<model>.rows.bin``.

    Raises:
        StorageError: The file is missing or cannot be read.
        TableError: It holds other digests than those that the fingerprint was made with.
    """
    source = path_of(folder, model)
    try:
        # One byte more than there should be: a longer file is another file, however long it is.
        wanted = fingerprint.rows * DIGEST_BYTES * (1 if fingerprint.label is None else 2)
        with source.open("rb") as stream:
            found = stream.read(wanted + 1)
    except OSError as err:
        raise StorageError(f"{source}: the row digests cannot be read: {err.strerror}") from err
    cut = fingerprint.rows * DIGEST_BYTES
    return fingerprint.with_sidecar(found[:cut], None if fingerprint.label is None else found[cut:])


def path_of(folder: Path, model: str) -> Path:
    """Where a model's row digests are kept.

    Raises:
        ValueError: The name is no plain file name.
    """
    if not model or Path(model).name != model or "\0" in model:
        raise ValueError(f"{model!r} cannot be part of a file's name")
    return folder / f"{model}.rows.bin"
