"""RESULTS.md from the results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from ours import CHANGED, FEWER, PLANTED, RARER, SHORT, TIMED, UNCHANGED
from peers import PEERS, WATCHES, there
from real import REAL
from results import Record, Store
from scipy.stats import beta

PEER_NAMES: Final = {"river": "river", "evidently": "evidently", "nannyml": "NannyML", "alibi": "Alibi Detect"}
# Goal in rows, for the default floors and without floors.
GOALS: Final[dict[str, tuple[int, int]]] = {
    "error .05 to .08": (3000, 3000),
    "error .05 to .08, 100 rows": (3000, 2200),
    "one class of ten 80 to 50 %": (1000, 1000),
    "confidence by -.02": (1300, 800),
    "confidence by -.02, 1,000 rows": (3000, 2000),
    "one column of 20 by .2 sd": (3000, 2000),
    "one column of 20 by .1 sd": (20_000, 10_000),
}

# Streams that are not as their baseline: no budget is promised for them.
MOVED: Final = {
    "trend in the baseline, then its last level": "a difference, foretold",
    "trend in the baseline that goes on": "this is drift",
}

OVERVIEW: Final = """\
How many runs each row has stands in its table; the script goes on where it stopped, up to a hundred (slow ones 40).
Every stream is made from a seed, row by row: 20 features, predictions of ten classes, confidence, latency, failures,
labels, 30 segments as slices; all signals are on. The same rows are written out for the peers. How soon an exchanged
model is found by its answers is in [another table](../fingerprint/RESULTS.md)."""
STILL: Final = """\
A baseline of 60 daily windows of 1,000 rows, then two years; budget one false alarm a year. The first row has a
baseline of 20,000 rows and a budget of one in 10,000 windows. Effects: of a day on features .1 sd, on log-odds of rates
and classes and on the log of the volume .2; heavy tails .05 and .1; a burst is one signal away for one day, by half a
standard deviation or 1 in log-odds, each signal in 2 % of its days: some 300 a year. The interval is Clopper and
Pearson's of the share of windows with an alarm, times the windows of a budget."""
DELAYS: Final = """\
Rows from the change to the end of the window of the first alarm of a signal that the change moves; a run that finds
nothing counts as infinite. Baseline 20,000 rows, budget one false alarm in 1,000,000 rows. "Sensitive" is without
floors, and one window may do. The class falls while errors overall, labels and predictions
keep their rates: no other signal of the table moves. A false discovery of the slice is a run that names a slice with
neither of its two levels."""
HOURLY: Final = """\
Windows of an hour and 120 rows, three weeks of baseline, sixty days judged, one false alarm a year; the pattern of the
day has four times the standard deviation of the rest (.05 and .1). The trend moves every signal by four times that over
the baseline's 60 days. What then stays at its last level is farther from the baseline's mean than the floor: of some 40
signals nearly each alarms once in two years, and tells of a difference that is there and that `assay baseline` has
foretold. While a trend counted as natural variation, they were 1.4 a year, and a further change was found weeks later.
What goes on is drift."""
TABLES: Final = """\
The default budget, one alarm a year, but never less than ten windows (91 days: 2.5 years). Shuffled tables surely do
not change between their blocks. The weather's own order is known to have changed in visibility (1963, 1970), wind
(1957) and pressure (1958); from 1959 on and without visibility no column's yearly mean leaves the others'. "Stay /
pass": whether the named signal's distribution over the two years from the onset on is farther from the baseline's than
any two years of the baseline are from its rest. The rides of three years grow; their baseline of 60 weeks is too short
to know seasons, and the table in its own order is not unchanged. Its temperatures and rain are those of the day, the
same in every hour: in windows of six hours one odd day is four windows, which is not yet known of values beyond the
baseline's range."""
PEERS_STILL: Final = """\
Defaults of each peer. River's detectors read the stream of errors, or all of errors, confidence and 20 features; a
window counts when an alarm falls into it. The others judge every window of a day against the baseline: evidently's
columns and its decision on the whole table, NannyML's distances and its realised and estimated accuracy, Alibi Detect's
tests with Bonferroni's correction."""
PEERS_DELAYS: Final = """\
River's detectors read the one series that changes, which a user would have to know. Delays say little without the
share of windows with an alarm before the change: a monitor that always alarms is quick. Evidently's and Alibi Detect's
and NannyML's first alarm after the change may be a false one. KSWIN takes milliseconds a value and was given 2,000 rows
before and 3,000 after the change."""


