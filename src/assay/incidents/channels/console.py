"""Messages on the terminal: for a first look, and for containers whose output is collected."""

from __future__ import annotations

import sys

from assay.errors import AlertError
from assay.incidents.channels.base import Message


class ConsoleChannel:
    """Writes each message to standard error, so that ``--json`` on standard output stays one object.

    Args:
        url: ``console://``.
    """

    def __init__(self, url: str) -> None:
        if url.strip() not in {"console:", "console://"}:
            raise AlertError("the console takes no further words: write console://")

    def send(self, message: Message) -> None:
        """Write the message; control characters are shown, not obeyed.

        Raises:
            AlertError: Standard error is closed.
        """
        lines = [f"[{message.severity.upper()}] {message.title}", *(f"  {line}" for line in message.text.splitlines())]
        shown = "\n".join("".join(char if char.isprintable() else "�" for char in line) for line in lines)
        try:
            print(shown, file=sys.stderr, flush=True)  # noqa: T201  # this is what the channel is for
        except (OSError, ValueError) as err:
            raise AlertError("standard error is closed") from err
