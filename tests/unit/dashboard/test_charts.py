"""Curves as pictures: what is drawn, and that nothing else is."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.small_project import TODAY

from assay.dashboard.charts import (
    NARROW,
    WIDE,
    Chart,
    Mark,
    Point,
    digest,
    shape_specification,
    shape_svg,
    specification,
    svg,
)
from assay.monitoring.portrait import Shape
from assay.storage.clock import utc_text

SVG = "{http://www.w3.org/2000/svg}"


def day(number: float) -> str:
    return utc_text(TODAY + timedelta(days=number))


def curve(*days: float) -> tuple[Point, ...]:
    return tuple(Point(day(at), 0.9 - at / 100, 0.85 - at / 100, 0.95 - at / 100) for at in days)


PLAIN = Chart("Accuracy", "share", curve(0, 1, 2, 3), level=0.9)
MARKED = Chart(
    "Accuracy",
    "share",
    curve(0, 1, 2, 3, 4, 5),
    (Mark(day(1), "alarm", "accuracy"), Mark(day(2), "alarm", "accuracy"), Mark(day(3), "deployment", "version 2")),
)


def drawn(chart: Chart, width: int = WIDE) -> ET.Element:
    return ET.fromstring(svg(chart, width))  # noqa: S314 - our own renderer's


def paths(chart: Chart, role: str) -> list[str]:
    """The outlines of the marks of one kind, in drawing order."""
    found = []
    for group in drawn(chart).iter(f"{SVG}g"):
        if role in (group.get("class") or "").split():
            found += [str(path.get("d")) for path in group.iter(f"{SVG}path") if path.get("stroke") == "var(--accent)"]
    return found


def rules(chart: Chart, color: str) -> list[ET.Element]:
    return [line for line in drawn(chart).iter(f"{SVG}line") if line.get("stroke") == color]


def test_a_specification_is_made_of_its_chart_alone() -> None:
    before = copy.deepcopy(MARKED)
    first = specification(MARKED, WIDE)
    assert first == specification(MARKED, WIDE)
    assert before == MARKED
    assert json.loads(json.dumps(first)) == first
    assert digest(MARKED) == digest(before)
    assert digest(MARKED) != digest(PLAIN)
    assert svg(MARKED, WIDE) == svg(MARKED, WIDE)


def test_a_specification_loads_nothing() -> None:
    text = json.dumps(specification(MARKED, WIDE))
    assert '"url"' not in text
    assert text.count("http") == 1  # the schema's name


@pytest.mark.parametrize("chart", [PLAIN, MARKED, Chart("One", "share", curve(0)), Chart("None", "share", ())])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_a_picture_holds_shapes_and_text_only(chart: Chart, width: int) -> None:
    root = drawn(chart, width)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {"svg", "g", "path", "line", "rect", "text"}
    for element in root.iter():
        for name in element.attrib:
            assert name not in ("style", "href", "src")
            assert not name.startswith(("on", "{"))
    assert "url(" not in svg(chart, width)
    assert float(str(root.get("viewBox")).split()[2]) <= width + 10


@pytest.mark.parametrize(
    "title",
    [
        '"><script>alert(1)</script>',
        "' onload='alert(1)",
        r"class \1 \g<0> \\",
        "a & b",
        "]]><!--",
    ],
)
def test_a_hostile_title_stays_text(title: str) -> None:
    root = drawn(Chart(title, "share", curve(0, 1)))
    assert set(root.attrib) >= {"role", "aria-label"}
    assert str(root.get("aria-label")).startswith(f"{title}: 90.0 %")
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert "onload" not in root.attrib


def test_a_picture_says_one_sentence_to_who_cannot_see_it() -> None:
    text = svg(MARKED, WIDE)
    assert text.count("aria-label=") == 1
    assert text.count('role="img"') == 1
    assert drawn(MARKED).get("aria-label") == (
        "Accuracy: 90.0 % on 2026-03-02, 85.0 % on 2026-03-07, lowest 85.0 % on 2026-03-07; 2 alarms."
    )
    assert PLAIN.sentence().endswith("; no alarms.")
    assert Chart("Delay", "s", curve(0), percent=False).sentence().startswith("Delay: 0.9 on")
    assert Chart("Delay", "s", ()).sentence() == "Delay: no complete window yet."


def test_a_time_without_rows_breaks_the_line() -> None:
    whole, broken = Chart("a", "share", curve(0, 1, 2, 3, 4)), Chart("a", "share", curve(0, 1, 2, 9, 10, 11))
    assert len(paths(whole, "mark-line")) == 1
    first, second = paths(broken, "mark-line")
    assert end(first) < start(second)
    assert start(second) - end(first) > 0.5 * (end(second) - start(first))


def start(path: str) -> float:
    return float(re.findall(r"[ML](-?[\d.]+),", path)[0])


def end(path: str) -> float:
    return float(re.findall(r"[ML](-?[\d.]+),", path)[-1])


def test_a_missing_window_or_two_do_not_break_it() -> None:
    assert len(paths(Chart("a", "share", curve(0, 1, 2, 5, 6, 7)), "mark-line")) == 1


def test_alarms_and_deployments_are_marked_where_they_happened() -> None:
    alarms, deployed = rules(MARKED, "var(--bad)"), rules(MARKED, "var(--good)")
    assert (len(alarms), len(deployed)) == (2, 1)
    assert deployed[0].get("stroke-dasharray") == "6,3"  # not by colour alone
    assert alarms[0].get("stroke-dasharray") != "6,3"
    assert rules(PLAIN, "var(--bad)") == rules(PLAIN, "var(--good)") == []
    first, second, third = (where(rule) for rule in (*alarms, *deployed))
    assert second - first == pytest.approx(third - second, abs=1)


def where(rule: ET.Element) -> float:
    found = re.match(r"translate\((-?[\d.]+),", str(rule.get("transform")))
    assert found is not None
    return float(found[1])


def test_the_level_of_the_baseline_is_drawn_when_there_is_one() -> None:
    dashed = [line for line in rules(PLAIN, "currentColor") if line.get("stroke-dasharray") == "4,4"]
    assert len(dashed) == 1
    assert not [line for line in rules(MARKED, "currentColor") if line.get("stroke-dasharray") == "4,4"]


@pytest.mark.parametrize("begins", ["", day(-1), day(2), day(9)])
def test_a_baseline_is_drawn_from_when_it_holds(begins: str) -> None:
    chart = replace(PLAIN, since=begins, band=(0.8, 0.95))
    (level,) = (line for line in rules(chart, "currentColor") if line.get("stroke-dasharray") == "4,4")
    (band,) = (path for path in drawn(chart).iter(f"{SVG}path") if path.get("opacity") == "0.1")
    width = float(level.get("x2") or 0)
    across = re.match(r"M([\d.]+),[\d.]+h([\d.]+)", str(band.get("d")))
    assert across is not None
    left, whole = float(across[1]), WIDE - 60
    if begins == day(2):  # two thirds of the way
        assert (where(level), width) == pytest.approx((whole * 2 / 3, whole / 3))
        assert (left, float(across[2])) == pytest.approx((whole * 2 / 3, whole / 3))
    elif begins == day(9):
        assert left == pytest.approx(where(level)) == pytest.approx(whole)
    else:
        assert (where(level), abs(width)) == pytest.approx((whole, whole))
        assert (left, float(across[2])) == pytest.approx((0, whole))


def shape(labels: tuple[str, ...]) -> Shape:
    return Shape("feature:x", "2026-03-04T00:00:00Z", labels, (0.5, 0.3, 0.2), (0.2, 0.3, 0.5))


def test_bins_stand_in_their_own_order_on_every_layer() -> None:
    text = shape_svg(shape(("≤ -1", "≤ 10", "> 10")), 680)
    assert text.index("≤ -1<") < text.index("≤ 10<") < text.index("> 10<" if "> 10<" in text else "&gt; 10<")


def test_values_that_follow_each_other_are_joined_and_names_are_not() -> None:
    joined, apart = (shape_specification(shape(labels), 330) for labels in (("≤ 1", "≤ 2", "> 2"), ("a", "b", "c")))
    assert '"line"' in json.dumps(joined)
    assert '"line"' not in json.dumps(apart)


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x00", "\x0b", "\ufffe", "\ud800"])
def test_a_value_with_characters_that_no_picture_has_is_shown_escaped(odd: str) -> None:
    # The renderer would not raise: it would end the process, and with it the watching of every model.
    code = (
        "import sys\n"
        "from assay.dashboard.charts import Chart, Point, shape_svg, svg\n"
        "from assay.monitoring.portrait import Shape\n"
        "odd = sys.argv[1].encode().decode('unicode_escape')\n"
        "shape = Shape(odd, '2026-03-04T00:00:00Z', (odd, 'b'), (0.5, 0.5), (0.2, 0.8))\n"
        "chart = Chart(odd, odd, (Point('2026-03-04T00:00:00Z', 0.5, 0.4, 0.6),))\n"
        "print(ascii(shape_svg(shape, 330) + svg(chart, 330)))\n"
    )
    shown = odd.encode("unicode_escape").decode()
    done = subprocess.run([sys.executable, "-c", code, shown], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f">{shown}<".replace("\\", "\\\\") in done.stdout
