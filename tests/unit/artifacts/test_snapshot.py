from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.descriptors import opened

from assay.artifacts import snapshot as module
from assay.artifacts.measure import measure
from assay.artifacts.snapshot import Snapshot
from assay.errors import ArtifactError

BIG = os.urandom(1024 * 1024 + 5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_bytes(b"signed")
    (root / "sub" / "big").write_bytes(BIG)
    (root / "empty").write_bytes(b"")
    return root


@pytest.fixture(params=["sealed", "private"])
def held(request: pytest.FixtureRequest, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshot]:
    if request.param == "private":
        monkeypatch.delattr(os, "memfd_create")
    with Snapshot.of(model, ignore=["ignored"], signature=model / "model.sig") as snapshot:
        assert snapshot.sealed == (request.param == "sealed")
        yield snapshot


def test_a_snapshot_measures_like_the_model(held: Snapshot, model: Path) -> None:
    assert held.names() == ("a", "empty", "sub/big")
    assert held.manifest() == measure(model, ignore=["ignored"], signature=model / "model.sig")
    assert held.manifest() is held.manifest()


def test_what_happens_on_disk_afterwards_does_not_matter(held: Snapshot, model: Path) -> None:
    (model / "a").write_bytes(b"other")
    (model / "sub" / "big").unlink()
    assert bytes(held.view("a")) == b"signed"
    assert held.view("a") is held.view("a")
    assert bytes(held.view("sub/big")) == BIG
    assert bytes(held.view("empty")) == b""
    assert Path(held.path("a")).read_bytes() == b"signed"
    assert (Path(held.folder()) / "sub" / "big").read_bytes() == BIG
    assert sorted(one.name for one in Path(held.folder()).iterdir()) == ["a", "empty", "sub"]


def test_views_cannot_be_written(held: Snapshot) -> None:
    with pytest.raises(TypeError, match="read-only"):
        held.view("a")[0] = 1


def test_a_name_that_is_not_there_is_an_error(held: Snapshot) -> None:
    for ask in (held.view, held.path):
        with pytest.raises(ArtifactError, match="no file 'a\\\\nb'"):
            ask("a\nb")


def test_no_process_can_write_into_a_sealed_copy(model: Path) -> None:
    with Snapshot.of(model) as snapshot:
        with pytest.raises(PermissionError):
            Path(snapshot.path("a")).write_bytes(b"x")
        reopened = os.open(snapshot.path("a"), os.O_RDWR)
        for descriptor in (reopened, snapshot._descriptors["a"]):  # and the very one it was made with
            with pytest.raises(PermissionError):
                os.pwrite(descriptor, b"x", 0)
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, 0)
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, 100)
            with pytest.raises(PermissionError):
                mmap.mmap(descriptor, 6, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            with pytest.raises(PermissionError):  # nor can the seals be taken off or changed
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0)
        os.close(reopened)
        assert bytes(snapshot.view("a")) == b"signed"


def test_another_process_opens_the_copy_by_its_path(held: Snapshot) -> None:
    code = "import sys; print(open(sys.argv[1]).read())"
    found = subprocess.run([sys.executable, "-c", code, held.path("a")], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "signed"


def test_links_are_findings_and_are_not_in_the_copy(model: Path) -> None:
    (model / "link").symlink_to("/etc/hostname")
    with Snapshot.of(model) as snapshot:
        assert "link" not in snapshot.names()
        assert [finding.rule for finding in snapshot.manifest().findings] == ["artifact.link"]


def test_what_vanishes_while_copying_is_a_finding(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.check_memory

    def vanish(what: str, needed: int) -> None:
        (model / "a").unlink()
        real(what, needed)

    monkeypatch.setattr(module, "check_memory", vanish)
    with Snapshot.of(model) as snapshot:
        assert [finding.rule for finding in snapshot.manifest().findings] == ["artifact.missing"]


def test_a_file_that_shrinks_while_copying_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv

    def cutting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset:
            os.truncate(model / "sub" / "big", 10)
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", cutting)
    before = opened(model)
    with pytest.raises(ArtifactError, match="sub/big shrank while it was being read"):
        Snapshot.of(model)
    assert not opened(model) - before


def test_a_full_memory_is_an_error_that_names_the_file(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ArtifactError, match="a cannot be copied into memory: No space left on device"):
        Snapshot.of(model)


def test_a_model_larger_than_memory_says_how_much_is_missing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_free_memory_bytes", lambda: 1000)
    with pytest.raises(ArtifactError, match=f"needs {len(BIG) + 6 - 1000} bytes more"):
        Snapshot.of(model)


def test_free_memory_is_known_here() -> None:
    assert 1024 < module._free_memory_bytes() < sys.maxsize


def test_the_limit_of_open_files_is_raised_or_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    with Snapshot.of(model):
        assert raised == [(70, 100)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 20))
    with pytest.raises(ArtifactError, match=r"ulimit -n 70"):
        Snapshot.of(model)


def test_an_older_kernel_without_the_newer_flag_still_seals(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.memfd_create

    def old(name: str, flags: int) -> int:
        if flags & 0x8:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(name, flags)

    monkeypatch.setattr(os, "memfd_create", old)
    with Snapshot.of(model) as snapshot:
        assert snapshot.sealed


def test_a_kernel_that_forbids_memory_files_gets_a_private_copy(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_name: str, _flags: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", forbidden)
    with Snapshot.of(model) as snapshot:
        assert not snapshot.sealed
        assert bytes(snapshot.view("a")) == b"signed"
        place = Path(snapshot.path("a")).readlink()
        assert place.parent.stat().st_mode & 0o777 == 0o700
    assert not place.parent.exists()


def test_half_sealed_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.memfd_create, []

    def failing(name: str, flags: int) -> int:
        calls.append(name)
        if len(calls) > 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(name, flags)

    monkeypatch.setattr(os, "memfd_create", failing)
    with pytest.raises(ArtifactError, match="Too many open files"):
        Snapshot.of(model)


def test_without_proc_the_path_is_that_of_the_private_copy(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with Snapshot.of(model) as snapshot:
        monkeypatch.setattr(Path, "is_dir", lambda _: False)
        assert Path(snapshot.path("a")).read_bytes() == b"signed"
        assert not snapshot.path("a").startswith("/proc")


def test_closing_leaves_nothing_behind(model: Path) -> None:
    before = opened(model)
    snapshot = Snapshot.of(model)
    assert len(opened(model) - before) == len(snapshot.names())
    folder = Path(snapshot.folder())
    kept = snapshot.view("a")
    snapshot.close()
    snapshot.close()
    assert not folder.exists()
    assert snapshot.names() == ()
    assert bytes(kept) == b"signed"
    kept.release()
    assert not opened(model) - before
