"""A model opened and asked in a process of its own: what it does there can neither hang nor crash this one.

The process is given the verified bytes as open descriptors, and rows; none of this project's secrets.
It is stopped when the time it was given is used up, when it dies nobody else does, and what it says is
taken for what a stranger says. It runs as the same user: it is no jail for a model that means harm.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from assay.errors import LoadError, TableError
from assay.frameworks.base import ModelFiles, Prediction
from assay.frameworks.exchange import (
    ANSWER,
    OPEN,
    READY,
    REFUSED,
    ROWS,
    answer_from_bytes,
    framed,
    receive,
    rows_to_bytes,
)

if TYPE_CHECKING:
    import pyarrow as pa

SECRETS = ("ASSAY_", "PGPASSWORD")
"""Variables that begin so are not handed on: passphrases, PINs, what opens the state."""
_ASKED = "assay.frameworks.answering"
_CHUNK = 1 << 20


class Apart:
    """A model in a process of its own.

    The process starts at once and opens the model while this one goes on; `wait` says whether it could.
    Use it as a context manager, or call `close`.

    Args:
        framework: A plug of the shelf, or ``package.module:function``.
        files: The verified files; they may be closed once this returns.
        vouched: The types that are signed for each file, as `VouchedFramework` takes them.
        limit_s: Seconds that all waiting for it together may take.

    Raises:
        LoadError: No process can be started.
    """

    def __init__(
        self, framework: str, files: ModelFiles, vouched: Mapping[str, frozenset[str]], *, limit_s: float
    ) -> None:
        self.limit_s = limit_s
        self._left_s = limit_s
        self._ended: str | None = None
        self._ready = False
        self._owing = False  # an answer is under way: whoever asks next would take it for theirs
        self._scratch = tempfile.mkdtemp(prefix="assay-")
        self._here, there = socket.socketpair()
        handed = [os.open(files.path(name), os.O_RDONLY | os.O_CLOEXEC) for name in files.names()]
        asked = {
            "framework": framework,
            "files": dict(zip(files.names(), handed, strict=True)),
            "vouched": {name: sorted(types) for name, types in vouched.items()},
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
                [sys.executable, "-P", "-m", _ASKED, str(there.fileno())],
                pass_fds=(there.fileno(), *handed),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(self._scratch),
            )
        except OSError as err:
            self.close()
            raise LoadError(f"no process can be started to open the model in: {err.strerror or err}") from err
        finally:
            there.close()
            for descriptor in handed:
                os.close(descriptor)
        self._send(OPEN, asked_to_bytes(asked))

    def renew(self, limit_s: float) -> bool:
        """Begin to count the time anew, for somebody else who asks; False when the process is no good any more."""
        self.limit_s = self._left_s = limit_s
        return self._ready and not self._owing and self._ended is None and self._process.poll() is None

    def wait(self) -> None:
        """Wait until the model is open.

        Raises:
            LoadError: It could not be opened, or not in time.
        """
        if self._ready:
            return
        kind, content = self._receive("did not open the model")
        if kind != READY:
            self._end(_said(kind, content))
            raise LoadError(self._ended or "")
        self._ready = True

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row.

        Raises:
            LoadError: The model could not be opened, its process ended, or the time is used up.
            TableError: The model cannot take these rows.
        """
        self.wait()
        rows = rows_to_bytes(table)
        self._owing = True
        self._send(ROWS, rows)
        kind, content = self._receive(f"gave no answer to {table.num_rows} rows")
        self._owing = False
        if kind == REFUSED:
            raise TableError(_said(kind, content))
        if kind != ANSWER:
            self._end("the model's process said what nobody asked")
            raise LoadError(self._ended or "")
        return answer_from_bytes(content, table.num_rows)

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._here.close()
        if hasattr(self, "_process"):
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, kind: bytes, content: bytes) -> None:
        if self._ended is not None:
            raise LoadError(self._ended)
        began = time.monotonic()
        try:
            self._here.settimeout(max(self._left_s, 0.001))
            self._here.sendall(framed(kind, content))
        except TimeoutError as err:
            raise self._late("takes no rows") from err
        except OSError as err:
            raise self._died() from err
        finally:
            self._left_s -= time.monotonic() - began

    def _receive(self, failing: str) -> tuple[bytes, bytes]:
        if self._ended is not None:
            raise LoadError(self._ended)
        began = time.monotonic()
        deadline = began + self._left_s
        try:
            return receive(lambda size: self._take(size, deadline))
        except TimeoutError as err:
            raise self._late(failing) from err
        except OSError as err:
            raise self._died() from err
        finally:
            self._left_s -= time.monotonic() - began

    def _take(self, size: int, deadline: float) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            self._here.settimeout(max(deadline - time.monotonic(), 0.001))
            part = self._here.recv(min(size - len(taken), _CHUNK))
            if not part:
                raise ConnectionResetError
            taken += part
        return bytes(taken)

    def _late(self, failing: str) -> LoadError:
        self._end(f"the model's process {failing} within {self.limit_s:g} s in all, and was stopped")
        return LoadError(self._ended or "")

    def _died(self) -> LoadError:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            code = 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended by itself with code {code}"
        self._end(f"the model's process {how}")
        return LoadError(self._ended or "")

    def _end(self, why: str) -> None:
        self._ended = why
        self._process.kill()
        self._process.wait()


def asked_to_bytes(asked: Mapping[str, object]) -> bytes:
    """What is to be opened, as JSON."""
    import json

    return json.dumps(asked).encode()


def _said(kind: bytes, content: bytes) -> str:
    """A refusal in the process's own words, of which it may have said anything."""
    if kind != REFUSED:
        return "the model's process said what nobody asked"
    words = content[:2_000].decode("utf-8", "replace")
    return "".join(one if one.isprintable() else " " for one in words) or "the model's process refused"


def _environment(scratch: str) -> dict[str, str]:
    """The variables of this process without its secrets; modules are found where this one finds them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}
    path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    return {**kept, "PYTHONPATH": path, "TMPDIR": scratch}
