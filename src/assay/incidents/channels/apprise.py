"""Messages through apprise: mail, chat, paging and about 170 other services."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from assay.errors import AlertError, MissingExtraError
from assay.incidents.channels.base import Message

_KINDS = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}
_TALKATIVE = ("apprise", "urllib3.connectionpool", "asyncio")
_LOCK = Lock()


class AppriseChannel:
    """Sends each message to one service that apprise knows.

    Args:
        url: An apprise address: ``mailto://…``, ``slack://…``, ``json://host/path``. It holds secrets:
            it appears in no error and no log line.

    Raises:
        AlertError: apprise knows no such service, or the address lacks something.
        MissingExtraError: apprise is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from apprise import Apprise
        except ModuleNotFoundError as err:
            raise MissingExtraError("sending alerts", "serve") from err
        self._sender = Apprise()
        with _silent():
            known = self._sender.add(url)
        if not known:
            raise AlertError(f"apprise cannot read a {url.partition(':')[0][:20]} address: see its documentation")

    def send(self, message: Message) -> None:
        """Send the message; apprise waits at most a few seconds for the service.

        Raises:
            AlertError: The service did not take it.
        """
        from apprise import NotifyFormat, NotifyType

        with _silent():
            took = self._sender.notify(
                title=message.title,
                body=message.text or message.title,
                notify_type=NotifyType(_KINDS.get(message.severity, "failure")),
                body_format=NotifyFormat.TEXT,
            )
        if not took:
            raise AlertError("the service did not take the message, or could not be reached")


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the log lines of apprise and its HTTP client in: they quote addresses, and addresses hold secrets."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    with _LOCK:
        before = [logger.disabled for logger in loggers]
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled
