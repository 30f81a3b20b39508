from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3
from tests.descriptors import opened

from assay.artifacts import hashing
from assay.artifacts.digest import Pass, Wanted
from assay.artifacts.files import Tree
from assay.artifacts.hashing import Hashed, Job, Reader, hash_files, thread_count
from assay.errors import ArtifactError, AssayError, ConfigError


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a test's files are large."""
    monkeypatch.setattr(hashing, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(hashing, "_LARGE_BYTES", 5000)
    monkeypatch.setattr(hashing, "_BATCH_BYTES", 300)
    monkeypatch.setattr(hashing, "_BATCH_FILES", 3)


def made(folder: Path, sizes: Sequence[int]) -> dict[str, bytes]:
    generator = random.Random(3)  # noqa: S311 - it makes weights, not secrets
    contents = {f"f{number:02d}": generator.randbytes(size) for number, size in enumerate(sizes)}
    (folder / "m" / "deep").mkdir(parents=True)
    contents["deep/g"] = b"g" * 70
    for name, content in contents.items():
        (folder / "m" / name).write_bytes(content)
    return contents


def hashed(one: Hashed | AssayError) -> Hashed:
    assert isinstance(one, Hashed)
    return one


# One large file among few, two large ones, many small ones, all alike.
SIZES = ([12_345, 10, 0], [20_000, 15_001, 40], [100] * 20, [4000] * 4, [6000, 6000, 6000, 6000])


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_however_the_work_is_shared_out_the_digests_are_those_of_the_bytes(
    tmp_path: Path, sizes: list[int], threads: int
) -> None:
    contents = made(tmp_path, sizes)
    ranges = {
        name: tuple((at, min(at + 777, len(raw))) for at in range(0, len(raw), 777)) for name, raw in contents.items()
    }
    jobs = [Job(name, len(raw), ranges[name]) for name, raw in contents.items()]
    with Tree.of(tmp_path / "m") as tree:
        found = hash_files(jobs, tree.reader, threads=threads)
    assert found.keys() == contents.keys()
    for name, raw in contents.items():
        one = hashed(found[name])
        assert (one.size, one.sha256, one.blake3) == (
            len(raw),
            hashlib.sha256(raw).hexdigest(),
            blake3(raw).hexdigest(),
        )
        assert one.parts == tuple(blake3(raw[start:end]).hexdigest() for start, end in ranges[name])


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("threads", [1, 2])
def test_only_what_is_wanted_is_hashed(tmp_path: Path, threads: int) -> None:
    contents = made(tmp_path, [12_345, 10])
    wanted: Wanted
    for wanted in ("sha256", "blake3"):
        with Tree.of(tmp_path / "m") as tree:
            found = hash_files(
                [Job(name, len(raw)) for name, raw in contents.items()], tree.reader, wanted=wanted, threads=threads
            )
        for name, raw in contents.items():
            digests = {"sha256": hashlib.sha256(raw).hexdigest(), "blake3": blake3(raw).hexdigest()}
            one = hashed(found[name])
            assert {"sha256": one.sha256, "blake3": one.blake3} == {
                "sha256": "",
                "blake3": "",
                wanted: digests[wanted],
            }


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("threads", [1, 2])
def test_every_byte_is_reported_once(tmp_path: Path, threads: int) -> None:
    contents = made(tmp_path, [12_345, 10, 600, 600])
    reported: list[int] = []
    with Tree.of(tmp_path / "m") as tree:
        jobs = [Job(name, len(raw)) for name, raw in contents.items()]
        hash_files(jobs, tree.reader, report=reported.append, threads=threads)
    assert sum(reported) == sum(map(len, contents.values()))


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_that_cannot_be_read_is_told_and_the_others_are_hashed(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = made(tmp_path, [12_345, 9000, 10])
    real = os.preadv

    def broken(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if os.fstat(descriptor).st_size == 12_345 and offset:
            raise OSError(5, "Input/output error")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", broken)
    jobs = [Job("gone", 8000), Job("gone too", 1), *(Job(name, len(raw)) for name, raw in contents.items())]
    with Tree.of(tmp_path / "m") as tree:
        found = hash_files(jobs, tree.reader, threads=threads)
    wrong = {name: one for name, one in found.items() if isinstance(one, AssayError)}
    assert {name: error.findings[0].rule for name, error in wrong.items()} == {
        "f00": "artifact.unreadable",
        "gone": "artifact.missing",
        "gone too": "artifact.missing",
    }
    assert hashed(found["f01"]).sha256 == hashlib.sha256(contents["f01"]).hexdigest()


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("sizes", [[12_345, 10], [400] * 9])
def test_no_descriptor_and_no_thread_is_left_over_even_when_hashing_fails(
    tmp_path: Path, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = made(tmp_path, sizes)

    def failing(self: Pass, chunk: memoryview) -> None:
        del self, chunk
        raise MemoryError

    monkeypatch.setattr(Pass, "update", failing)
    with Tree.of(tmp_path / "m") as tree:
        before = opened(tmp_path)
        with pytest.raises(MemoryError):
            hash_files([Job(name, len(raw), ((0, 1),)) for name, raw in contents.items()], tree.reader, threads=2)
        assert not opened(tmp_path) - before
    assert not [one for one in threading.enumerate() if one.name == "assay-hash"]


def test_a_failure_in_another_thread_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_BATCH_FILES", 1)
    contents = made(tmp_path, [10] * 8)
    main = threading.current_thread()
    with Tree.of(tmp_path / "m") as tree:
        waiting = threading.Barrier(2, timeout=30)

        def reader() -> Reader:
            waiting.wait()  # both threads are at work
            if threading.current_thread() is not main:
                raise MemoryError
            return tree.reader()

        with pytest.raises(MemoryError):
            hash_files([Job(name, 2_000_000) for name in contents], reader, threads=2)


def test_what_comes_after_is_called_with_the_open_file(tmp_path: Path) -> None:
    made(tmp_path, [5])
    sizes: list[int] = []

    def after(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)

    with Tree.of(tmp_path / "m") as tree:
        hash_files([Job("f00", 5, after=after)], tree.reader)
    assert sizes == [5]


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "257", "99999999999999999999", "²"])
def test_a_number_of_threads_that_is_none_is_refused_and_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_THREADS", text)
    with pytest.raises(ConfigError, match=r"ASSAY_THREADS is .* wanted a whole number from 1 to 256"):
        thread_count()


def test_the_number_of_threads_is_as_said_else_that_of_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_THREADS", "7")
    assert thread_count() == 7
    monkeypatch.delenv("ASSAY_THREADS")
    assert thread_count() == min(len(os.sched_getaffinity(0)), 256)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert thread_count() == 1


def test_an_error_of_a_reader_is_an_artifact_error(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_bytes(b"")
    with Tree.of(tmp_path / "m") as tree, pytest.raises(ArtifactError, match="b vanished"):
        tree.reader().open("b")


@pytest.mark.usefixtures("small_sizes")
def test_one_thread_means_no_other_thread_and_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = made(tmp_path, [12_345, 10, 400, 400, 400])

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "fork", never)
    monkeypatch.setattr(threading.Thread, "start", never)
    jobs = [Job(name, len(raw)) for name, raw in contents.items()]
    wanted: Wanted
    with Tree.of(tmp_path / "m") as tree:
        for wanted in ("both", "blake3", "sha256"):
            assert hash_files(jobs, tree.reader, wanted=wanted, threads=1).keys() == contents.keys()
