"""BLAKE3 of one large file straight from the page cache, without copying it first.

A copy costs more than half as much as the hash. But a map of a file that somebody cuts meanwhile
ends in a signal (SIGBUS), which nothing in Python can catch, and who can write to a model could so
end whoever verifies it. Therefore a process of its own maps and hashes, and when that ends without
an answer the file is read instead. Such a process is a fork, which is sound only where this process
has a single thread; everywhere else nothing is done here.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from blake3 import blake3

WINDOW_BYTES = 64 * 1024 * 1024  # mapped at a time; bounds the memory that counts as ours
_HEX = 64


def mapped_blake3(descriptor: int, size: int, *, threads: int, report: Callable[[int], None]) -> str | None:
    """Hash the first bytes of an open file.

    Args:
        descriptor: Open for reading; its offset is not used.
        size: How many bytes; more than there are gives None.
        threads: How many the hash may use.
        report: Called with the number of bytes hashed since the last call.

    Returns:
        64 hexadecimal digits, or None where the file has to be read.
    """
    if not _alone():
        return None
    with contextlib.suppress(OSError):  # no pipes, no processes, or somebody else collects the children
        ours, theirs = os.pipe()
        try:
            child = os.fork()
        except BaseException:
            os.close(ours)
            os.close(theirs)
            raise
        if child == 0:  # pragma: no cover  it counts for nobody what a fork runs
            _hash(descriptor, size, threads, theirs)
        os.close(theirs)
        return _answer(child, ours, size, report)
    return None


def _alone() -> bool:
    """Whether this process has one thread. Other threads' locks would stay locked in a fork for ever."""
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208  names are all that is wanted
    return False


def _answer(child: int, pipe: int, size: int, report: Callable[[int], None]) -> str | None:
    """What the other process writes: a dot for each window it has hashed, then the digest."""
    told = b""
    try:
        with os.fdopen(pipe, "rb", buffering=0) as answers:
            while more := answers.read(4096):
                for _ in range(more.count(b".")):
                    report(min(WINDOW_BYTES, size))
                    size -= min(WINDOW_BYTES, size)
                told += more.replace(b".", b"")
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    return told.decode("ascii") if status == 0 and len(told) == _HEX else None


def _hash(descriptor: int, size: int, threads: int, pipe: int) -> NoReturn:  # pragma: no cover  in a fork
    code = 1
    try:
        for number in (signal.SIGBUS, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # end at once: what the parent would do then is its own business
        run = blake3(max_threads=threads)
        for start in range(0, size, WINDOW_BYTES):
            length = min(WINDOW_BYTES, size - start)
            os.posix_fadvise(descriptor, start + length, WINDOW_BYTES, os.POSIX_FADV_WILLNEED)
            with mmap.mmap(descriptor, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, offset=start) as window:
                run.update(window)
            os.write(pipe, b".")
        os.write(pipe, run.hexdigest().encode())
        code = 0
    finally:
        os._exit(code)
