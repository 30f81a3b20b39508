"""When a signature is judged: now, or the moment that a trusted authority says it was made at. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """The two times a signature is judged by.

    Attributes:
        now: The present, timezone-aware; one reading of the clock for all of a verification.
        signed: The earliest time at which a trusted authority saw the signature, timezone-aware; None when
            none vouches for any. A time that the signer wrote is no such time: a thief of a key writes any.
    """

    now: datetime
    signed: datetime | None = None

    def __post_init__(self) -> None:
        if self.now.tzinfo is None or (self.signed is not None and self.signed.tzinfo is None):
            raise ValueError("a moment needs times with a timezone; use datetime.now(UTC)")

    @property
    def at(self) -> datetime:
        """The time that keys and certificates are judged at: the trusted one, else the present."""
        return self.now if self.signed is None else self.signed
