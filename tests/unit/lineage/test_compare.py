from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from assay.findings import Finding, Severity
from assay.lineage.align import as_bag, in_order
from assay.lineage.compare import Difference, compare, difference
from assay.lineage.fingerprint import DatasetFingerprint, fingerprint

ROWS = 3000
Rows = np.ndarray[tuple[int, int], np.dtype[np.float64]]  # columns: a, b, y


def make(seed: int = 5, rows: int = ROWS) -> Rows:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.normal(size=rows), rng.normal(size=rows), rng.integers(0, 2, rows)])


def marked(folder: Path, rows: Rows, name: str = "t") -> DatasetFingerprint:
    table = pa.table({"a": rows[:, 0], "b": rows[:, 1], "y": rows[:, 2].astype(np.int64)})
    parquet.write_table(table, folder / f"{name}.parquet")
    return fingerprint(folder / f"{name}.parquet", label="y")


def seen(folder: Path, old: Rows, new: Rows) -> Difference:
    return difference(marked(folder, old, "old"), marked(folder, new, "new"))


def flipped(rows: Rows, at: list[int]) -> Rows:
    rows = rows.copy()
    rows[at, 2] = 1 - rows[at, 2]
    return rows


def same(rows: list[int]) -> tuple[tuple[int, int], ...]:
    return tuple((row, row) for row in rows)


def test_an_unaltered_table_gives_no_finding(tmp_path: Path) -> None:
    mark = marked(tmp_path, make())
    assert compare(mark, mark) == ()


def test_label_flips_and_feature_edits_are_told_apart(tmp_path: Path) -> None:
    new = flipped(make(), [3, 4, 2999])
    new[[7, 8, 100], [0, 1, 0]] += 1e-12
    what = seen(tmp_path, make(), new)
    assert what == Difference(same([3, 4, 2999]), same([7, 8, 100]), (), (), moved=0, order_kept=True)


def test_a_row_with_another_label_and_other_features_is_a_changed_row(tmp_path: Path) -> None:
    new = flipped(make(), [5])
    new[5, 0] += 1
    assert seen(tmp_path, make(), new).row_changed == same([5])


def test_insertions_and_deletions_do_not_make_the_rows_after_them_changed(tmp_path: Path) -> None:
    old = make()
    new = np.delete(flipped(old, [1500]), [10, 11, 2000], axis=0)
    new = np.insert(new, [0, 600], make(seed=6, rows=2), axis=0)  # new rows 0 and 601
    new[50, 1] = 9.0  # was row 51: one inserted before, two removed
    what = seen(tmp_path, old, new)
    assert what == Difference(((1500, 1500),), ((51, 50),), (10, 11, 2000), (0, 601), moved=0, order_kept=True)


def test_after_a_shuffle_flips_and_edits_are_still_named(tmp_path: Path) -> None:
    old = make()
    order = np.random.default_rng(1).permutation(ROWS)
    new = flipped(old, [3, 40, 500])
    new[[9, 90], 0] = 7.0
    where = np.argsort(order)  # where each old row stands now
    what = seen(tmp_path, old, new[order])
    assert set(what.label_changed) == {(row, int(where[row])) for row in (3, 40, 500)}
    assert {was for was, _ in what.row_changed} == {9, 90}
    assert {now for _, now in what.row_changed} == {int(where[9]), int(where[90])}
    assert what.removed == what.added == ()
    assert not what.order_kept


def test_after_a_shuffle_rows_that_came_and_went_are_counted_as_such(tmp_path: Path) -> None:
    old = make()
    order = np.random.default_rng(2).permutation(ROWS - 2)
    new = np.vstack([np.delete(old, [17, 18], axis=0)[order], make(seed=8, rows=1)])
    what = seen(tmp_path, old, new)
    assert (what.removed, what.added, what.row_changed) == ((17, 18), (ROWS - 2,), ())


def test_a_block_moved_to_the_end_is_moved_not_changed(tmp_path: Path) -> None:
    old = make()
    what = seen(tmp_path, old, flipped(np.vstack([old[100:], old[:100]]), [ROWS - 1]))
    assert what == Difference(((99, ROWS - 1),), (), (), (), moved=99, order_kept=True)


def test_a_duplicated_row_is_named_at_its_own_place(tmp_path: Path) -> None:
    old = make(rows=300)
    old[:] = old[np.arange(300) % 6]  # six rows, fifty times each
    old[:, 2] = np.arange(300) % 2
    new = flipped(old, [31, 120])
    assert seen(tmp_path, old, new).label_changed == same([31, 120])
    again = seen(tmp_path, old, np.vstack([old[:200], old[:1], old[200:]]))  # an extra copy of row 0 at 200
    assert (again.added, again.removed, again.label_changed, again.moved) == ((200,), (), (), 0)
    fewer = seen(tmp_path, old, np.delete(old, 77, axis=0))
    assert (fewer.added, fewer.removed, fewer.moved) == ((), (77,), 0)


def test_one_copy_of_a_duplicate_too_many_is_no_shuffle(tmp_path: Path) -> None:
    old = make(rows=4)
    old[1] = old[0]
    new = old.copy()
    new[2] = old[0]  # the set of rows would shrink by one; the count of a copy grows
    assert seen(tmp_path, old, new).row_changed == ((2, 2),)


def test_every_label_flipped_is_only_labels(tmp_path: Path) -> None:
    what = seen(tmp_path, make(), flipped(make(), list(range(ROWS))))
    assert what.label_changed == same(list(range(ROWS)))
    assert what.row_changed == ()


def test_every_feature_edited_is_every_row_in_its_place(tmp_path: Path) -> None:
    assert seen(tmp_path, make(), np.add(make(), [1e-9, 0, 0])).row_changed == same(list(range(ROWS)))


