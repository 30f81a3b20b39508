"""Metrics: text that a strict reader of OpenMetrics takes, behind the same door as all else, bounded in number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from tests.small_project import TODAY, build
from tests.unit.cli.prompt import at, typed
from tests.unit.dashboard.served import HOSTILE_MODEL, TOKEN, Served

from assay.dashboard.openmetrics import OPEN, PLAIN, text, write
from assay.dashboard.telemetry import export
from assay.errors import StorageError
from assay.project import checks
from assay.project.metrics import MOST_SIGNALS, Family, gather
from assay.project.pending import pending_labels

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
WORD = r'(?:[^"\\\n]|\\["\\n])*'
NUMBER = r"(?:NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
SAMPLE = re.compile(rf'({NAME})(?:\{{((?:{LABEL}="{WORD}"(?:,(?!\}}))?)*)\}})? ({NUMBER})')
META = re.compile(rf"# (TYPE|UNIT|HELP) ({NAME}) (.*)")
BEARER = {"authorization": f"Bearer {TOKEN}"}


def strictly(exposition: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Every sample; refuses all that the grammar of OpenMetrics 1.0 does not have, for gauges without timestamps."""
    assert exposition.endswith("\n# EOF\n")
    lines = exposition.removesuffix("# EOF\n").splitlines()
    family, told, seen, done = "", set[str](), set[tuple[str, str]](), set[str]()
    for line in lines:
        meta = META.fullmatch(line)
        if meta:
            word, name, said = meta.groups()
            if name != family:
                assert name not in done, f"{name} is not in one piece"
                done.add(name)
                family, told = name, set()
            assert word not in told
            told.add(word)
            assert word != "TYPE" or said == "gauge"
            assert word != "UNIT" or name.endswith(f"_{said}")
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample is not None, line
        name, labels, number = sample.groups()
        assert name == family
        assert {"TYPE", "HELP"} <= told
        assert (name, labels or "") not in seen
        seen.add((name, labels or ""))
        pairs = dict(re.findall(rf'({LABEL})="({WORD})"', labels or ""))
        yield name, pairs, float(number)


def of(samples: list[tuple[str, dict[str, str], float]], name: str, **labels: str) -> list[float]:
    return [value for one, there, value in samples if one == name and labels.items() <= there.items()]


def monitoring_check(seen: Served) -> Mapping[str, object]:
    """What the last monitor run left of itself."""
    return checks.last(seen.small.project.state, "spam", {"monitoring": timedelta(days=7)})["monitoring"].body


def test_a_strict_reader_takes_all_of_it_with_hostile_names_too(seen: Served) -> None:
    answer = seen.stranger().get("/metrics", headers={**BEARER, "accept": "application/openmetrics-text"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == OPEN
    samples = list(strictly(answer.text))
    assert HOSTILE_MODEL.replace('"', '\\"') in {there.get("model") for _, there, _ in samples}
    assert of(samples, "assay_check_light", model="spam", check="bytes", light="bad") == [1.0]
    assert of(samples, "assay_question_light", model="spam", question="is_it_the_model", light="bad") == [1.0]
    assert sum(of(samples, "assay_model_light", model="spam")) == 1
    assert of(samples, "assay_log_entries") == [float(seen.small.project.log.size())]
    (evidence,) = of(samples, "assay_signal_evidence_ratio", model="spam", signal="feature:a")
    known = monitoring_check(seen)["evidence"]
    assert isinstance(known, dict)
    assert evidence == pytest.approx(known["feature:a"])
    (outside,) = of(samples, "assay_signal_evidence_ratio", model="spam", signal="feature:a:outside")
    assert outside == pytest.approx(known["feature:a:outside"])
    assert outside > 1 > evidence > 0
    assert of(samples, "assay_labels_pending", model="spam", younger_than="7d") == [0.0]
    assert of(samples, "assay_windows_behind", model="spam") == [0.0]
    (verified,) = of(samples, "assay_check_last_timestamp_seconds", model="spam", check="bytes")
    assert verified == (TODAY + timedelta(days=4)).timestamp()
    assert of(samples, "assay_window_figure_ratio", model="spam", figure="accuracy:estimated")


def test_the_older_format_is_given_to_who_asks_for_no_other(seen: Served) -> None:
    answer = seen.stranger().get("/metrics", headers={**BEARER, "accept": "text/plain"})
    assert answer.headers["content-type"] == PLAIN


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}])
def test_without_the_token_nothing_is_told(seen: Served, headers: dict[str, str]) -> None:
    answer = seen.stranger(address="192.0.2.77").get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert "assay_" not in answer.text


