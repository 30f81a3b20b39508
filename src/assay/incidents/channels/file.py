"""Messages as lines of a file: one CloudEvents 1.0 JSON object each, for collectors and tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from assay.errors import AlertError
from assay.incidents.channels.base import Message


class FileChannel:
    """Appends each message to a file of JSON lines.

    Args:
        url: ``file:///folder/alerts.jsonl``.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.strip())
        path = Path(unquote(parts.path))
        if parts.netloc or not path.is_absolute() or path == Path("/"):
            raise AlertError("a file channel needs an absolute path: write file:///folder/alerts.jsonl")
        self._path = path

    def send(self, message: Message) -> None:
        """Append the message and make it durable.

        Raises:
            AlertError: The file cannot be written.
        """
        line = (json.dumps(message.as_cloudevent(), sort_keys=True) + "\n").encode()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # One write to an O_APPEND file: lines of two processes do not mix.
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(handle, line) != len(line):
                    raise AlertError("the alert file took only half a line: the disk may be full")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as err:
            raise AlertError(f"the alert file cannot be written: {err.strerror or type(err).__name__}") from err
