"""What differs between two fingerprints of a table, down to the row. Pure: nothing is read again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.findings import Finding, Number, Severity
from assay.lineage.align import Ints, as_bag, in_order, rest
from assay.lineage.fingerprint import DatasetFingerprint
from assay.lineage.rows import DIGEST_BYTES

_SHOWN = 20  # rows that a sentence names
_LISTED = 10_000  # stretches of rows that a finding's numbers list; ``difference`` has them all


@dataclass(frozen=True, slots=True)
class Difference:
    """Which rows differ, by 0-based position among the data rows of all files in order.

    Attributes:
        label_changed: (row before, row now) with the same features and another label.
        row_changed: (row before, row now) with other features. When the order is lost, the two sides are right
            as sets, but which row became which cannot be told.
        removed: Rows before that are gone.
        added: Rows now that were not there.
        moved: How many unaltered rows stand in another place of the order.
        order_kept: Whether most rows still follow one another as before.
    """

    label_changed: tuple[tuple[int, int], ...]
    row_changed: tuple[tuple[int, int], ...]
    removed: tuple[int, ...]
    added: tuple[int, ...]
    moved: int
    order_kept: bool


def compare(old: DatasetFingerprint, new: DatasetFingerprint) -> tuple[Finding, ...]:
    """What happened to a table between two fingerprints; severity ``info`` alone means the same data.

    Args:
        old: The fingerprint that is trusted, with its sidecar if rows are to be named.
        new: The fingerprint of what is there now.

    Returns:
        Nothing for the same files; ``data.rewritten`` and ``data.reordered`` (info) for the same rows in other
        files or another order; else one finding for each kind of change. ``numbers["rows"]`` lists the rows.
    """
    columns = _columns(old, new)
    if {name for name, _ in old.columns} != {name for name, _ in new.columns}:
        return columns
    if old.multiset_root == new.multiset_root:
        return columns + _same_rows(old, new)
    if old.row_digests is None or new.row_digests is None:
        return (*columns, _unnamed(old, new))
    return columns + _rows(old, new, difference(old, new))


def difference(old: DatasetFingerprint, new: DatasetFingerprint) -> Difference:
    """Exactly which rows differ; both fingerprints must have their sidecars and the same columns.

    Equal rows are matched in order first, then wherever they are; of what is left, rows with equal features are
    label changes, and rows left in the same place between matched neighbours are changed rows.

    Raises:
        ValueError: A sidecar is not at hand.
    """
    if old.row_digests is None or new.row_digests is None:
        raise ValueError("rows can only be named with the sidecars of both fingerprints")
    was, now = _integers(old.row_digests, new.row_digests)
    kept_old, kept_new = in_order(was, now)
    left_old, left_new = rest(len(was), kept_old), rest(len(now), kept_new)
    bag_old, bag_new = as_bag(was[left_old], now[left_new])
    order_kept = len(kept_old) >= len(bag_old)
    left_old, left_new = np.delete(left_old, bag_old), np.delete(left_new, bag_new)
    flips: list[tuple[int, int]] = []
    if old.label == new.label and old.feature_digests is not None and new.feature_digests is not None:
        flips, left_old, left_new = _flips(old.feature_digests, new.feature_digests, left_old, left_new)
    if order_kept:
        # Rows left between the same two neighbours stand for one another.
        gap_old, gap_new = np.searchsorted(kept_old, left_old), np.searchsorted(kept_new, left_new)
        at_old, at_new = as_bag(gap_old, gap_new)
    else:
        several = np.arange(len(left_old) if len(left_old) == len(left_new) else 0)
        at_old, at_new = several, several
    return Difference(
        label_changed=tuple(sorted(flips, key=lambda pair: pair[1])),
        row_changed=tuple(sorted(_pairs(left_old[at_old], left_new[at_new]), key=lambda pair: pair[1])),
        removed=tuple(np.delete(left_old, at_old).tolist()),
        added=tuple(np.delete(left_new, at_new).tolist()),
        moved=len(bag_old),
        order_kept=order_kept,
    )


def _integers(old: bytes, new: bytes) -> tuple[Ints, Ints]:
    """Equal integers for equal digests."""
    halves = np.frombuffer(old + new, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    ranked = halves[order]
    fresh = np.ones(len(ranked), dtype=np.int64)
    fresh[1:] = np.any(ranked[1:] != ranked[:-1], axis=1)
    found = np.empty(len(ranked), dtype=np.int64)
    found[order] = np.cumsum(fresh) - 1
    cut = len(old) // DIGEST_BYTES
    return found[:cut], found[cut:]


def _flips(old: bytes, new: bytes, left_old: Ints, left_new: Ints) -> tuple[list[tuple[int, int]], Ints, Ints]:
    """Rows whose features are unaltered, so that only their label can differ; and what is left then."""
    was, now = _integers(_taken(old, left_old), _taken(new, left_new))
    first_old, first_new = in_order(was, now)
    others_old, others_new = rest(len(was), first_old), rest(len(now), first_new)
    bag_old, bag_new = as_bag(was[others_old], now[others_new])
    at_old = np.concatenate([first_old, others_old[bag_old]])
    at_new = np.concatenate([first_new, others_new[bag_new]])
    flips = _pairs(left_old[at_old], left_new[at_new])
    return flips, np.delete(left_old, at_old), np.delete(left_new, at_new)


def _taken(digests: bytes, rows: Ints) -> bytes:
    return np.frombuffer(digests, dtype=f"V{DIGEST_BYTES}")[rows].tobytes()


def _pairs(old: Ints, new: Ints) -> list[tuple[int, int]]:
    return list(zip(old.tolist(), new.tolist(), strict=True))


def _columns(old: DatasetFingerprint, new: DatasetFingerprint) -> tuple[Finding, ...]:
    was, now = dict(old.columns), dict(new.columns)
    found = [
        Finding("data.column-removed", name, Severity.ERROR, f"The column {name!r} is gone.")
        for name in was
        if name not in now
    ]
    found += [
        Finding("data.column-added", name, Severity.ERROR, f"The column {name!r} was not there before.")
        for name in now
        if name not in was
    ]
    found += [
        Finding(
            "data.column-retyped",
            name,
            Severity.WARNING,
            f"The column {name!r} held {was[name]} and now holds {now[name]}.",
        )
        for name in was
        if name in now and "empty" not in (was[name], now[name]) and was[name] != now[name]
    ]
    return tuple(found)


def _same_rows(old: DatasetFingerprint, new: DatasetFingerprint) -> tuple[Finding, ...]:
    found = []
    if sorted(old.files.values()) != sorted(new.files.values()):
        sentence = f"Other files hold the same {new.rows} rows: a re-encoded or re-partitioned copy."
        found.append(Finding("data.rewritten", _named(new), Severity.INFO, sentence, {"rows_count": new.rows}))
    if old.ordered_root != new.ordered_root:
        found.append(_reordered(new, f"The same {new.rows} rows stand in another order."))
    return tuple(found)


def _reordered(new: DatasetFingerprint, sentence: str) -> Finding:
    return Finding("data.reordered", _named(new), Severity.INFO, sentence)


def _unnamed(old: DatasetFingerprint, new: DatasetFingerprint) -> Finding:
    numbers: dict[str, Number] = {"rows_before": old.rows, "rows_now": new.rows}
    why = "Which rows cannot be told without the digests of single rows."
    if old.label is not None and old.label == new.label and old.features_root == new.features_root:
        sentence = f"The features are unaltered, labels in {old.label!r} are not. {why}"
        return Finding("data.label-changed", old.label, Severity.CRITICAL, sentence, numbers)
    sentence = f"The rows are not those that were fingerprinted ({old.rows} before, {new.rows} now). {why}"
    return Finding("data.changed", _named(new), Severity.ERROR, sentence, numbers)


def _rows(old: DatasetFingerprint, new: DatasetFingerprint, what: Difference) -> tuple[Finding, ...]:
    found = []
    if what.label_changed:
        rows = [now for _, now in what.label_changed]
        sentence = f"{_count(rows)} another label in {new.label!r} and unaltered features: {_spelled(rows, new)}."
        numbers = _numbers(rows) | {"rows_before": _stretches([was for was, _ in what.label_changed])}
        found.append(Finding("data.label-changed", str(new.label), Severity.CRITICAL, sentence, numbers))
    if what.row_changed:
        rows = sorted(now for _, now in what.row_changed)
        sentence = f"{_count(rows)} other values: {_spelled(rows, new)}."
        if not what.order_kept:
            sentence += " The order is lost: which row before became which cannot be told."
        numbers = _numbers(rows) | {"rows_before": _stretches(sorted(was for was, _ in what.row_changed))}
        found.append(Finding("data.row-changed", _named(new), Severity.ERROR, sentence, numbers))
    for rule, rows, side, verb in (
        ("data.row-removed", list(what.removed), old, "gone: "),
        ("data.row-added", list(what.added), new, "new: "),
    ):
        if rows:
            sentence = f"{len(rows)} {'row is' if len(rows) == 1 else 'rows are'} {verb}{_spelled(rows, side)}."
            found.append(Finding(rule, _named(side), Severity.ERROR, sentence, _numbers(rows)))
    if what.moved:
        found.append(_reordered(new, f"{what.moved} unaltered rows stand in another place."))
    return tuple(found)


def _count(rows: list[int]) -> str:
    return "1 row has" if len(rows) == 1 else f"{len(rows)} rows have"


def _numbers(rows: list[int]) -> dict[str, Number]:
    return {"rows_count": len(rows), "rows": _stretches(rows)}


def _stretches(rows: list[int]) -> str:
    """``3,17,20-25``: each row by its position, cut after 10,000 stretches."""
    found: list[list[int]] = []
    for row in rows:
        if found and row == found[-1][1] + 1:
            found[-1][1] = row
        else:
            found.append([row, row])
    text = ",".join(f"{low}-{high}" if high > low else str(low) for low, high in found[:_LISTED])
    return text + (",…" if len(found) > _LISTED else "")


def _spelled(rows: list[int], side: DatasetFingerprint) -> str:
    """The first rows for a sentence; with more than one file, also where in which."""
    ends = np.cumsum(list(side.file_rows.values()))
    names = list(side.file_rows)
    words = []
    for row in rows[:_SHOWN]:
        at = int(np.searchsorted(ends, row, side="right"))
        within = row - (int(ends[at - 1]) if at else 0)
        words.append(str(row) if len(names) == 1 else f"{row} ({names[at]} {within})")
    return "row " + ", ".join(words) + (", …" if len(rows) > _SHOWN else "")


def _named(side: DatasetFingerprint) -> str:
    names = list(side.files)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 - three fit a line
