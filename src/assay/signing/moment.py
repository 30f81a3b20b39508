"""When a signature is judged: now, or the moment that a trusted authority says it was made at. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

CLOCK_SKEW = timedelta(minutes=5)  # two well-kept machines differ by less


@dataclass(frozen=True, slots=True)
class Moment:
    """The two times a signature is judged by.

    Attributes:
        now: The present, timezone-aware; one reading of the clock for all of a verification.
        signed: The earliest time at which a trusted authority saw the signature, timezone-aware; None when
            none vouches for any. A time that the signer wrote is no such time: a thief of a key writes any.
        each: Where a model has several signatures, the trusted time of each, by its bytes; one authority's word
            about the first says nothing of the second.
    """

    now: datetime
    signed: datetime | None = None
    each: Mapping[bytes, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.now.tzinfo is None or (self.signed is not None and self.signed.tzinfo is None):
            raise ValueError("a moment needs times with a timezone; use datetime.now(UTC)")

    @property
    def at(self) -> datetime:
        """The time that keys and certificates are judged at: the trusted one, else the present."""
        return self.now if self.signed is None else self.signed

    def of(self, signature: bytes) -> Moment:
        """The times of one of several signatures."""
        return Moment(self.now, self.each.get(signature)) if self.each else self
