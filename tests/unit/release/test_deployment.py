from __future__ import annotations

from datetime import UTC, datetime, timedelta

from assay.release.deployment import Deployment, chain, differences, last_good, live

START = datetime(2026, 3, 1, tzinfo=UTC)


def deployment(position: int, root: str, *, left: str = "", day: int | None = None) -> Deployment:
    since = START + timedelta(days=position if day is None else day)
    return Deployment("spam", root, position, since, None, "anna", "production", None, position, replaces_bad=left)


def test_what_was_live_is_told_for_every_moment() -> None:
    history = [deployment(2, "b"), deployment(0, "a")]
    moments = [-1, 0, 1, 2, 100]
    found = [live(history, START + timedelta(days=day)) for day in moments]
    assert [item.root if item else None for item in found] == [None, "a", "a", "b", "b"]


def test_a_clock_that_goes_back_leaves_no_deployment_that_ends_before_it_began() -> None:
    ended = chain([deployment(0, "a", day=5), deployment(1, "b", day=3)])
    assert all(item.until is None or item.until >= item.since for item in ended)
    assert ended[-1].until is None


def test_a_rollback_goes_to_the_newest_other_version() -> None:
    found = last_good([deployment(0, "a"), deployment(1, "b"), deployment(2, "c")])
    assert found is not None
    assert found.root == "b"


def test_a_rollback_never_returns_to_what_a_rollback_left() -> None:
    found = last_good([deployment(0, "z"), deployment(1, "a"), deployment(2, "b"), deployment(3, "a", left="b")])
    assert found is not None
    assert found.root == "z"


def test_what_was_deployed_anew_after_a_rollback_is_good_again() -> None:
    history = [
        deployment(0, "a"),
        deployment(1, "b"),
        deployment(2, "a", left="b"),
        deployment(3, "b"),
        deployment(4, "c"),
    ]
    found = last_good(history)
    assert found is not None
    assert found.root == "b"


def test_there_is_nothing_to_roll_back_to_after_one_version() -> None:
    assert last_good([]) is None
    assert last_good([deployment(0, "a")]) is None


def test_rows_added_removed_and_edited_in_the_table_are_named() -> None:
    logged = [deployment(0, "a"), deployment(1, "b"), deployment(2, "c")]
    stored = [*chain(logged)]
    assert differences(logged, stored) == ()
    edited = [stored[0], deployment(1, "x"), deployment(7, "y")]
    assert [finding.detail.split(" ")[0:3] for finding in differences(logged, edited)] == [
        ["the", "deployment", "logged"],
        ["the", "table", "lacks"],
        ["the", "table", "has"],
    ]