def clopper_pearson(events: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share."""
    low = 0.0 if events == 0 else float(beta.ppf(0.025, events, trials - events + 1))
    return low, 1.0 if events == trials else float(beta.ppf(0.975, events + 1, trials - events))


def quantile(values: Iterable[float | None], share: float) -> float:
    """A quantile in which what was not found is infinite."""
    known = sorted(math.inf if v is None else float(v) for v in values)
    return known[min(len(known) - 1, max(0, math.ceil(share * len(known)) - 1))] if known else math.nan


def plain(value: float) -> str:
    """A figure as the table shows it."""
    if math.isnan(value):
        return ""
    return "not found" if math.isinf(value) else f"{value:,.0f}"


def per(value: float) -> str:
    """A rate as the table shows it."""
    return f"{value:.2f}" if 0 < value < 10 else f"{value:,.0f}"


def number(record: Record, name: str) -> float:
    """A figure of a record."""
    return float(str(record[name]))


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def unchanged_table(store: Store, which: Iterable[str], missed: list[str]) -> list[str]:
    """False alarms of ours."""
    out = []
    for row in which:
        found = store.all(row, "assay")
        if not found:
            continue
        budget, wanted = (UNCHANGED | SHORT | TIMED)[row].budget, (UNCHANGED | SHORT | TIMED)[row].runs
        if len(found) < wanted:
            missed.append(f"{row}: {len(found)} runs, {wanted} were wanted")
        windows = int(sum(number(r, "windows") for r in found))
        alarms = int(sum(number(r, "alarms") for r in found))
        alarmed = int(sum(number(r, "alarmed") for r in found))
        low, high = (x * budget for x in clopper_pearson(alarmed, windows))
        rate = alarms * budget / windows
        named: dict[str, int] = {}
        for record in found:
            for signal in _texts(record, "signals"):
                named[signal] = named.get(signal, 0) + 1
        most = ", ".join(f"{k} {v}" for k, v in sorted(named.items(), key=lambda p: -p[1])[:3])
        kept = "kept" if rate <= 1 else "**not kept**" if low > 1 else "**above**, not surely"
        if row in MOVED:
            kept = MOVED[row]
        elif rate > 1:
            missed.append(
                f"{row}: {per(rate)} false alarms in a budget's time ({low:.2f} to {high:.2f}); 1 is the goal"
            )
        out.append(
            [
                row,
                f"{len(found)} x {windows // len(found):,}",
                str(alarms),
                per(rate),
                f"{low:.2f} to {high:.2f}",
                kept,
                most,
            ]
        )
    head = ["stream", "windows", "alarms", "in a budget's time", "95 %", "budget of 1", "signals most often"]
    return markdown(head, out)


def real_table(store: Store, missed: list[str]) -> list[str]:
    """Alarms of ours on real tables."""
    out = []
    for row, what in REAL.items():
        found = store.all(row, "assay", "real")
        if not found:
            continue
        budgets = sum(number(r, "days") / number(r, "budget_days") for r in found)
        alarms = int(sum(number(r, "alarms") for r in found))
        windows = int(sum(number(r, "windows") for r in found))
        low, high = clopper_pearson(int(sum(number(r, "alarmed") for r in found)), windows)
        each = windows / budgets
        quiet = sum(number(r, "alarms") == 0 for r in found)
        stay, gone = (int(sum(number(r, name) for r in found)) for name in ("stay", "pass"))
        lasting = f"{stay} / {gone}" if what.order == "in order" else ""
        rate = alarms / budgets
        if rate > 1:
            sure = "" if what.order != "in order" else " (the table itself may have changed)"
            missed.append(f"{row}: {per(rate)} alarms in a budget's time ({low * each:.2f} to {high * each:.2f}){sure}")
        out.append(
            [
                row,
                f"{len(found)} x {number(found[0], 'days') / 365:.1f} years",
                f"{number(found[0], 'baseline'):.0f}",
                str(alarms),
                per(rate),
                f"{low * each:.2f} to {high * each:.2f}",
                f"{quiet} of {len(found)}",
                lasting,
            ]
        )
    head = ["table, order, window", "judged", "baseline windows", "alarms", "in a budget's time", "95 %"]
    return markdown([*head, "orders without any", "stay / pass"], out)


def real_details(store: Store) -> list[str]:
    """What was raised on the tables in their own order."""
    out = []
    for row, what in REAL.items():
        for record in store.all(row, "assay", "real") if what.order == "in order" else []:
            out += [f"* {row}: {text}" for text in _texts(record, "details")]
    return [*out, ""]


def delay_table(store: Store, missed: list[str]) -> list[str]:
    """How soon ours finds a change."""
    out = []
    for row, what in (CHANGED | PLANTED | RARER).items():
        for place, floors in enumerate(("default", "sensitive")):
            found = store.all(row, "assay", floors)
            if not found:
                continue
            rows = what.stream.rows
            at = [None if r["windows"] is None else number(r, "windows") * rows for r in found]
            here = [v for v in at if v is not None]
            median, late = quantile(at, 0.5), quantile(at, 0.9)
            named = sum(bool(set(what.signals) & set(_texts(r, "first"))) for r in found)
            goal = GOALS[row][place] if row in GOALS else 5000
            seen = sum(bool(_texts(r, "first")) for r in found)
            before = int(sum(number(r, "before") for r in found))
            others = sum(bool(_texts(r, "others")) for r in found)
            if median > goal:
                missed.append(f"{row}, floors {floors}: median {plain(median)} rows, {goal:,} is the goal")
            wanted = what.runs if floors == "default" else min(what.runs, FEWER)
            if len(found) < wanted:
                missed.append(f"{row}, floors {floors}: {len(found)} runs, {wanted} were wanted")
            if seen and named / seen < 0.95:
                missed.append(f"{row}, floors {floors}: named right in {named} of {seen}, 95 % is the goal")
            out.append(
                [
                    row,
                    floors,
                    f"{goal:,}",
                    plain(median),
                    plain(late),
                    f"{len(here)} of {len(found)}",
                    f"{named} of {seen}",
                    str(before),
                    str(others),
                    "met" if median <= goal else "**not met**",
                ]
            )
    head = ["change", "floors", "goal, rows", "median", "p90", "found", "named right at the first alarm"]
    return markdown([*head, "alarms before", "runs that name another", ""], out)


def _texts(record: Record, name: str) -> list[str]:
    value = record[name]
    return [str(one) for one in value] if isinstance(value, list) else []


def peer_unchanged_table(store: Store) -> list[str]:
    """False alarms of the peers, and how many times as many as ours."""
    out = []
    for row in UNCHANGED:
        ours = store.all(row, "assay")
        if not ours:
            continue
        mine = sum(number(r, "alarmed") for r in ours) / sum(number(r, "windows") for r in ours)
        for peer in PEERS:
            names = sorted({str(r["variant"]) for r in store.all(row, peer)} - {"asked"})
            for name in names:
                found = store.all(row, peer, name)
                windows = int(sum(number(r, "windows") for r in found))
                alarmed = int(sum(number(r, "alarmed") for r in found))
                low, high = clopper_pearson(alarmed, windows)
                share = alarmed / windows
                times = f"{share / mine:,.0f}" if mine else "ours raised none" if share else "neither any"
                out.append(
                    [
                        row,
                        f"{PEER_NAMES[peer]} {name}",
                        f"{windows:,}",
                        f"{share:.2%} ({low:.2%} to {high:.2%})",
                        per(share * 365),
                        times,
                    ]
                )
    head = ["stream", "peer", "windows", "share with an alarm (95 %)", "in 365 windows", "times ours"]
    return markdown(head, out)


def peer_delay_table(store: Store) -> list[str]:
    """How soon the peers find a change, beside ours."""
    out = []
    for row in WATCHES:
        what = CHANGED[row]
        ours = store.all(row, "assay", "default")
        if not ours:
            continue
        mine = quantile([None if r["windows"] is None else number(r, "windows") * what.stream.rows for r in ours], 0.5)
        out.append([row, "**assay**", _of(ours, "windows"), plain(mine), _rate(ours, "before", "live"), "1"])
        for peer in PEERS:
            names = sorted({str(r["variant"]) for r in store.all(row, peer)} - {"asked"})
            for name in names:
                found = store.all(row, peer, name)
                at = quantile([None if r["delay"] is None else number(r, "delay") for r in found], 0.5)
                ratio = f"{at / mine:.2f}" if math.isfinite(at) and math.isfinite(mine) else ""
                before = _rate(found, "alarmed", "windows")
                out.append([row, f"{PEER_NAMES[peer]} {name}", _of(found, "delay"), plain(at), before, ratio])
    head = ["change", "who", "found", "median rows", "windows with an alarm before the change", "median / ours"]
    return markdown(head, out)


def _of(found: Sequence[Record], name: str) -> str:
    return f"{sum(r[name] is not None for r in found)} of {len(found)}"


def _rate(found: Sequence[Record], events: str, windows: str) -> str:
    many, of = sum(number(r, events) for r in found), sum(number(r, windows) for r in found)
    return f"{many / of:.2%}" if of else ""


def missing(store: Store) -> list[str]:
    """Peers that were not set up, or did not answer."""
    out = [f"* {PEER_NAMES[p]}: `make bench-peers` has not set it up." for p in PEERS if not there(p)]
    asked = {str(r["who"]) for r in store.records}
    out += [f"* {PEER_NAMES[p]}: not asked, or no answer when the run ended." for p in PEERS if p not in asked]
    whys = {(str(r["who"]), str(r["row"]), str(r["why"])) for r in store.records if r.get("why")}
    return out + [f"* {PEER_NAMES[who]}, {row}: {why}" for who, row, why in sorted(whys)]


def earlier(store: Store) -> list[str]:
    """Our rows that were measured by other code than most of the changes were."""
    ours = {row: {str(r["of"]) for r in store.all(row, "assay")} for row in UNCHANGED | SHORT | TIMED | CHANGED}
    ours |= {row: {str(r["of"]) for r in store.all(row, "assay")} for row in PLANTED | RARER | REAL}
    counted = Counter(str(r["of"]) for row in CHANGED for r in store.all(row, "assay"))
    newest = {of for of, _ in counted.most_common(1)}
    old = [row for row, codes in ours.items() if codes - newest]
    return [f"Measured with earlier code of the monitor, not since: {'; '.join(old)}.", ""] if old else []


def render(store: Store, about: str) -> str:
    """The whole page."""
    missed: list[str] = []
    parts = [
        ("No change: every alarm is false", STILL, unchanged_table(store, UNCHANGED | SHORT, missed)),
        ("Changes", DELAYS, delay_table(store, missed)),
        ("Hours of the day, and a trend inside the baseline", HOURLY, unchanged_table(store, TIMED, missed)),
        ("Real tables", TABLES, [*real_table(store, missed), *real_details(store)]),
        ("The peers on unchanged streams", PEERS_STILL, peer_unchanged_table(store)),
        ("The peers on the same changes", PEERS_DELAYS, peer_delay_table(store)),
        ("Peers without a figure", "", missing(store)),
    ]
    lines = ["# What the monitor raises, and what it misses", "", about, "", OVERVIEW, "", *earlier(store)]
    lines += ["## Not met", "", *([f"* {each}" for each in missed] or ["Every goal measured here is met."]), ""]
    for title, words, body in parts:
        if any(body):
            lines += [f"## {title}", "", *([words, ""] if words else []), *body]
    return "\n".join(lines).rstrip() + "\n"
