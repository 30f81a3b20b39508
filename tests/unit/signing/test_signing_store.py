from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from assay.errors import PolicyError, StorageError
from assay.signing import store
from assay.signing.store import StoredVersions
from assay.signing.trust import TrustStore
from assay.storage.database import open_state


def test_a_trust_store_is_written_whole_and_read_back(tmp_path: Path, trust: TrustStore) -> None:
    path = tmp_path / "trust.json"
    store.write(path, TrustStore())
    store.write(path, trust)
    assert store.read(path) == trust
    assert [entry.name for entry in tmp_path.iterdir()] == ["trust.json"]


def test_a_trust_store_that_is_missing_or_spoiled_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    with pytest.raises(PolicyError, match=r"trust\.json: cannot read"):
        store.read(path)
    path.write_text("{}")
    with pytest.raises(PolicyError, match=r"trust\.json: .*missing"):
        store.read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PolicyError, match="no regular file"):
        store.read(path)


def test_a_place_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        store.write_whole(tmp_path / "taken", b"data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_versions_only_rise_unless_a_rollback_is_allowed(tmp_path: Path, now: datetime) -> None:
    versions = StoredVersions(open_state(tmp_path / "state.db"))
    assert versions.seen("spam") is None
    versions.remember("spam", 2, "bb", now)
    versions.remember("spam", 1, "aa", now)
    assert versions.seen("spam") == (2, "bb")
    versions.remember("spam", 3, "cc", now)
    assert versions.seen("spam") == (3, "cc")
    assert versions.seen("fraud") is None
    versions.allow("spam", 1, "aa", now)
    assert versions.seen("spam") == (1, "aa")


def test_versions_outlive_the_process(tmp_path: Path, now: datetime) -> None:
    StoredVersions(open_state(tmp_path / "state.db")).remember("spam", 2, "bb", now)
    assert StoredVersions(open_state(tmp_path / "state.db")).seen("spam") == (2, "bb")
