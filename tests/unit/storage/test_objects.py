from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import StorageError
from assay.storage.objects import FolderObjects


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "objects")


def test_an_object_comes_back(objects: FolderObjects, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    kept = objects.put("spam/3/model", b"bytes")
    objects.put("spam/3/other", source)
    assert kept.read_bytes() == objects.get("spam/3/model") == b"bytes"
    with objects.open("spam/3/other") as file:
        assert file.read() == b"from a file"


def test_an_object_is_replaced_whole(objects: FolderObjects) -> None:
    objects.put("a", b"old")
    with objects.open("a") as reader:
        objects.put("a", b"new")
        assert reader.read() == b"old"
    assert objects.get("a") == b"new"


def test_names_are_sorted_and_can_be_narrowed(objects: FolderObjects) -> None:
    assert objects.names() == []
    for name in ("b/2", "b/1", "a", "c/d/e"):
        objects.put(name, b"")
    assert objects.names() == ["a", "b/1", "b/2", "c/d/e"]
    assert objects.names("b") == ["b/1", "b/2"]


def test_a_put_that_fails_leaves_the_earlier_object_and_no_rest(objects: FolderObjects, tmp_path: Path) -> None:
    objects.put("a", b"old")
    with pytest.raises(StorageError, match="the object"):
        objects.put("a", tmp_path / "missing")
    assert objects.get("a") == b"old"
    assert [path.name for path in (tmp_path / "objects").iterdir()] == ["a"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a/", "a\0b", ".new-x"]
)
def test_a_name_that_leads_elsewhere_is_refused(objects: FolderObjects, tmp_path: Path, name: str) -> None:
    for attempt in (lambda: objects.put(name, b"x"), lambda: objects.get(name)):
        with pytest.raises(StorageError, match="cannot name an object"):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_link_is_refused(objects: FolderObjects, tmp_path: Path) -> None:
    objects.put("a/b", b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "objects" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="link"):
        objects.put("link/x", b"")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_object_that_is_a_link_is_not_followed(objects: FolderObjects, tmp_path: Path) -> None:
    objects.put("a", b"")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "objects" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError):
        objects.get("link")


def test_a_missing_object_is_our_error(objects: FolderObjects) -> None:
    with pytest.raises(StorageError, match="none"):
        objects.get("none")
