from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.unit.diagnosis.small_world import World

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.onset import best_ramp, best_step, gather
from assay.diagnosis.evidence.uniformity import gather as uniformity
from assay.diagnosis.evidence.uniformity import spread


def test_a_step_is_found_where_it_is() -> None:
    value = np.concatenate([np.zeros(70), np.ones(130)])
    at, error = best_step(value)
    assert at == 70
    assert error < 1e-9
    assert best_ramp(value)[1] > 1


def test_a_ramp_fits_a_ramp_better_than_a_step() -> None:
    value = np.maximum(np.arange(200.0) - 80, 0)
    start, error = best_ramp(value)
    assert abs(start - 80) <= 5
    assert error < best_step(value)[1]


def test_the_onset_of_a_sudden_change_is_dated(world: World) -> None:
    case = world.case()
    y = case.recent.column("y").to_numpy().copy()
    y[100:] = 1 - y[100:]
    at = case.recent.column_names.index("y")
    changed = replace(case, recent=case.recent.set_column(at, "y", [y]))
    evidence = gather(Comparison(changed))
    begins = Comparison(case).recent.time[100]
    assert evidence.onset_s is not None
    assert abs(evidence.onset_s - begins) < 20 * 60  # rows are a minute apart
    assert evidence.notes["gradual"] is False


def test_a_steady_stream_has_no_onset(world: World) -> None:
    assert gather(Comparison(world.case())).onset_s is None


def test_a_region_that_fell_is_named_and_called_local(world: World) -> None:
    case = world.case(n=1500)
    press = case.recent.column("press").to_numpy()
    y = case.recent.column("y").to_numpy()
    at = case.recent.column_names.index("y")
    changed = replace(case, recent=case.recent.set_column(at, "y", [np.where(press > 0.3, 1 - y, y)]))
    evidence = uniformity(Comparison(changed))
    assert evidence.notes["scope"] == "local"
    assert any("press > " in finding.subject for finding in evidence.findings)
    steady = uniformity(Comparison(case))
    assert steady.findings == ()
    assert steady.notes["silent"] is False


def test_a_fall_everywhere_is_global(world: World) -> None:
    case = world.case(n=1500)
    y = case.recent.column("y").to_numpy()
    at = case.recent.column_names.index("y")
    changed = replace(case, recent=case.recent.set_column(at, "y", [np.where(np.arange(len(y)) % 3 == 0, 1 - y, y)]))
    assert uniformity(Comparison(changed)).notes["scope"] == "global"


def test_where_errors_stayed_inputs_that_moved_far_are_dated(world: World) -> None:
    """A column in another unit that costs no accuracy began some day all the same."""
    case = world.case()
    light = case.recent.column("light").to_numpy().copy()
    light[100:] += 50
    at = case.recent.column_names.index("light")
    evidence = gather(Comparison(replace(case, recent=case.recent.set_column(at, "light", [light]))))
    begins = Comparison(case).recent.time[100]
    assert evidence.notes["by"] == "the inputs"
    assert evidence.onset_s is not None
    assert abs(evidence.onset_s - begins) < 20 * 60  # rows are a minute apart


def test_where_it_fell_is_not_said_to_be_everywhere_while_the_whole_is_steady() -> None:
    assert spread(local=True, silent=False) == "it falls in part: "
    assert spread(local=False, silent=True) == "the whole is steady, but it falls where "
    assert spread(local=False, silent=False) == "it falls about everywhere, most where "
