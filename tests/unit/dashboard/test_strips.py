"""Pictures of evidence as SVG: what is drawn says what is there, and obeys nothing that it is told."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from assay.dashboard.strips import picture_svg

BARS = {
    "title": "Accuracy",
    "bars": [
        {"label": "all", "value": 0.9, "when": "then", "low": 0.88, "high": 0.92},
        {"label": "all", "value": 0.4, "when": "now", "low": 0.35, "high": 0.45},
    ],
    "level": 0.5,
    "percent": True,
}


def parsed(picture: object) -> ET.Element:
    return ET.fromstring(picture_svg(picture))  # noqa: S314 - our own text: it must be well-formed


def rects(picture: object) -> list[float]:
    return [float(one.get("width", "nan")) for one in parsed(picture).iter("rect")]


def test_bars_are_as_long_as_their_values() -> None:
    then, now = rects(BARS)
    assert now / then == pytest.approx(4 / 9, abs=0.01)
    assert parsed(BARS).get("aria-label") == "Accuracy: all then 90.0 %; all now 40.0 %"


def test_bars_below_zero_start_at_zero() -> None:
    both = {"title": "t", "bars": [{"label": "a", "value": -1.0}, {"label": "b", "value": 1.0}], "percent": False}
    left, right = parsed(both).findall("rect")
    assert float(left.get("x", "")) + float(left.get("width", "")) == pytest.approx(float(right.get("x", "")), abs=0.2)


def test_a_course_marks_when_it_began() -> None:
    course = {"title": "Error rate", "points": [[1.7e9, 0.1], [1.8e9, 0.5]], "mark_s": 1.75e9}
    drawn = parsed(course)
    assert "begins about 2025-06-15" in drawn.get("aria-label", "")
    assert any(one.get("stroke") == "var(--bad)" for one in drawn.iter("path"))
    assert not any(one.get("stroke") == "var(--bad)" for one in parsed({**course, "mark_s": None}).iter("path"))


def test_equal_digests_look_equal_and_others_do_not() -> None:
    def colours(first: str, second: str) -> list[list[str]]:
        cells = [
            one.get("fill", "") for one in parsed({"title": "d", "strips": [["a", first], ["b", second]]}).iter("rect")
        ]
        return [cells[:16], cells[16:]]

    same, other = colours("ab" * 32, "ab" * 32), colours("ab" * 32, "cd" * 32)
    assert same[0] == same[1]
    assert other[0] != other[1]


@pytest.mark.parametrize(
    "picture",
    [
        None,
        7,
        {},
        {"bars": "no list"},
        {"bars": [None, 3, {"label": "no value"}, {"value": float("nan")}, {"value": float("inf")}, {"value": True}]},
        {"points": [[1], "ab", [None, None], [float("nan"), 1.0]]},
        {"strips": [["only what"], 5]},
    ],
)
def test_what_is_no_picture_draws_nothing(picture: object) -> None:
    assert picture_svg(picture) == ""


def test_hostile_words_and_numbers_stay_words_and_numbers() -> None:
    evil = '"><script>alert(1)</script>'
    for picture in (
        {"title": evil, "bars": [{"label": evil, "value": 1.0, "when": evil}]},
        {"title": evil, "strips": [[evil, evil]]},
        {"title": evil, "points": [[1e308, 1.0], [-1e308, 1e308]], "mark_s": 1e300},
    ):
        drawn = parsed(picture)
        assert not list(drawn.iter("script"))
        assert "<script" not in picture_svg(picture)


def test_a_picture_of_any_size_stays_small() -> None:
    many = {"title": "t" * 10_000, "bars": [{"label": "x" * 10_000, "value": 1.0}] * 10_000}
    assert len(picture_svg(many)) < 700_000
    assert len(picture_svg({"points": [[float(i), 0.5] for i in range(100_000)]})) < 20_000
