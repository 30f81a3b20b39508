"""What every channel can do, and the message it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from assay.storage.clock import utc_text


@dataclass(frozen=True, slots=True)
class Message:
    """One message to people.

    Attributes:
        id: The same for each try of one message to one channel, so that receivers can drop repeats.
        source: Who says it: the log's origin.
        incident: Number of the incident; None for a test.
        kind: The incident's kind, or ``test``.
        model: The model it is about.
        severity: ``info``, ``warning``, ``error`` or ``critical``.
        title: One line.
        text: The rest; plain text.
        time: When it was written.
    """

    id: str
    source: str
    incident: int | None
    kind: str
    model: str
    severity: str
    title: str
    text: str
    time: datetime

    def as_cloudevent(self) -> dict[str, object]:
        """The message as a CloudEvents 1.0 object in JSON form."""
        event: dict[str, object] = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/assay/{self.source}",
            "type": f"dev.assay.incident.{self.kind}",
            "time": utc_text(self.time),
            "datacontenttype": "application/json",
            "data": {
                "incident": self.incident,
                "model": self.model,
                "severity": self.severity,
                "title": self.title,
                "text": self.text,
            },
        }
        if self.model:
            event["subject"] = self.model
        return event


class Channel(Protocol):
    """One place that takes messages."""

    def send(self, message: Message) -> None:
        """Return when the channel took the message; it may be handed the same one twice.

        Raises:
            AlertError: It did not. The text names no address, since addresses hold secrets.
        """
        ...
