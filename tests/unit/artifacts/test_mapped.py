from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from blake3 import blake3
from tests.descriptors import opened

from assay.artifacts import hashing, mapped
from assay.artifacts.files import Tree
from assay.artifacts.hashing import Hashed, Job, hash_files
from assay.artifacts.mapped import mapped_blake3

RAW = bytes(range(256)) * 100


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of several windows, in a process that may fork: the fork only hashes, whatever threads pytest has."""
    monkeypatch.setattr(mapped, "_alone", lambda: True)
    monkeypatch.setattr(mapped, "WINDOW_BYTES", 8192)
    path = tmp_path / "m" / "w"
    path.parent.mkdir()
    path.write_bytes(RAW)
    return path


def hashed(path: Path, size: int = len(RAW)) -> tuple[str | None, list[int]]:
    reported: list[int] = []
    made: list[str] = []
    real = os.pipe

    def pipe() -> tuple[int, int]:
        ends = real()
        made.extend(str(Path(f"/proc/self/fd/{end}").readlink()) for end in ends)
        return ends

    descriptor = os.open(path, os.O_RDONLY)
    others = children()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "pipe", pipe)
        found = mapped_blake3(descriptor, size, threads=2, report=reported.append)
    os.close(descriptor)
    assert made or not found
    assert not opened(path, *made)
    assert not children() - others  # no process is left over
    return found, reported


def children() -> set[str]:
    """The processes that this one has started, those included that have ended and nobody asked after."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if status.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(status.parent.name)
    return found


def test_a_mapped_file_has_the_digest_of_its_bytes_and_every_byte_is_reported(file: Path) -> None:
    found, reported = hashed(file)
    assert found == blake3(RAW).hexdigest()
    assert sum(reported) == len(RAW)
    assert len(reported) == 4


def test_a_file_that_is_shorter_than_thought_has_to_be_read(file: Path) -> None:
    assert hashed(file, len(RAW) + 1)[0] is None


class Cutting:
    """Stands for a hash during which somebody cuts the file: the map then leads nowhere."""

    path = ""

    def __init__(self, *, max_threads: int) -> None:
        del max_threads

    def update(self, window: memoryview) -> None:
        os.truncate(self.path, 0)
        window[4096]


def test_a_file_that_is_cut_meanwhile_ends_the_other_process_only(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "blake3", Cutting)
    monkeypatch.setattr(Cutting, "path", str(file))
    statuses: list[int] = []
    real = os.waitpid

    def waiting(child: int, options: int) -> tuple[int, int]:
        found = real(child, options)
        statuses.append(found[1])
        return found

    monkeypatch.setattr(os, "waitpid", waiting)
    descriptor = os.open(file, os.O_RDONLY)
    assert mapped_blake3(descriptor, len(RAW), threads=1, report=lambda _: None) is None
    assert [os.WTERMSIG(status) for status in statuses] == [signal.SIGBUS]
    os.close(descriptor)


@pytest.mark.parametrize("broken", ["fork", "pipe"])
def test_where_no_process_can_be_made_the_file_has_to_be_read(
    file: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> NoReturn:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, broken, fail)
    assert hashed(file) == (None, [])


def test_an_interruption_ends_the_other_process(file: Path) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    descriptor = os.open(file, os.O_RDONLY)
    others = children()
    with pytest.raises(KeyboardInterrupt):
        mapped_blake3(descriptor, len(RAW), threads=1, report=interrupted)
    assert not children() - others
    os.close(descriptor)


@pytest.mark.parametrize("answer", [True, False])
def test_mapped_or_read_the_file_is_hashed(file: Path, monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> None:
    monkeypatch.setattr(hashing, "_LARGE_BYTES", 1000)
    monkeypatch.setattr(hashing, "_BATCH_BYTES", 1000)
    if not answer:
        monkeypatch.setattr(mapped, "_alone", lambda: False)
    with Tree.of(file.parent) as tree:
        jobs = [Job("w", len(RAW)), Job("gone", len(RAW) * 2)]
        found = hash_files(jobs, tree.reader, wanted="blake3", threads=2)
    assert found["w"] == Hashed(len(RAW), "", blake3(RAW).hexdigest(), ())
    assert not isinstance(found["gone"], Hashed)


def test_a_process_with_threads_is_not_alone() -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    alone = mapped._alone()
    done.set()
    other.join()
    assert not alone


def test_a_process_without_threads_is_alone() -> None:
    code = "from assay.artifacts import mapped; print(mapped._alone())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


def test_where_threads_cannot_be_counted_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> NoReturn:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(os, "listdir", fail)
    assert not mapped._alone()