def test_who_is_signed_in_may_read_them(seen: Served) -> None:
    assert list(strictly(seen.person().get("/metrics").text))


def test_a_model_that_falls_behind_is_told_to_be(seen: Served) -> None:
    later = TODAY + timedelta(days=14)
    samples = list(strictly(text(gather(seen.small.project, now=later))))
    assert of(samples, "assay_windows_behind", model="spam") == [10.0]
    assert of(samples, "assay_check_light", model="spam", check="monitoring", light="good") == [0.0]


def test_labels_that_wait_are_counted_by_age() -> None:
    import pyarrow as pa

    from assay.engines.base import Source
    from assay.engines.shelf import find
    from assay.monitoring.schema import PredictionSchema

    minutes = [10, 50, 90, 60 * 30, 60 * 24 * 10, 60 * 24 * 90]
    times = pa.array([TODAY - timedelta(minutes=one) for one in minutes], pa.timestamp("us", tz="UTC"))
    table = pa.table({"ts": times, "pred": ["a"] * 6, "y": [None, "a", None, "a", None, None]})
    schema = PredictionSchema("ts", "pred", label="y")
    found = pending_labels(find("duckdb"), Source(table=table), schema, TODAY)
    assert found is not None
    assert found.findings == ()
    assert found.ages == {
        "1h": {"rows": 2, "waiting": 1},
        "1d": {"rows": 1, "waiting": 1},
        "7d": {"rows": 1, "waiting": 0},
        "30d": {"rows": 1, "waiting": 1},
    }
    assert pending_labels(find("duckdb"), Source(table=table), PredictionSchema("ts", "pred"), TODAY) is None


def test_a_model_of_a_thousand_signals_is_fifty_series(seen: Served) -> None:
    families = {one.name: one for one in gather(seen.small.project, now=TODAY, empty=True)}
    assert len(families["assay.signal.evidence"].samples) <= MOST_SIGNALS
    assert all(len(one.samples) < 500 for one in families.values())


@pytest.mark.parametrize(
    ("word", "said"), [('a"b', 'a\\"b'), ("a\\b", "a\\\\b"), ("a\nb", "a\\nb"), ("a\r\nb", "a \\nb"), ("ä…", "ä…")]
)
def test_any_word_is_a_label(word: str, said: str) -> None:
    written = text([Family("assay.x", "", "x", (({"model": word}, 1.0),))])
    ((_, labels, _),) = strictly(written)
    assert labels == {"model": said}


@pytest.mark.parametrize(
    ("value", "said"), [(1.0, "1"), (0.25, "0.25"), (float("nan"), "NaN"), (float("-inf"), "-Inf")]
)
def test_numbers_are_written_as_the_format_has_them(value: float, said: str) -> None:
    assert f"assay_x_ratio {said}\n" in text([Family("assay.x", "ratio", "x", (({}, value),))])


def test_the_file_for_a_collector_is_whole_or_not_there(tmp_path: Path) -> None:
    made = build(tmp_path / "project")
    with at(made.folder, now=TODAY):
        answer = typed("tick", "--metrics", "assay.prom")
        assert answer.code in {0, 1, 3}
        assert list(strictly((made.folder / "assay.prom").read_text()))
        typed("tick", "--metrics", "none/assay.prom").refused(2, "there is no folder")
    with pytest.raises(StorageError, match="cannot be written"):
        write(tmp_path / "none" / "a.prom", [])


def test_opentelemetry_is_told_the_same(seen: Served) -> None:
    reader = InMemoryMetricReader()
    provider = export(seen.small.project, seen.clock, reader=reader)
    data = reader.get_metrics_data()
    assert data is not None
    (resource,) = data.resource_metrics
    assert resource.resource.attributes["service.name"] == "assay"
    there = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    wanted = {one.name: one for one in gather(seen.small.project, now=seen.clock())}
    assert set(there) == set(wanted)
    for name, family in wanted.items():
        points = {}
        for point in there[name].data.data_points:
            assert isinstance(point, NumberDataPoint)
            points[tuple(sorted((point.attributes or {}).items()))] = point.value
        assert points == {tuple(sorted(labels.items())): value for labels, value in family.samples}
    assert there["assay.check.max.age"].unit == "s"
    provider.shutdown()
