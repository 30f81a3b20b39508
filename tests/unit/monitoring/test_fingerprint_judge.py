"""The verdict on live answers: facts, evidence over several runs, and what cannot be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from assay.errors import AnswerError, FingerprintError
from assay.monitoring.fingerprint.judge import Evidence, Run, judge
from assay.monitoring.fingerprint.probes import OTHER, Reply, alphabet, choose, cut, plain_rows
from assay.monitoring.fingerprint.record import Plan, known
from assay.monitoring.fingerprint.reference import Probe, Reference

LAW = np.array([0.4, 0.3, 0.2, 0.1])
NAMES = ('"a"', '"b"', '"c"', '"d"')


def exact(*labels: str, repeats: int = 20) -> Reference:
    return Reference("exact", tuple(Probe({"x": at}, label=label) for at, label in enumerate(labels)), repeats=repeats)


def numbers(*shares: Sequence[float], tolerance: float = 1e-6) -> Reference:
    probes = [
        Probe({"x": at}, label='"a"', numbers=dict(zip("abcd", share, strict=False))) for at, share in enumerate(shares)
    ]
    return Reference("exact", tuple(probes), repeats=20, tolerance=tolerance)


def drawing(law: np.ndarray, seed: int) -> Callable[[Sequence[int]], list[Reply]]:
    rng = np.random.default_rng(seed)
    return lambda places: [Reply(NAMES[int(rng.choice(4, p=law))]) for _ in places]


def always(reply: Reply) -> Callable[[Sequence[int]], list[Reply]]:
    return lambda places: [reply for _ in places]


def sampled(pairs: int = 200, seed: int = 1) -> Reference:
    rng = np.random.default_rng(seed)
    probes = [
        Probe(
            {"x": at},
            training=tuple(rng.choice(4, 100, p=LAW).tolist()),
            pairs=tuple(rng.choice(4, pairs, p=LAW).tolist()),
        )
        for at in range(4)
    ]
    return Reference("sampled", tuple(probes), symbols=(*NAMES, OTHER))


def test_one_pass_is_enough_where_answers_are_alike() -> None:
    found = judge(exact("1", "2"), lambda places: [Reply(str(at + 1)) for at in places], rate=0.01)
    assert (found.outcome, found.queries) == ("same", 2)


def test_a_difference_is_asked_again_until_chance_is_excluded() -> None:
    found = judge(exact("1", "2"), lambda places: [Reply("1") for _ in places], rate=0.01)
    assert (found.outcome, found.change) == ("changed", "other model")
    wanted = found.queries - 1  # the second probe, asked again and again
    assert 1 / math.comb(20 + wanted, wanted) <= 0.01 / 2 / 2 / 2 < 1 / math.comb(20 + wanted - 1, wanted - 1)
    # Of a rate of .036 the first run may spend half, half of that on single probes, and .003 on each of three.
    three = judge(exact("2", "2", "1"), always(Reply("2")), rate=0.036)
    assert (three.outcome, three.queries) == ("changed", 3 + 2)
    assert 1 / math.comb(23, 3) <= 0.003 < 1 / math.comb(22, 2) < 0.006


def test_one_odd_answer_among_many_is_no_fact_and_no_sameness() -> None:
    asked: list[int] = []

    def once(places: Sequence[int]) -> list[Reply]:
        asked.extend(places)
        return [Reply("odd" if len(asked) == 2 and at == 1 else str(at + 1)) for at in places]

    found = judge(exact("1", "2"), once, rate=0.01)
    assert found.outcome == "unknown"
    assert "too few to tell" in found.detail


def test_a_model_that_wavers_a_little_is_accused_in_at_most_one_of_a_hundred_recordings() -> None:
    # Each answer differs with 3 %: of 400 recordings, only those without any difference are exact and are judged.
    rng = np.random.default_rng(4)
    accused = sum(
        judge(
            exact("1", "1", "1"), lambda places: [Reply("2" if rng.random() < 0.03 else "1") for _ in places], rate=0.01
        ).outcome
        == "changed"
        for _ in range(400)
        if (rng.random(60) >= 0.03).all()
    )
    assert accused <= 4


def test_rounding_within_the_tolerance_is_the_same_and_beyond_it_a_fact() -> None:
    reference = numbers((0.6, 0.4), (0.7, 0.3))
    for far, outcome in ((5e-7, "same"), (5e-6, "changed")):

        def ask(places: Sequence[int], far: float = far) -> list[Reply]:
            return [
                Reply('"a"', {name: value + far * (1 if name == "a" else -1) for name, value in one.numbers.items()})
                for one in (reference.probes[at] for at in places)
            ]

        assert judge(reference, ask, rate=0.01).outcome == outcome


def test_right_numbers_with_another_answer_are_found() -> None:
    reference = numbers((0.6, 0.4))
    found = judge(reference, lambda places: [Reply('"b"', reference.probes[at].numbers) for at in places], rate=0.01)
    assert found.outcome == "changed"


@pytest.mark.parametrize("times", [0.5, 0.9, 1.5])
def test_a_temperature_is_told_from_other_weights(times: float) -> None:
    rng = np.random.default_rng(0)
    shares = [tuple(share) for share in rng.dirichlet(np.ones(4), 3)]
    reference = numbers(*shares)

    def at(places: Sequence[int], power: float, noise: float) -> list[Reply]:
        made = np.random.default_rng(1)
        found = []
        for place in places:
            share = np.array(list(reference.probes[place].numbers.values())) ** power * np.exp(made.normal(0, noise, 4))
            found.append(Reply('"a"', dict(zip("abcd", (share / share.sum()).tolist(), strict=True))))
        return found

    found = judge(reference, lambda places: at(places, 1 / times, 0), rate=0.01)
    assert found.change == ("sharper" if times < 1 else "flatter")
    assert found.temperature == pytest.approx(times)
    assert judge(reference, lambda places: at(places, 1, 0.2), rate=0.01).change == "other model"


def test_one_probe_of_two_numbers_tells_no_temperature() -> None:
    """Any two numbers are as another temperature would make them."""
    reference = numbers((0.6, 0.4))
    found = judge(reference, always(Reply('"a"', {"a": 0.8, "b": 0.2})), rate=0.01)
    assert (found.outcome, found.change, found.temperature) == ("changed", "other model", None)


def test_answers_that_differ_in_another_way_each_time_vary() -> None:
    turn = iter(range(1000))
    found = judge(exact("1"), lambda places: [Reply(f"x{next(turn)}") for _ in places], rate=0.01)
    assert (found.outcome, found.change) == ("changed", "varies")


def test_which_of_two_equal_ones_is_named_is_rounding() -> None:
    for share, outcome in ((0.5, "same"), (0.5 + 2e-6, "changed")):
        reference = numbers((share, 1 - share))
        found = judge(reference, always(Reply('"b"', reference.probes[0].numbers)), rate=0.01)
        assert found.outcome == outcome


def test_a_number_is_compared_as_a_number_and_not_as_its_text() -> None:
    reference = Reference("exact", (Probe({"x": 1}, label="0.25", numbers={"": 0.25}),), repeats=20, tolerance=1e-6)
    for said, outcome in ((0.2500001, "same"), (0.2501, "changed")):
        found = judge(reference, always(Reply(str(said), {"": said})), rate=0.01)
        assert found.outcome == outcome


@pytest.mark.parametrize(("odd", "outcome"), [(7, "unknown"), (8, "changed")])
def test_answers_that_waver_are_told_when_chance_hardly_makes_so_many(odd: int, outcome: str) -> None:
    """None of 20 before and ``odd`` of 20 now: by chance one time in 240 or in 610; a run may spend one in 400."""
    asked = iter(range(1000))

    def wavering(places: Sequence[int]) -> list[Reply]:
        return [Reply("odd" if (at := next(asked)) == 0 or 2 <= at < 2 + odd else "1") for _ in places]

    assert judge(exact("1"), wavering, rate=0.01).outcome == outcome
    chance = math.comb(20, odd) / math.comb(40, odd)
    assert (chance <= 0.01 / 2 / 2) == (outcome == "changed")


def test_trouble_is_never_sameness() -> None:
    def fails(places: Sequence[int]) -> list[Reply]:
        raise AnswerError(f"{len(places)}")

    for reference in (exact("1"), sampled()):
        found = judge(reference, fails, rate=0.01)
        assert (found.outcome, found.queries) == ("unknown", 0)


def test_stored_answers_are_used_once_and_then_it_cannot_be_told() -> None:
    reference = sampled(pairs=30)
    first = judge(reference, drawing(LAW, 1), rate=0.01, queries=80)
    assert (first.outcome, first.queries) == ("same", 80)
    then = judge(reference, drawing(LAW, 2), rate=0.01, number=2, earlier=(first.run,), queries=80)
    assert (then.outcome, then.queries) == ("unknown", 40)
    # Answers of the first run were lost, but not how many there were.
    lost = judge(reference, drawing(LAW, 2), rate=0.01, number=2, forgotten=(20,) * 4, queries=80)
    assert (lost.outcome, lost.queries) == ("unknown", 40)


def test_where_probabilities_are_known_no_stored_answer_is_needed() -> None:
    law = dict(zip("abcd", LAW.tolist(), strict=True))
    reference = known([{"request": {"x": at}, "probabilities": law} for at in range(4)])
    first = judge(reference, drawing(LAW, 1), rate=0.01, queries=200)
    assert (first.outcome, first.queries) == ("same", 200)
    assert judge(reference, drawing(LAW[::-1], 2), rate=0.01, number=2, earlier=(first.run,)).outcome == "changed"


def test_an_answer_that_was_never_seen_counts_as_one_of_the_others() -> None:
    evidence = Evidence(sampled(), 1, ())
    assert [evidence.symbol(Reply(name)) for name in (*NAMES, '"z"', "")] == [0, 1, 2, 3, 4, 4]


def test_evidence_of_many_small_runs_adds_up() -> None:
    reference, other = sampled(pairs=400), np.array([0.1, 0.2, 0.3, 0.4])
    live, outcomes = drawing(other, 3), []
    runs: list[Run] = []
    for number in range(1, 9):
        found = judge(reference, live, rate=0.01, number=number, earlier=tuple(runs), queries=24)
        runs.append(found.run)
        outcomes.append(found.outcome)
        if found.outcome == "changed":
            break
    assert outcomes[0] == "same"
    assert outcomes[-1] == "changed"


def test_all_runs_together_accuse_the_same_model_in_at_most_one_of_a_hundred_recordings() -> None:
    accused = 0
    for seed in range(40):
        reference = sampled(pairs=60, seed=seed)
        runs: list[Run] = []
        live = drawing(LAW, 100 + seed)
        for number in range(1, 7):
            found = judge(reference, live, rate=0.01, number=number, earlier=tuple(runs), queries=40)
            runs.append(found.run)
            accused += found.outcome == "changed"
    assert accused <= 3


@pytest.mark.parametrize("queries", [1, 10, 14])
def test_no_more_is_asked_than_was_allowed(queries: int) -> None:
    asked: list[int] = []
    live = drawing(LAW, 1)

    def counted(places: Sequence[int]) -> list[Reply]:
        asked.extend(places)
        return live(places)

    found = judge(sampled(), counted, rate=0.01, queries=queries)
    assert (found.queries, len(asked), len(found.run)) == (queries, queries, queries)


def test_a_change_is_told_when_the_limit_is_reached_and_takes_as_many_answers_again() -> None:
    reference = sampled(pairs=400)
    found = judge(reference, drawing(LAW[::-1], 3), rate=0.01, queries=500)
    alarm = found.alarm or 0
    assert (found.outcome, found.queries, len(found.run)) == ("changed", 2 * alarm, 2 * alarm)
    evidence, reached = Evidence(reference, 1, ()), []
    for probe, symbol in found.run[:alarm]:  # the same bets, placed once more
        evidence.take(probe, symbol)
        reached.append(evidence.log_e >= math.log(100))
    assert found.log_e == evidence.log_e
    assert reached[3::4] == [False] * (alarm // 4 - 1) + [True]  # weighed when all four probes were asked
    fewer = judge(reference, drawing(LAW[::-1], 3), rate=0.01, queries=alarm + 6)
    assert (fewer.outcome, fewer.queries, fewer.alarm) == ("changed", alarm + 6, alarm)


def test_what_came_before_an_exchange_does_not_speak_against_it() -> None:
    """Fifteen runs of the same model, then another: the start that begins with it needs no more than one alone does."""
    reference = sampled(pairs=1000)
    honest, other = drawing(LAW, 5), drawing(LAW[::-1], 6)
    earlier: list[Run] = []
    for number in range(1, 16):
        found = judge(reference, honest, rate=0.01, number=number, earlier=tuple(earlier), queries=40)
        assert found.outcome == "same"
        earlier.append(found.run)
    late = judge(reference, other, rate=0.01, number=16, earlier=tuple(earlier), queries=200)
    assert late.outcome == "changed"
    alone = Evidence(reference, 16, (), (150,) * 4)
    for probe, symbol in late.run[: late.alarm]:
        alone.take(probe, symbol)
    assert late.log_e == pytest.approx(alone.log_e, abs=0.5)


def test_evidence_begins_at_one_whatever_the_number_of_the_run() -> None:
    assert Evidence(sampled(), 1, ()).log_e == pytest.approx(0)
    assert Evidence(sampled(), 9, ()).log_e < 0  # what may be spent on earlier runs is spent


def test_a_reference_survives_being_written_and_read() -> None:
    law = {"request": {"x": 1}, "probabilities": {"a": 0.5, "b": 0.5}, "variants": {"4 bits": {"a": 0.4, "b": 0.6}}}
    for reference in (exact("1"), numbers((0.6, 0.4)), sampled(), known([law])):
        assert Reference.parse(reference.to_json()) == reference


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"probes": []},
        {"probes": [1]},
        {"kind": "other"},
        {"symbols": ["a"]},
        {"symbols": 3},
        {"cut": "most"},
        {"repeats": True},
        {"probes": [{"request": {}, "label": None, "numbers": 3}]},
    ],
)
def test_a_malformed_reference_is_our_error(change: dict[str, object]) -> None:
    with pytest.raises(FingerprintError):
        Reference.parse({**sampled().to_json(), **change})
    with pytest.raises(FingerprintError):
        replace(sampled(), probes=(Probe({"x": 1}, training=(9,), pairs=(0,)),))


@pytest.mark.parametrize(
    "probe",
    [
        {"request": {"x": 1}},
        {"request": {"x": 1}, "probabilities": {"a": 1.0}},
        {"request": {"x": 1}, "probabilities": {"a": 0.9, "b": 0.9}},
        {"request": {"x": 1}, "probabilities": {"a": "0.5", "b": 0.5}},
        {"request": 3, "probabilities": {"a": 0.5, "b": 0.5}},
        {"request": {"x": 1}, "probabilities": {"a": 0.5, "b": 0.5}, "variants": []},
    ],
)
def test_probabilities_that_are_none_are_refused(probe: dict[str, object]) -> None:
    with pytest.raises(FingerprintError):
        known([probe])


def test_long_answers_are_cut_until_they_can_be_compared() -> None:
    texts = [f'"{first} and {number}"' for number in range(50) for first in ("yes", "no")]
    how, symbols = alphabet(texts)
    assert (how, symbols) == ("word", ('"no"', '"yes"', OTHER))
    assert cut('"  yes, it is"', "1") == '"y"'
    with pytest.raises(FingerprintError, match="all different"):
        alphabet([str(number / 7) for number in range(50)])


def test_the_least_certain_requests_become_probes() -> None:
    sure, unsure = Reply('"a"', {"a": 0.99, "b": 0.01}), Reply('"b"', {"a": 0.5, "b": 0.5})
    assert choose([[sure], [unsure], [sure]], 2) == [1, 0]
    assert choose([[Reply("1")] * 4, [Reply("1"), Reply("2")] * 2], 1) == [1]


def test_rows_are_kept_as_they_are_read_back() -> None:
    rows = plain_rows([{"a": 1.0, "b": "x", "c": 2**60}, {"a": float("nan")}, {"a": b"raw"}, {}])
    assert rows == [{"a": 1, "b": "x", "c": float(2**60)}]
    assert isinstance(rows[0]["a"], int)


def test_a_plan_that_proves_nothing_is_refused() -> None:
    for wrong in ({"probes": 0}, {"probes": 65}, {"repeats": 1}, {"pairs": 0}):
        with pytest.raises(FingerprintError):
            Plan(**wrong)