def rules(found: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.rule: finding for finding in found}


def test_findings_name_rows_by_kind_of_change(tmp_path: Path) -> None:
    new = flipped(make(), [3, 20, 21, 22])
    new[7, 0] = 1
    found = rules(compare(marked(tmp_path, make()), marked(tmp_path, new)))
    assert set(found) == {"data.label-changed", "data.row-changed"}
    assert found["data.label-changed"].severity is Severity.CRITICAL
    assert found["data.label-changed"].subject == "y"
    assert found["data.label-changed"].numbers == {"rows_count": 4, "rows": "3,20-22", "rows_before": "3,20-22"}
    assert found["data.row-changed"].numbers["rows"] == "7"
    assert "row 3, 20, 21, 22" in found["data.label-changed"].detail


def test_findings_name_the_file_and_the_row_in_it_when_there_are_several(tmp_path: Path) -> None:
    def parts(rows: Rows) -> DatasetFingerprint:
        (tmp_path / "p").mkdir(exist_ok=True)
        marked(tmp_path / "p", rows[:1000], "a")
        marked(tmp_path / "p", rows[1000:], "b")
        return fingerprint(tmp_path / "p", label="y")

    (finding,) = compare(parts(make()), parts(flipped(make(), [999, 1005])))
    assert "999 (a.parquet 999), 1005 (b.parquet 5)" in finding.detail


@pytest.mark.parametrize(
    ("edit", "rule", "rows"),
    [
        (lambda rows: rows[:-2], "data.row-removed", "2998-2999"),
        (lambda rows: np.vstack([rows, rows[:1] + 5]), "data.row-added", "3000"),
    ],
)
def test_rows_removed_and_added_are_named(edit: Callable[[Rows], Rows], rule: str, rows: str, tmp_path: Path) -> None:
    (finding,) = compare(marked(tmp_path, make()), marked(tmp_path, edit(make())))
    assert (finding.rule, finding.numbers["rows"], finding.severity) == (rule, rows, Severity.ERROR)


def test_without_sidecars_a_change_is_still_found_and_labels_told_apart(tmp_path: Path) -> None:
    def bare(mark: DatasetFingerprint) -> DatasetFingerprint:
        return DatasetFingerprint.parse(mark.to_json())

    old, flips = marked(tmp_path, make()), marked(tmp_path, flipped(make(), [3]))
    edits = marked(tmp_path, np.add(make(), [1, 0, 0]))
    assert [finding.rule for finding in compare(bare(old), flips)] == ["data.label-changed"]
    assert [finding.rule for finding in compare(bare(old), edits)] == ["data.changed"]
    with pytest.raises(ValueError, match="sidecars"):
        difference(bare(old), flips)


def test_columns_that_come_go_or_turn_into_text_are_named(tmp_path: Path) -> None:
    def of(columns: dict[str, list[object]]) -> DatasetFingerprint:
        parquet.write_table(pa.table(columns), tmp_path / "c.parquet")
        return fingerprint(tmp_path / "c.parquet", label=None)

    old = of({"a": [1, 2], "b": [3, 4]})
    assert [(f.rule, f.subject) for f in compare(old, of({"a": [1, 2], "c": [3, 4]}))] == [
        ("data.column-removed", "b"),
        ("data.column-added", "c"),
    ]
    found = compare(old, of({"a": [1, 2], "b": ["3", "4"]}))
    assert [(f.rule, f.subject) for f in found if "column" in f.rule] == [("data.column-retyped", "b")]
    assert "data.row-changed" in rules(found)


def test_rows_that_are_all_alike_cost_bounded_time() -> None:
    # Worst for the search: long runs of equal rows on every diagonal, many differences, unequal lengths.
    rng = np.random.default_rng(4)
    old = (rng.random(200_000) < 0.01).astype(np.int64)
    new = (rng.random(200_100) < 0.01).astype(np.int64)
    at_old, at_new = in_order(old, new)
    assert np.all(old[at_old] == new[at_new])


few = st.lists(st.integers(0, 3), max_size=40)


@settings(max_examples=200, deadline=None)
@given(few, few)
def test_alignment_is_increasing_and_pairs_only_equal_rows(left: list[int], right: list[int]) -> None:
    old, new = np.array(left, dtype=np.int64), np.array(right, dtype=np.int64)
    at_old, at_new = in_order(old, new)
    assert np.all(old[at_old] == new[at_new])
    assert np.all(np.diff(at_old) > 0)
    assert np.all(np.diff(at_new) > 0)
    bag_old, bag_new = as_bag(old, new)
    assert np.all(old[bag_old] == new[bag_new])
    both = sum(min(left.count(value), right.count(value)) for value in range(4))
    assert len(bag_old) == len(set(bag_old.tolist())) == len(set(bag_new.tolist())) == both


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_edits_of_a_table_of_distinct_rows_are_named_exactly(data: st.DataObject) -> None:
    n = data.draw(st.integers(5, 60))
    gone = data.draw(st.sets(st.integers(0, n - 1), max_size=3))
    stay = [row for row in range(n) if row not in gone]
    at = data.draw(st.sets(st.integers(0, len(stay)), max_size=3))
    new: list[int] = []
    added = []
    for place, row in enumerate([*stay, -1]):
        if place in at:
            added.append(len(new))
            new.append(1000 + place)
        if row >= 0:
            new.append(row)
    kept_old, kept_new = in_order(np.arange(n), np.array(new, dtype=np.int64))
    assert kept_old.tolist() == stay
    assert sorted(set(range(len(new))) - set(kept_new.tolist())) == added
