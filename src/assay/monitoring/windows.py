"""Cuts a table into complete windows and counts every signal in them.

A window is a span of time, ``1d``, aligned to UTC (to Monday when it is whole weeks), or a number of rows,
``1000rows``. Only complete windows are counted; what is not counted is told in a finding.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, repeat, takewhile

from assay.engines.base import ColumnFamily, CountQuery, Engine, Source, Tally, WindowRows
from assay.engines.forbearing import Forbearing
from assay.engines.stamps import Files
from assay.errors import ConfigError, TableError
from assay.findings import Finding, Severity
from assay.monitoring.folding import Asking, fold
from assay.monitoring.late import late
from assay.monitoring.looking import MOST_IDS, Look, Looker, Met
from assay.monitoring.questions import ask
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.settled import Counts, Settled, What, files_of
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.strange import about_columns, about_outside, about_rows, about_windows, odd_values
from assay.monitoring.stray import Times, look
from assay.storage.clock import from_text, parse_span, utc_text

MOST_WINDOWS = 20_000
"""Windows of one count; more say that the window is too narrow for the table."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)
INSTANT = timedelta(microseconds=1)

_ROWS = re.compile(r"([0-9]{1,9})\s*rows")

GAPS = 10
"""A border window is partial when more than so many mean distances between rows are empty at its border."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Windows and what was strange about the table.

    Attributes:
        windows: Complete windows in time order; those without rows among them.
        findings: What is missing, unreadable, odd or was not counted.
        settled: Live windows that need not be counted again while their files stay as they are.
    """

    windows: tuple[WindowCounts, ...]
    findings: tuple[Finding, ...]
    settled: Counts | None = None


def parse_window(window: str) -> timedelta | int:
    """How windows are cut: a span of time, or a number of rows.

    Raises:
        ConfigError: When it is neither.
    """
    match = _ROWS.fullmatch(window.strip())
    if match is None:
        try:
            return parse_span(window)
        except ConfigError as err:
            raise ConfigError(f"found the window {window!r}; write a span (1d, 6h) or a number (1000rows)") from err
    if int(match[1]) == 0:
        raise ConfigError(f"found the window {window!r}; it must have at least one row")
    return int(match[1])


def floor_to(time: datetime, width: timedelta) -> datetime:
    """The start of the window that a time is in: spans are aligned to UTC, whole weeks to Monday."""
    origin = MONDAY if width % WEEK == timedelta(0) else EPOCH
    return origin + (time - origin) // width * width


