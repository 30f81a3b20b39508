"""Where a version's known-good copy lies: where copies are kept now, else where it was put at the time."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small_project import TODAY, Small

from assay.project import integrity
from assay.project.copies import kept_in
from assay.release.deployment import Deployment

ROOT = "ab" * 32


@pytest.mark.parametrize(
    ("recorded", "now", "then", "found"),
    [
        (True, True, True, "now"),
        (True, True, False, "now"),
        (True, False, True, "then"),
        (True, False, False, "then"),  # where it was is what a person is told
        (False, True, True, None),  # a folder of that name is none that was recorded
    ],
    ids=["both", "moved", "left behind", "gone", "none recorded"],
)
def test_a_copy_lies_where_copies_are_kept_now_or_where_it_was_put(
    small: Small, tmp_path: Path, *, recorded: bool, now: bool, then: bool, found: str | None
) -> None:
    places = {"now": integrity.copy_folder(small.project, "spam", 3, ROOT), "then": tmp_path / "then"}
    for name, there in (("now", now), ("then", then)):
        if there:
            places[name].mkdir(parents=True)
    known_good = str(places["then"]) if recorded else None
    version = Deployment("spam", ROOT, 3, TODAY, None, "mlops", "production", known_good, 7)
    assert kept_in(small.project, "spam", version) == (None if found is None else places[found])


def test_a_file_in_the_place_of_a_copy_is_none(small: Small, tmp_path: Path) -> None:
    place = integrity.copy_folder(small.project, "spam", 3, ROOT)
    place.parent.mkdir(parents=True)
    place.touch()
    version = Deployment("spam", ROOT, 3, TODAY, None, "mlops", "production", str(tmp_path), 7)
    assert kept_in(small.project, "spam", version) == tmp_path
