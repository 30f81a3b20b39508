"""Memory of this process alone, filled from a file."""

from __future__ import annotations

import mmap
import os
import threading
from typing import Self

from assay.errors import ArtifactError

READ_BYTES = 16 * 1024 * 1024  # per read: small enough to be hashed while it is still in the cache
_MAPPED_BYTES = 1024 * 1024  # from here on memory comes from the kernel, which need not be filled with zeros first


def private(size: int) -> memoryview:
    """Writable memory that no other process maps.

    Args:
        size: Bytes.
    """
    if size < _MAPPED_BYTES:
        return memoryview(bytearray(size))
    # Anonymous maps of Python are shared unless told otherwise. No huge pages: where memory is in pieces, the kernel
    # takes four times as long to put one together as it saves.
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class Filling:
    """Fills memory from a file; what is large, in a thread of its own, so that it is hashed meanwhile.

    Args:
        descriptor: Open for reading.
        start: Where in the file the memory's first byte lies.
        memory: What to fill.
    """

    def __init__(self, descriptor: int, start: int, memory: memoryview) -> None:
        self._descriptor, self._start, self._memory = descriptor, start, memory
        self._filled = 0
        self._ended = self._unwanted = False
        self._error: OSError | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="assay-read", daemon=True)

    def __enter__(self) -> Self:
        if self._memory.nbytes > READ_BYTES:
            self._thread.start()
        else:
            self._run()
        return self

    def __exit__(self, *_: object) -> None:
        self._unwanted = True
        if self._thread.ident is not None:
            self._thread.join()

    def beyond(self, place: int) -> int:
        """Wait until more than ``place`` bytes are there, or no more will come; return how many there are.

        Raises:
            ArtifactError: They cannot be read.
        """
        with self._news:
            self._news.wait_for(lambda: self._filled > place or self._ended)
            if self._error is not None and self._filled <= place:
                detail = f"the tensors cannot be read: {self._error.strerror or self._error}"
                raise ArtifactError(detail) from self._error
            return self._filled

    def _run(self) -> None:
        at = 0
        try:
            while at < self._memory.nbytes and not self._unwanted:
                count = os.preadv(self._descriptor, [self._memory[at : at + READ_BYTES]], self._start + at)
                if count == 0:  # the file was cut: the digests say so
                    break
                at += count
                with self._news:
                    self._filled = at
                    self._news.notify_all()
        except OSError as err:
            self._error = err
        with self._news:
            self._ended = True
            self._news.notify_all()
