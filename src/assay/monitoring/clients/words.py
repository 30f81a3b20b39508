"""An alarm about a client, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from assay.monitoring.clients.judge import USUAL, ClientAlarm
from assay.monitoring.clients.sight import NEWCOMERS
from assay.monitoring.clock import readable

SIGNAL: Final = "client:"
"""What the names of signals of clients begin with."""

_DOES: Mapping[str, tuple[str, str]] = {
    "copies": (
        "are near copies of its own earlier ones",
        "the model is being copied by varied rows, or rows are being probed for having been trained on",
    ),
    "walking": (
        "are near copies of its own earlier ones that were answered otherwise",
        "the border between two answers is being searched for",
    ),
    "edging": (
        "are near copies of its own earlier ones with an answer the model is hardly sure of",
        "the border between two answers is being searched for",
    ),
    "far": ("are unlike every row of the reference", "made-up queries, as for copying a model"),
}


def who(client: str) -> str:
    """A client, or all newcomers together, as the subject of a sentence."""
    return "all clients that are new, together" if client == NEWCOMERS else f"client {client}"


def sentence(alarm: ClientAlarm) -> str:
    """What was seen, for the person on call."""
    since = readable(alarm.since)
    if alarm.question == "volume":
        return (
            f"{who(alarm.client)}: {alarm.share:,.0f} queries a window since {since}, where at most "
            f"{alarm.tolerance:,.0f} may be expected"
        )
    does, meaning = _DOES[alarm.question]
    does = does.replace("its own", "their own") if alarm.client == NEWCOMERS else does
    return (
        f"{who(alarm.client)}: {alarm.share:.0%} of {alarm.rows:,} queries since {since} {does} ({alarm.low:.0%} to "
        f"{alarm.high:.0%}; {USUAL[alarm.question]:.0%} is usual, {alarm.tolerance:.0%} is tolerated): {meaning}"
    )


def as_json(alarm: ClientAlarm) -> dict[str, object]:
    """The alarm as the log and the dashboard have it, beside those of other signals."""
    usual = USUAL.get(alarm.question, alarm.tolerance)
    return {
        "signal": f"{SIGNAL}{alarm.question}",
        "client": None if alarm.client == NEWCOMERS else alarm.client,
        "window": alarm.window,
        "since": alarm.since,
        "until": alarm.until,
        "size": alarm.share - usual,
        "interval": [alarm.low - usual, alarm.high - usual],
        "baseline_size": usual,
        "tolerance": alarm.tolerance,
        "rows": alarm.rows,
        "log_e": alarm.log_e,
        "detail": sentence(alarm),
    }
