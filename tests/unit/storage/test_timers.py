from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.errors import StorageError
from assay.storage.database import open_state
from assay.storage.timers import Timers

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def timers(tmp_path: Path) -> Iterator[Timers]:
    engine = open_state(tmp_path / "state.db")
    yield Timers(engine)
    engine.dispose()


def test_a_new_timer_is_due_at_once_and_then_after_its_period(timers: Timers) -> None:
    timers.ensure("validate:spam", DAY, NOW)
    assert timers.due(NOW) == ["validate:spam"]
    assert timers.take("validate:spam", "me", NOW, MINUTE)
    timers.done("validate:spam", NOW + MINUTE)
    assert timers.next_due("validate:spam") == NOW + MINUTE + DAY
    assert timers.due(NOW + DAY) == []
    assert timers.due(NOW + DAY + MINUTE) == ["validate:spam"]


def test_a_turn_is_taken_once(timers: Timers) -> None:
    timers.ensure("a", DAY, NOW)
    assert [timers.take("a", owner, NOW, MINUTE) for owner in ("one", "two", "one")] == [True, False, False]
    assert timers.due(NOW) == []


def test_a_turn_that_is_not_due_or_not_there_is_not_taken(timers: Timers) -> None:
    timers.ensure("a", DAY, NOW)
    assert timers.take("a", "me", NOW, MINUTE)
    timers.done("a", NOW)
    assert not timers.take("a", "me", NOW + MINUTE, MINUTE)
    assert not timers.take("b", "me", NOW, MINUTE)


def test_a_turn_of_a_dead_process_is_taken_when_its_lease_ran_out(timers: Timers) -> None:
    timers.ensure("a", DAY, NOW)
    assert timers.take("a", "dead", NOW, MINUTE)
    assert not timers.take("a", "me", NOW + MINUTE - timedelta(microseconds=1), MINUTE)
    assert timers.take("a", "me", NOW + MINUTE, MINUTE)
    timers.done("a", NOW + MINUTE, owner="dead")  # it was only slow, and the turn is no longer its own
    assert not timers.take("a", "third", NOW + MINUTE, MINUTE)
    timers.done("a", NOW + MINUTE, owner="me")
    assert timers.next_due("a") == NOW + MINUTE + DAY


def test_a_turn_given_back_is_due_again(timers: Timers) -> None:
    timers.ensure("a", DAY, NOW)
    assert timers.take("a", "me", NOW, MINUTE)
    timers.release("a", "another")
    assert timers.due(NOW) == []
    timers.release("a", "me")
    assert timers.due(NOW) == ["a"]


def test_longest_waiting_comes_first(timers: Timers) -> None:
    timers.ensure("b", DAY, NOW)
    timers.ensure("a", DAY, NOW + MINUTE)
    timers.ensure("c", DAY, NOW + MINUTE)
    assert timers.due(NOW + MINUTE) == ["b", "a", "c"]


def test_ensuring_again_does_not_make_a_timer_due(timers: Timers) -> None:
    timers.ensure("a", DAY, NOW)
    timers.take("a", "me", NOW, MINUTE)
    timers.done("a", NOW)
    timers.ensure("a", DAY, NOW + MINUTE)
    assert timers.next_due("a") == NOW + DAY


def test_a_quicker_rhythm_is_kept_from_now(timers: Timers) -> None:
    timers.ensure("a", 365 * DAY, NOW)
    timers.done("a", NOW)
    timers.ensure("a", DAY, NOW)
    assert timers.next_due("a") == NOW + DAY
    timers.ensure("a", 7 * DAY, NOW)
    assert timers.next_due("a") == NOW + DAY


def test_a_clock_that_went_back_does_not_silence_a_check(timers: Timers) -> None:
    timers.ensure("a", DAY, NOW)
    timers.done("a", NOW + 300 * DAY)
    assert timers.due(NOW) == ["a"]
    assert timers.take("a", "me", NOW, MINUTE)


def test_a_forgotten_timer_is_never_due(timers: Timers) -> None:
    timers.ensure("a", DAY, NOW)
    timers.forget("a")
    assert timers.due(NOW + DAY) == []
    assert timers.next_due("a") is None
    with pytest.raises(StorageError, match="no timer"):
        timers.done("a", NOW)


def test_a_period_below_a_second_is_refused(timers: Timers) -> None:
    with pytest.raises(ValueError, match="second"):
        timers.ensure("a", timedelta(milliseconds=10), NOW)


TAKE = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from assay.storage.database import open_state
from assay.storage.timers import Timers
timers = Timers(open_state(Path(sys.argv[1])))
now = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
print(sum(timers.take(f"t{n}", sys.argv[2], now, timedelta(minutes=1)) for n in range(40)))
"""


def test_processes_share_the_turns_without_taking_one_twice(tmp_path: Path) -> None:
    engine = open_state(tmp_path / "state.db")
    for number in range(40):
        Timers(engine).ensure(f"t{number}", DAY, NOW)
    engine.dispose()
    command = [sys.executable, "-c", TAKE, str(tmp_path / "state.db")]
    processes = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("one", "two")]
    taken = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(taken) == 40