def cut(
    engine: Engine,
    source: Source,
    schema: PredictionSchema,
    window: str,
    *,
    times: Times | None = None,
    after: datetime | None = None,
    through: datetime | None = None,
) -> tuple[datetime, ...]:
    """The ends of the complete windows of a table: every two neighbours enclose one. Empty when there is none.

    Args:
        engine: What reads the table.
        source: The table.
        schema: What its columns mean.
        window: A span or a number of rows.
        times: From when to when its rows can be judged: needed where ``after`` or ``through`` is not given.
        after: End of the last window before, or a deployment; spans begin with the next that is whole from
            there on. None begins with the first row.
        through: Reading of the clock: windows that end by then are complete, with rows or without. None takes
            every window up to the last row, and where rows later than that are left out, up to that.

    Raises:
        ConfigError: When there would be more than `MOST_WINDOWS`.
        TableError: When the table cannot be read.
    """
    width = parse_window(window)
    first, last = (after or times.first, times.last) if times is not None else (after, None)
    if isinstance(width, int):
        left_out = through if through is not None else last if times is not None and times.ends else None
        return _by_rows(engine, source, schema.time, width, since=first, last=left_out)
    if through is None and times is not None and last is not None:
        through = floor_to(last, width) + width
        # A window that rows of the future are in is not over: nobody has lived through it.
        if times.ends and times.future.first is not None and times.future.first < through:
            through -= width
    if first is None or through is None:
        return ()
    # The window that a deployment falls into is half another model's: it begins with the next one.
    start = floor_to(first, width) if after is None else floor_to(after + width - INSTANT, width)
    number = max(0, (through - start) // width)
    if number > MOST_WINDOWS:
        raise ConfigError(
            f"{number:,} windows of {window} from {start:%Y-%m-%d} to {through:%Y-%m-%d} are too many: widen the "
            f"window, or leave out rows whose {schema.time} is wrong"
        )
    return tuple(start + i * width for i in range(number + 1)) if number else ()


def _by_rows(
    engine: Engine, source: Source, time: str, rows: int, *, since: datetime | None, last: datetime | None
) -> tuple[datetime, ...]:
    """The ends of windows of so many rows, of which none is later than the last."""
    cuts = engine.steps(source, time, rows, since=since)
    if last is not None and cuts and cuts[-1] > last + INSTANT:
        cuts = tuple(one for one in cuts if one <= last)
        if cuts:
            left = engine.counts(source, CountQuery(time, (cuts[-1], last + INSTANT), ())).windows[0]
            cuts += (left.last + INSTANT,) if left.last is not None and left.rows >= rows else ()
    return cuts if len(cuts) > 1 else ()


def count(
    engine: Engine,
    source: Source | Files,
    schema: PredictionSchema,
    specs: Sequence[SignalSpec],
    *,
    window: str,
    now: datetime,
    families: Mapping[str, ColumnFamily],
    live: bool,
    known: Sequence[WindowCounts] = (),
    earlier: Sequence[WindowCounts] = (),
    since: datetime | None = None,
    settled: Counts | None = None,
    answered: datetime | None = None,
) -> Counted:
    """Count every signal in every complete window of a table.

    Args:
        engine: What reads the table.
        source: The table; as files where it was looked at already.
        schema: What its columns mean.
        specs: The signals.
        window: A span or a number of rows.
        now: The reading of the clock. Rows after it are counted when their time has come; in a finished table not at
            all, but where they are most of it.
        families: The columns of the baseline's table by the family of their type.
        live: Whether rows still come: then empty spans up to ``now`` are windows too. Of a finished table, the
            first and the last span are left out where they are clearly partial.
        known: Windows counted before, to be counted again for late rows and labels. New ones follow the last.
        earlier: Windows counted before these, not to be counted again: rows that have come in them since are told.
        since: Where to begin when none is known; None begins with the first row.
        settled: What an earlier count has left: spares counting windows again whose files have not changed, and
            changes nothing else.
        answered: Labels of rows that were answered before are not counted, because another model answered them; None
            for all. The same as for ``settled``.

    Raises:
        TableError: When the table cannot be read or has no time column.
        ConfigError: When there are too many windows.
    """
    if isinstance(source, Source):
        source = Files.of(source) if live else Files(source)
    files = source
    before = settled if settled is not None and settled.fits(files.types, schema, specs) else None
    columns = engine.columns(files.newest()) if before is None else before.of.columns
    if schema.time not in columns:
        raise TableError(f"the table has no column {schema.time!r}, which is declared as time")
    there = _asked(specs, schema, columns, answered) if before is None else before.asking
    findings = about_columns(schema, specs, columns, families, live=live)
    watched = sorted({column for one in there.asked.values() for column in one.columns})
    spans = [(from_text(one.start), from_text(one.end)) for one in known]
    seen = spans[0][0] if spans else None
    after = spans[-1][1] if spans else since
    times = look(engine, files.source, schema.time, parse_window(window), now=now, live=live) if after is None else None
    findings += times.findings(schema.time, now, live=live) if times is not None else ()
    through = now if live else None
    spans += list(pairwise(cut(engine, files.source, schema, window, times=times, after=after, through=through)))
    met = Met() if before is None else before.met
    looker = Looker(engine, files, schema, columns, watched, now, seen, met)
    if live and spans:
        what = What(schema, tuple(specs), columns)
        counted, outside = _live(looker, what, spans, known=known, there=there, findings=findings, settled=before)
        told = _told_of_rows(looker, earlier, outside, recounted=len(known))
        return replace(counted, findings=(*counted.findings, *told))
    findings += about_rows(looker.whole(), schema, live=live)
    if not spans:
        return Counted((), (*findings, _no_window(schema, window)))
    windows, tally = _tallied(engine, files, schema, specs, there=there, columns=columns, spans=spans)
    odd = list(zip(windows, odd_values(tally, there.asked), strict=True))
    windows, partial = _without_partial(windows, tally, by_rows=isinstance(parse_window(window), int))
    behind = tally.after - (times.behind if times is not None else 0)
    waiting = about_outside(0, behind, looker.labels_behind(spans[-1][1]))
    told = about_windows(windows, odd, there.asked)
    return Counted(windows, (*findings, *partial, *waiting, *told))


def _asked(
    specs: Sequence[SignalSpec], schema: PredictionSchema, columns: Collection[str], answered: datetime | None
) -> Asking:
    """The questions whose columns are there."""
    asked = ask(specs, schema)
    there = {k: one for k, one in asked.items() if all(column in columns for column in one.columns)}
    return Asking.of(there, specs, answered=answered)


def _live(
    looker: Looker,
    what: What,
    spans: Sequence[tuple[datetime, datetime]],
    *,
    known: Sequence[WindowCounts],
    there: Asking,
    findings: tuple[Finding, ...],
    settled: Counts | None,
) -> tuple[Counted, tuple[int, int]]:
    """Count live windows, but for those before the first whose files are not what they were when it was counted.

    Returns:
        What was found, but for the rows outside of all windows; and how many the engine met before, and after.
    """
    files, schema, specs, columns = looker.files, what.schema, what.specs, what.columns
    names = [(utc_text(start), utc_text(end)) for start, end in spans]
    each = files_of(files, spans, columns, schema=schema, questions=there.questions)
    still: list[Settled | None] = [None] * len(spans)
    looks: Sequence[Look | None] = [None] * len(spans)
    if each is not None and settled is not None:
        still = [settled.still(name, mine) for name, mine in zip(names, each, strict=True)]
        still = [*map(_same, still, known), *still[len(known) :]]
        looks = [one.look if one is not None else None for one in still]
    if each is not None and settled is not None and known and sum(one.rows for one in known) <= MOST_IDS:
        oddities, looks = looker.by_windows(each, looks, [one is not None for one in still])
    else:
        oddities = looker.whole()
    findings += about_rows(oddities, schema, live=True)
    done = [one for one in takewhile(lambda one: one is not None, still) if one is not None]
    outside = 0, 0
    if len(done) < len(spans):
        some = spans[len(done) :]
        # An engine that is given no file of these times reads another one, to know the columns.
        nothing = each is not None and any(each) and not any(each[len(done) :])
        given = None if nothing else files
        windows, tally = _tallied(looker.engine, given, schema, specs, there=there, columns=columns, spans=some)
        outside = tally.before, tally.after
        if outside[0] and done:  # rows that no file of these windows promises: they may be in those before
            done, some = [], spans
            windows, tally = _tallied(looker.engine, files, schema, specs, there=there, columns=columns, spans=some)
            outside = tally.before, tally.after
        odd = odd_values(tally, there.asked)
        cuts = {utc_text(end): place for place, end in enumerate(sorted({end for span in some for end in span}))}
        mine = each[len(done) :] if each is not None else repeat(())
        done += [Settled(one, odd[cuts[one.start]], own) for one, own in zip(windows, mine, strict=False)]
    found = tuple(one.window for one in done)
    told = about_windows(found, [(one.window, one.odd) for one in done], there.asked)
    kept = None
    # A file that was left out is looked for again: nothing else would tell of it.
    lacking = isinstance(looker.engine, Forbearing) and looker.engine.left_out
    if each is not None and outside == (0, 0) and not lacking:
        pairs = zip(done, looks, strict=True)
        seen = (one if one.look is look else replace(one, look=look) for one, look in pairs)
        kept = Counts(what, files.types, there, dict(zip(names, seen, strict=True)), looker.met)
    return Counted(found, (*findings, *told), kept), outside


def _told_of_rows(
    looker: Looker, earlier: Sequence[WindowCounts], outside: tuple[int, int], *, recounted: int
) -> tuple[Finding, ...]:
    """Rows that came too late, that are older than the first window, or that wait for the end of theirs."""
    before, after = outside
    if not earlier or looker.since is None:
        return about_outside(before, after)
    files, schema = looker.files, looker.schema
    found = late(
        looker.engine,
        files,
        schema.time,
        earlier,
        looker.since,
        before=before,
        whole=not files.recorded or schema.label_time in looker.columns,
    )
    return (*found.findings(recounted), *about_outside(found.older, after))


def _same(one: Settled | None, known: WindowCounts) -> Settled | None:
    """With the window that is known, where it is the same: one object is compared with itself at once."""
    if one is None or one.window is known or one.window != known:
        return one
    return replace(one, window=known)


def _no_window(schema: PredictionSchema, window: str) -> Finding:
    return Finding("window.none", schema.time, Severity.WARNING, f"no window of {window} is complete yet")


def _tallied(
    engine: Engine,
    files: Files | None,
    schema: PredictionSchema,
    specs: Sequence[SignalSpec],
    *,
    there: Asking,
    columns: Collection[str],
    spans: Sequence[tuple[datetime, datetime]],
) -> tuple[tuple[WindowCounts, ...], Tally]:
    """Ask the engine once for all windows, and fold its answer into the bins of the signals; no files have no rows."""
    cuts = sorted({end for span in spans for end in span})
    query = _query(schema, columns, cuts, there)
    if files is None:
        tally = Tally((WindowRows(0),) * (len(cuts) - 1), {one.name: {} for one in there.questions})
    else:
        tally = engine.counts(files.some(None if query.label_time else cuts[0], cuts[-1]), query)
    counts = fold(tally, specs, there, columns)
    places = {start: place for place, start in enumerate(cuts)}
    windows = tuple(
        WindowCounts(utc_text(start), utc_text(end), tally.windows[places[start]].rows, counts[places[start]])
        for start, end in spans
    )
    return windows, tally


def _query(schema: PredictionSchema, columns: Collection[str], cuts: Sequence[datetime], there: Asking) -> CountQuery:
    came = schema.label_time if schema.label_time in columns else None
    label = schema.label if schema.label in columns else None
    return CountQuery(schema.time, tuple(cuts), there.questions, label=label, label_time=came, answered=there.answered)


def _without_partial(
    windows: tuple[WindowCounts, ...], tally: Tally, *, by_rows: bool
) -> tuple[tuple[WindowCounts, ...], tuple[Finding, ...]]:
    """Leave out the first and the last span of a finished table where its rows clearly begin late or end early.

    Clearly: the empty border is longer than `GAPS` mean distances between rows, and than twice the longest such
    border of the windows between. With no windows between there is nothing to compare with, and all are kept.
    """
    if by_rows or len(windows) < 3:  # noqa: PLR2004 - the first, the last, and one between
        return windows, ()
    heads, tails = [], []
    for window, rows in zip(windows, tally.windows, strict=True):
        start, end = from_text(window.start), from_text(window.end)
        heads.append(end - start if rows.first is None else rows.first - start)
        tails.append(end - start if rows.last is None else end - rows.last - INSTANT)
    out = []
    for place, borders, word in ((0, heads, "begin"), (-1, tails, "end")):
        mean = (from_text(windows[place].end) - from_text(windows[place].start)) / max(windows[place].rows, 1)
        if borders[place] > GAPS * mean and borders[place] > 2 * max(borders[1:-1]):
            out.append((place, word))
    findings = tuple(
        Finding(
            "window.partial",
            windows[place].start,
            Severity.INFO,
            f"the rows {word} inside the window of {windows[place].start}: it is partial and was not counted",
            {"rows": windows[place].rows},
        )
        for place, word in out
    )
    left = {windows[place].start for place, _ in out}
    return tuple(window for window in windows if window.start not in left), findings
