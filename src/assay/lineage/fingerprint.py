"""The identity of a table: its files, its rows in order, its rows in any order, its features without the label."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from blake3 import blake3

from assay.errors import TableError
from assay.lineage import files as disk
from assay.lineage.rows import CELL_BYTES, DIGEST_BYTES, Bytes2D, cells, digests, family, missing

KIND = "assay.dataset-fingerprint/v1"
_BATCH_BYTES = 2**25  # of canonical rows in memory at a time
_NAMED = 20  # rows without a label that an error names


@dataclass(frozen=True, slots=True)
class DatasetFingerprint:
    """Digests of a table, and, when the sidecar was wanted, of each of its rows.

    Attributes:
        files: SHA-256 of each file, hex, by POSIX name, in the order the rows were read.
        file_rows: How many rows each file has.
        rows: How many there are in all.
        columns: Name and family of each column, sorted by name.
        ordered_root: BLAKE3 of the names of the columns and of the row digests in order, hex. Equal for copies
            that differ in file format, encoding, partition and order of columns.
        multiset_root: The same of the row digests sorted: equal for a shuffled copy too.
        features_root: Like ``multiset_root``, without the label column; empty when there is no label.
        label: The label column, if there is one.
        sidecar: BLAKE3 of the two below, hex; empty when they were not wanted.
        row_digests: 16 bytes a row, in the order of the files; None when not wanted or not at hand.
        feature_digests: The same without the label column; None also when there is no label.
    """

    files: Mapping[str, str]
    file_rows: Mapping[str, int]
    rows: int
    columns: tuple[tuple[str, str], ...]
    ordered_root: str
    multiset_root: str
    features_root: str
    label: str | None
    sidecar: str = ""
    row_digests: bytes | None = None
    feature_digests: bytes | None = None

    def to_json(self) -> dict[str, object]:
        """Everything but the digests of single rows, which live in the sidecar file."""
        return {
            "kind": KIND,
            "files": dict(self.files),
            "file_rows": dict(self.file_rows),
            "rows": self.rows,
            "columns": [list(column) for column in self.columns],
            "ordered_root": self.ordered_root,
            "multiset_root": self.multiset_root,
            "features_root": self.features_root,
            "label": self.label,
            "sidecar": self.sidecar,
        }

    @staticmethod
    def parse(text: str | bytes | Mapping[str, object]) -> DatasetFingerprint:
        """Read what ``to_json`` gave, as an object or as JSON text.

        Raises:
            TableError: It is not a fingerprint.
        """
        try:
            found = json.loads(text) if isinstance(text, str | bytes) else text
            return _checked(cast("Mapping[str, object]", found))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
            raise TableError("this is no fingerprint of a table, or one of a later version; make it anew") from err

    def with_sidecar(self, row_digests: bytes, feature_digests: bytes | None) -> DatasetFingerprint:
        """The same fingerprint with the digests of its rows at hand again.

        Raises:
            TableError: They are not the digests that this fingerprint was made with.
        """
        whole = len(row_digests) == DIGEST_BYTES * self.rows and (feature_digests is None) == (self.label is None)
        if not whole or self.sidecar != _sidecar(row_digests, feature_digests):
            raise TableError("the sidecar is not the one this fingerprint was made with; rows cannot be named from it")
        return replace(self, row_digests=row_digests, feature_digests=feature_digests)


def fingerprint(
    path: Path | str, *, label: str | None, sidecar: bool = True, missing_labels: bool = False
) -> DatasetFingerprint:
    """Fingerprint a table: every byte is read, nothing is taken from sizes, times or samples.

    Args:
        path: A CSV or Parquet file, a folder of them, or a glob pattern.
        label: The column that holds the label, if there is one.
        sidecar: Whether to keep 16 bytes for each row (32 with a label), so that altered rows can be named later.
        missing_labels: Whether a row may be without a label.

    Raises:
        TableError: Nothing is there, it cannot be read, has no rows, lacks the label column, or a label is missing.
    """
    found = disk.find(path)
    before = {name: disk.sha256(each) for name, each in found.paths.items()}
    names = sorted(disk.columns(found))
    if label is not None:
        disk.check_columns(names, [label], found.source)
    read = _read(found, names, label)
    if {name: disk.sha256(each) for name, each in found.paths.items()} != before:
        raise TableError(f"{path}: the files changed while they were read; try again when nothing writes to them")
    if not read.rows:
        raise TableError(f"{path}: the table has no rows")
    if read.unlabelled and not missing_labels:
        shown = ", ".join(map(str, read.unlabelled[:_NAMED])) + (", …" if len(read.unlabelled) > _NAMED else "")
        raise TableError(f"{path}: the label {label!r} is missing in {len(read.unlabelled)} rows: {shown}")
    rows, features = bytes(read.row_digests), bytes(read.feature_digests) if label is not None else None
    others = [name for name in names if name != label]
    columns = tuple((name, "|".join(sorted(read.families[name])) or "empty") for name in names)
    return DatasetFingerprint(
        files=before,
        file_rows=read.file_rows,
        rows=read.rows,
        columns=columns,
        ordered_root=_root("ordered", names, rows),
        multiset_root=_root("multiset", names, _sorted(rows)),
        features_root="" if features is None else _root("multiset", others, _sorted(features)),
        label=label,
        sidecar=_sidecar(rows, features) if sidecar else "",
        row_digests=rows if sidecar else None,
        feature_digests=features if sidecar else None,
    )


class _Read:
    """What one pass over the rows has gathered so far."""

    def __init__(self, names: list[str]) -> None:
        self.families: dict[str, set[str]] = {name: set() for name in names}
        self.file_rows: dict[str, int] = {}
        self.row_digests = bytearray()
        self.feature_digests = bytearray()
        self.unlabelled: list[int] = []

    @property
    def rows(self) -> int:
        return len(self.row_digests) // DIGEST_BYTES


def _read(found: disk.TableFiles, names: list[str], label: str | None) -> _Read:
    read = _Read(names)
    at = CELL_BYTES * names.index(label) if label is not None else 0
    size = max(1, min(2**16, _BATCH_BYTES // (CELL_BYTES * max(1, len(names)))))
    for name, batches in disk.batches(found, size, exact=True):
        start = read.rows
        for batch in batches:
            if not batch.num_rows:
                continue
            for field in batch.schema:
                read.families[field.name] |= {family(field.type)} - {"empty"}
            canonical = cells(batch, names)
            if label is not None:
                one: Bytes2D = canonical[:, at : at + CELL_BYTES]
                read.unlabelled += [read.rows + int(row) for row in missing(one)]
                read.feature_digests += digests(np.delete(canonical, slice(at, at + CELL_BYTES), axis=1))
            read.row_digests += digests(canonical)
        read.file_rows[name] = read.rows - start
    return read


def _sorted(row_digests: bytes) -> bytes:
    halves = np.frombuffer(row_digests, dtype=">u8").reshape(-1, 2)
    return halves[np.lexsort((halves[:, 1], halves[:, 0]))].tobytes()


def _root(view: str, names: list[str], row_digests: bytes) -> str:
    """The names are bound to the rows, and one view can never stand for the other."""
    head = json.dumps([KIND, view, names, len(row_digests) // DIGEST_BYTES], ensure_ascii=False).encode()
    return blake3(len(head).to_bytes(8, "little") + head).update(row_digests).hexdigest()


def _sidecar(row_digests: bytes, feature_digests: bytes | None) -> str:
    head = len(row_digests).to_bytes(8, "little")
    return blake3(head).update(row_digests).update(feature_digests or b"").hexdigest()


def _checked(found: Mapping[str, object]) -> DatasetFingerprint:
    if found["kind"] != KIND:
        raise ValueError
    texts = {name: found[name] for name in ("ordered_root", "multiset_root", "features_root", "sidecar")}
    files, file_rows = cast("Mapping[str, str]", found["files"]), cast("Mapping[str, int]", found["file_rows"])
    named = found["columns"]
    if not isinstance(named, list) or not named or not all(isinstance(pair, list) for pair in named):
        raise ValueError  # an object of two keys would unpack like a pair
    columns = tuple((name, kind) for name, kind in cast("list[list[str]]", named))
    rows, label = found["rows"], found["label"]
    words = [*texts.values(), *files.values(), *(part for column in columns for part in column)]
    sound = (
        all(isinstance(word, str) for word in words)
        and all(type(count) is int and count >= 0 for count in file_rows.values())
        and set(files) == set(file_rows)
        and type(rows) is int
        and rows == sum(file_rows.values()) > 0
        and (label is None or label in dict(columns))
    )
    if not sound:
        raise ValueError
    return DatasetFingerprint(
        files={name: files[name] for name in sorted(files)},
        file_rows={name: file_rows[name] for name in sorted(files)},
        rows=cast("int", rows),
        columns=columns,
        label=cast("str | None", label),
        **cast("dict[str, str]", texts),  # type: ignore[arg-type] # the four text fields
    )
