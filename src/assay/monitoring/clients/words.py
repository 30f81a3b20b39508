"""An alarm about a client, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from assay.monitoring.clients.judge import USUAL, ClientAlarm, Doubt
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


_DO_NOW: Final = "Look at these queries: stop whoever sends them, or name it in trusted if it is one of yours"
_PLAIN: Final = re.compile(r"[\w.@:/+=|-]+|\(none\)")
_SHOWN: Final = 3


def who(client: str) -> str:
    """A client, or all newcomers together, as the subject of a sentence; in quotes where its name reads like words."""
    if client == NEWCOMERS:
        return "all clients that are new, together"
    return f"client {_quoted(client)}"


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def sentence(alarm: ClientAlarm) -> str:
    """What was seen, for the person on call."""
    since = readable(alarm.since)
    if alarm.question == "volume":
        return (
            f"{who(alarm.client)}: {alarm.share:,.0f} queries a window since {since}, where at most "
            f"{alarm.tolerance:,.0f} may be expected. {_DO_NOW}"
        )
    does, meaning = _DOES[alarm.question]
    does = does.replace("its own", "their own") if alarm.client == NEWCOMERS else does
    others = "" if alarm.others is None else f"; {alarm.others:.0%} of the others' {alarm.others_rows:,} meanwhile"
    return (
        f"{who(alarm.client)}: {alarm.share:.0%} of {alarm.rows:,} queries since {since} {does} ({alarm.low:.0%} to "
        f"{alarm.high:.0%}; {USUAL[alarm.question]:.0%} is usual, {alarm.tolerance:.0%} is tolerated{others}): "
        f"{meaning}. {_DO_NOW}"
    )


def untold(doubt: Doubt) -> str:
    """That a client cannot be told from the world, for the person on call."""
    does = _DOES[doubt.question][0]
    does = does.replace("its own", "their own") if doubt.client == NEWCOMERS else does
    asked = f"others asked only {doubt.others_rows:,}" if doubt.others_rows else "nobody else asked any"
    so = "" if doubt.others is None else f", {doubt.others:.0%} of them such"
    return (
        f"{who(doubt.client)}: {doubt.share:.0%} of {doubt.rows:,} queries since {readable(doubt.since)} {does}; "
        f"{asked} meanwhile{so}: too few to tell whether it is the client or the world that has changed. "
        "See whether the inputs have drifted, and look at these queries"
    )


def world(doubts: Sequence[Doubt], model: str) -> str:
    """That what clients do is what all do, for the owner of the model.

    Args:
        doubts: At least one, all of one question.
        model: The model's name.
    """
    many, most = len({one.client for one in doubts} - {NEWCOMERS}) or 1, doubts[0]
    share, since = max(one.share for one in doubts), readable(min(one.since for one in doubts))
    return (
        f"{'a client' if many == 1 else f'{many:,} clients'}: up to {share:.0%} of the queries since {since} "
        f"{_DOES[most.question][0]}, and so are {most.others or 0:.0%} of the others': the world has moved, or the "
        "reference is old, and nobody is accused. Others who do it can hardly be told until newer rows are in the "
        f"reference: then assay baseline {model} --reason …"
    )


def alike(names: Iterable[str]) -> str | None:
    """That some names differ by case or space only; None when no two do."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().split()), []).append(name)
    double = sorted(sorted(group) for group in groups.values() if len(group) > 1)
    if not double:
        return None
    quoted = [[json.dumps(name, ensure_ascii=False) for name in group[:_SHOWN]] for group in double[:_SHOWN]]
    shown = "; ".join(" and ".join(group) for group in quoted)
    more = f"; and {len(double) - _SHOWN:,} more" if len(double) > _SHOWN else ""
    return (
        f"names that differ only by case or space are judged as different clients: {shown}{more}. If they are one, let "
        "the column say so"
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
        "others": alarm.others,
        "others_rows": alarm.others_rows,
        "log_e": alarm.log_e,
        "detail": sentence(alarm),
    }
