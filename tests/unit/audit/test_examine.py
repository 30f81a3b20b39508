"""The examiner on values: rows that no database of ours would hold, and the exact words and counts."""

from __future__ import annotations

import pytest

from assay.audit.checkpoint import Checkpoint, NoteKey
from assay.audit.examine import MOST, Copy, Examined, Stored, examine
from assay.audit.merkle import cover, fold, grow, leaf_hash
from assay.findings import Finding, Severity

KEY = NoteKey("example.org/log", bytes(range(32)))
SIZE = 10


def leaves(count: int = SIZE) -> dict[int, bytes]:
    return {position: leaf_hash(b"%d" % position) for position in range(count)}


def note(count: int) -> str:
    nodes, _ = grow(0, [], leaves(count).values())
    root = fold([nodes[node] for node in cover(0, count)])
    return KEY.sign(Checkpoint("example.org/log", count, root).text())


def stored(count: int = SIZE) -> Stored:
    nodes, _ = grow(0, [], leaves(count).values())
    return Stored(leaves(count), dict(nodes), [Copy("the database", note(count), count)])


def examined(rows: Stored, *outside: int) -> Examined:
    return examine(rows, [Copy(f"copy {count}", note(count), None) for count in outside], KEY.verifier)


def of(found: Examined, rule: str) -> list[Finding]:
    return [finding for finding in found.findings if finding.rule == rule]


def test_sound_rows_give_nothing() -> None:
    assert examined(stored(), SIZE).findings == ()


@pytest.mark.parametrize("node", [(-1, 0), (40, 0), (0, 2**40), (0, -1), (1, 2**40), (3, -5)])
def test_a_hash_of_no_entries_is_named_and_costs_nothing(node: tuple[int, int]) -> None:
    rows = stored()
    rows.nodes[node] = bytes(32)
    (finding,) = examined(rows, SIZE).findings
    assert (finding.rule, finding.severity) == ("log.node-edited", Severity.ERROR)
    assert f"level {node[0]}, place {node[1]} is of no entries" in finding.detail


@pytest.mark.parametrize("position", [-1, 2**40])
def test_an_entry_at_a_place_that_no_log_reached_is_named_and_costs_nothing(position: int) -> None:
    rows = stored()
    rows.leaves[position] = bytes(32)
    (finding,) = examined(rows, SIZE).findings
    assert (finding.rule, finding.numbers) == ("log.inserted", {"position": position})


def test_a_missing_and_a_surplus_hash_are_told_apart() -> None:
    rows = stored()
    del rows.nodes[1, 2]
    rows.nodes[2, 2] = bytes(32)  # within reach of ten entries, but of no eight complete ones
    details = {finding.detail for finding in of(examined(rows, SIZE), "log.node-edited")}
    assert "the stored hash over entries 4 to 5 is missing" in details
    assert any(detail.startswith("the stored hash over entries 8 to 11 is of no entries") for detail in details)


def test_a_hash_that_does_not_follow_is_named_with_its_entries() -> None:
    rows = stored()
    rows.nodes[1, 2] = bytes(32)
    findings = of(examined(rows, SIZE), "log.node-edited")
    assert findings[0].detail == "the stored hash over entries 4 to 5 does not follow from the hashes below it"
    assert findings[0].numbers == {"position": 4, "last": 5}


def test_the_root_is_that_of_the_bytes_that_are_there() -> None:
    rows = stored()
    rows.leaves[4] = leaf_hash(b"other")
    rows.nodes[0, 4] = leaf_hash(b"4")
    found = examined(rows, SIZE)
    assert found.root != examined(stored(), SIZE).root
    assert of(found, "log.edited")
    assert of(found, "log.rewritten")


def test_one_entry_and_several_are_named_as_such() -> None:
    assert "entry 9;" in of(examined(stored(9), SIZE), "log.rolled-back")[0].detail
    assert "entries 8 to 9;" in of(examined(stored(8), SIZE), "log.rolled-back")[0].detail


def test_a_database_without_checkpoints_is_said_once() -> None:
    rows = stored()
    rows.checkpoints.clear()
    assert [finding.rule for finding in examined(rows, SIZE).findings] == ["log.checkpoint-deleted"]


def test_copies_that_begin_with_the_log_are_not_late() -> None:
    rows = stored()
    rows.checkpoints.insert(0, Copy("the database", note(3), 3))
    assert examined(rows, 3, SIZE).findings == ()
    assert [finding.rule for finding in examined(rows, SIZE).findings] == ["log.witnessed-late"]


@pytest.mark.parametrize(("bad", "listed"), [(MOST, MOST), (MOST + 1, MOST + 1), (MOST + 5, MOST + 1)])
def test_as_many_findings_as_are_listed_are_not_counted(bad: int, listed: int) -> None:
    rows = stored(40)
    rows.misfiled.update(dict.fromkeys(range(bad), "it is filed wrongly"))
    rows.damage.append("page 3 is torn")
    found = of(examined(rows, 40), "log.edited")
    assert len(found) == listed
    if bad > MOST:
        assert (found[-1].numbers, found[-1].severity) == ({"count": bad - MOST}, Severity.CRITICAL)


def test_the_rest_is_as_severe_as_the_worst_of_its_own_rule() -> None:
    rows = stored(80)
    for place in range(MOST + 5):
        rows.nodes[40, place] = bytes(32)  # an error each
    rows.damage.append("page 3 is torn")  # critical, of another rule
    assert of(examined(rows, 80), "log.node-edited")[-1].severity is Severity.ERROR
