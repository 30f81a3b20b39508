"""The other side of `Apart`: opens the model it is handed and answers rows until nobody asks any more."""

from __future__ import annotations

import json
import mmap
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from assay.errors import AssayError, LoadError
from assay.frameworks.base import Predictor, VouchedFramework
from assay.frameworks.exchange import (
    ANSWER,
    READY,
    REFUSED,
    answer_to_bytes,
    framed,
    receive,
    rows_from_bytes,
)
from assay.frameworks.shelf import find

_Made = TypeVar("_Made")


class Handed:
    """A model's files as open descriptors, numbered as the process that verified them handed them over."""

    def __init__(self, descriptors: Mapping[str, int]) -> None:
        self._descriptors = dict(descriptors)
        self._views: dict[str, memoryview] = {}
        self._folder: str | None = None

    def names(self) -> tuple[str, ...]:
        """The names of the files, relative to the model."""
        return tuple(self._descriptors)

    def view(self, name: str) -> memoryview:
        """The bytes of a file, read-only."""
        if name not in self._views:
            descriptor = self._of(name)
            size = os.fstat(descriptor).st_size
            mapped = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) if size else b""
            self._views[name] = memoryview(mapped)
        return self._views[name]

    def path(self, name: str) -> str:
        """A path that leads to exactly these bytes, also for processes that this one starts."""
        return f"/proc/{os.getpid()}/fd/{self._of(name)}"

    def folder(self) -> str:
        """A folder with the model's own file names; whoever started this process removes it."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="model-")
            for name in self._descriptors:
                link = Path(self._folder) / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.path(name))
        return self._folder

    def _of(self, name: str) -> int:
        if name not in self._descriptors:
            raise LoadError(f"the model has no file {name!a}")
        return self._descriptors[name]


def answer(channel: socket.socket) -> None:
    """Open the model and answer until the other side closes the channel."""

    def take(size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            part = channel.recv(size - len(taken))
            if not part:
                raise EOFError
            taken += part
        return bytes(taken)

    try:
        asked = json.loads(receive(take)[1])
        predictor = _told(channel, lambda: _opened(asked))
        if predictor is None:
            return
        channel.sendall(framed(READY, b""))
        while True:
            answered = _told(channel, partial(_answered, predictor, receive(take)[1]))
            if answered is not None:
                channel.sendall(framed(ANSWER, answered))
    except (EOFError, ConnectionError):  # nobody asks any more
        return


def _opened(asked: Mapping[str, object]) -> Predictor:
    files, vouched, framework = asked["files"], asked["vouched"], str(asked["framework"])
    assert isinstance(files, dict)  # noqa: S101 - the process that started this one wrote it
    assert isinstance(vouched, dict)  # noqa: S101 - the same
    plug, handed = find(framework), Handed(files)
    if isinstance(plug, VouchedFramework):
        return plug.open_vouched(handed, {name: frozenset(types) for name, types in vouched.items()})
    return plug.open(handed)


def _answered(predictor: Predictor, rows: bytes) -> bytes:
    return answer_to_bytes(predictor.predict(rows_from_bytes(rows)))


def _told(channel: socket.socket, make: Callable[[], _Made]) -> _Made | None:
    """What ``make`` makes; None when it fails, and then the other side is told why."""
    try:
        return make()
    except AssayError as err:
        why = err.message
    except Exception as err:  # noqa: BLE001  it is a model's code: whatever it raises is told, by its kind alone
        why = f"the model failed ({type(err).__name__})"
    channel.sendall(framed(REFUSED, why.encode()))
    return None


def main() -> None:
    """Answer over the descriptor that the command line names."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the rows
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        answer(channel)


if __name__ == "__main__":
    main()
