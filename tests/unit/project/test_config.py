"""assay.toml: every mistake is one sentence that names the table and the key."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.small_project import CONFIG

from assay.errors import ConfigError
from assay.monitoring.floors import SENSITIVE, Floors
from assay.project.config import ProjectConfig, find, parse, read

ROOT = Path("/somewhere")
MODEL = '[models.spam]\npath = "models/spam"\n'


def of(text: str) -> ProjectConfig:
    return parse(tomllib.loads(text), root=ROOT)


MISTAKES = {
    "unknown table": ("[modles.spam]\npath = 'm'", "assay.toml has the unknown key 'modles' (did you mean 'models'?)"),
    "unknown key of a model": (MODEL + "framwork = 'sklearn'", "[models.spam] has the unknown key 'framwork' (did you"),
    "unknown key of a policy": (
        MODEL + "[models.spam.policy]\nsigned_by = ['a']\naprovals = 2",
        "[models.spam.policy] has the unknown key 'aprovals' (did you mean 'approvals'?)",
    ),
    "unknown key of the predictions": (
        MODEL + "[models.spam.predictions]\npath = 'p'\ntime = 't'\nprediction = 'y'\nlatency = 's'",
        "[models.spam.predictions] has the unknown key 'latency' (did you mean 'latency_s'?)",
    ),
    "unknown key of the alerts": ("[alerts]\nsecurty = []", "[alerts] has the unknown key 'securty' (did you mean"),
    "unknown key of the log": ("[log]\ncheckpoint = []", "[log] has the unknown key 'checkpoint' (did you mean"),
    "unknown key of the training": (
        MODEL + "[models.spam.training]\npath = 'p'\nlable = 'y'",
        "[models.spam.training] has the unknown key 'lable' (did you mean 'label'?)",
    ),
    "unknown key of the monitor": (MODEL + "[models.spam.monitor]\nwindows = '1d'", "[models.spam.monitor] has the"),
    "unknown key of the project": ("[project]\nnmae = 'x'", "[project] has the unknown key 'nmae'"),
    "no path": ("[models.spam]\nframework = 'sklearn'", "[models.spam] lacks `path`"),
    "no time": (MODEL + "[models.spam.predictions]\npath = 'p'\nprediction = 'y'", "[models.spam.predictions] lacks"),
    "no path of training": (MODEL + "[models.spam.training]\nlabel = 'y'", "[models.spam.training] lacks `path`"),
    "a number for a path": ("[models.spam]\npath = 3", "[models.spam] path is 3, text in quotes is wanted"),
    "an empty path": ("[models.spam]\npath = ''", "[models.spam] path is '', text in quotes is wanted"),
    "NUL in a path": ('[models.spam]\npath = "a\\u0000b"', "[models.spam] path is 'a\\x00b', text in quotes is wanted"),
    "a model that is no table": (
        "[models]\nspam = 'models/spam'",
        "[models.spam] is str, a table with at least `path`",
    ),
    "text for a list": (
        MODEL + "[models.spam.policy]\nsigned_by = 'me'",
        "[models.spam.policy] signed_by is 'me', a list",
    ),
    "a list of numbers": ("[alerts]\nowners = [1]", "[alerts] owners is [1], a list of texts is wanted"),
    "a text for a table": ("alerts = 'mailto:x'", "assay.toml alerts is 'mailto:x', a table is wanted"),
    "negative approvals": (
        MODEL + "[models.spam.policy]\nsigned_by = ['a']\napprovals = -1",
        "[models.spam.policy] approvals is -1, a whole number from 0 is wanted",
    ),
    "true approvals": (
        MODEL + "[models.spam.policy]\nsigned_by = ['a']\napprovals = true",
        "[models.spam.policy] approvals is True, a whole number",
    ),
    "an unknown tier": (
        MODEL + "tier = 'urgent'",
        "[models.spam] tier is 'urgent', 'standard' or 'critical' is wanted",
    ),
    "an unknown task": (MODEL + "task = 'guessing'", "[models.spam] task is 'guessing', 'classification' or"),
    "a bad span": (MODEL + "[models.spam.monitor]\nfalse_alarm_every = 'yearly'", "[models.spam.monitor] false_alarm"),
    "a bad age": (
        MODEL + "[models.spam.policy]\nsigned_by = ['a']\nmax_age = '30 days'",
        "[models.spam.policy] max_age: ",
    ),
    "a bad escalation": ("[alerts]\nescalate_after = '-5m'", "[alerts] escalate_after: "),
    "a bad window": (
        MODEL + "[models.spam.monitor]\nwindow = 'daily'",
        "[models.spam.monitor] window is 'daily', a span (1d, 6h)",
    ),
    "unknown floors": (
        MODEL + "[models.spam.monitor]\nfloors = 'low'",
        "[models.spam.monitor] floors is 'low', 'default' or 'sensitive' is wanted",
    ),
    "a number of floors": (MODEL + "[models.spam.monitor]\nfloors = 0.1", "floors is 0.1, text in quotes"),
    "a floor that is no share": (
        MODEL + "[models.spam.monitor.floors]\nrate_relative = 1",
        "[models.spam.monitor.floors] rate_relative is 1.0, a share from 0 and below 1 is wanted",
    ),
    "a misspelt floor": (
        MODEL + "[models.spam.monitor.floors]\nrate_points = 0.01\nmeans = 0.1",
        "[models.spam.monitor.floors] has the unknown key 'means' (did you mean 'mean'?)",
    ),
    "a floor that is no word of two": (
        MODEL + "[models.spam.monitor.floors]\none_window = 'yes'",
        "[models.spam.monitor.floors] one_window is 'yes', true or false is wanted",
    ),
    "a policy without signers": (MODEL + "[models.spam.policy]\napprovals = 1", "[models.spam.policy] names no signer"),
    "a way out in a name": (
        '[models."../../etc"]\npath = "m"',
        "[models] has '../../etc', which is no name for a model",
    ),
    "a slash in a name": ('[models."a/b"]\npath = "m"', "[models] has 'a/b', which is no name for a model"),
    "a name of nothing": ('[models.""]\npath = "m"', "[models] has '', which is no name for a model"),
    "a line break in a name": ('[models."a\\nb"]\npath = "m"', "[models] has 'a\\nb', which is no name"),
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence_that_names_table_and_key(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)) as caught:
        of(text)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_floors_are_a_name_or_those_that_are_not_the_default() -> None:
    def floors(text: str) -> Floors:
        return of(MODEL + text).model("spam").monitor.floors

    assert floors("") == Floors()
    assert floors("[models.spam.monitor]\nfloors = 'sensitive'") == SENSITIVE
    own = floors("[models.spam.monitor.floors]\nmean = 0\nrate_points = 0.02\none_window = true")
    assert own == Floors(mean=0.0, rate_points=0.02, one_window=True)


def test_a_whole_file_becomes_values_with_absolute_paths() -> None:
    config = of(CONFIG)
    spam = config.model("spam")
    assert (spam.path, spam.reference) == (ROOT / "models/spam", str(ROOT / "data/reference.parquet"))
    assert config.checkpoints == (ROOT / "outside",)
    assert spam.policy is not None
    assert (spam.policy.approvals, spam.policy.max_age) == (1, timedelta(days=30))
    assert spam.predictions is not None
    assert (spam.predictions.time, spam.predictions.slices, spam.predictions.features) == ("ts", (), None)
    assert (spam.tier, spam.task, spam.monitor.window) == ("standard", "classification", "1d")
    assert config.alerts.escalate_after == timedelta(minutes=15)


def test_only_a_path_is_required() -> None:
    config = of(MODEL)
    assert config.name == "somewhere"
    assert config.folder == ROOT / ".assay"
    assert config.model("spam").policy is None


def test_with_postgresql_files_stay_local() -> None:
    config = of("[project]\nstore = 'postgresql://db.example/assay'")
    assert config.folder == ROOT / ".assay"


def test_a_model_that_is_not_there_is_named_with_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=re.escape("no model 'spma' in /somewhere/assay.toml: models there are spam")):
        of(MODEL).model("spma")
    with pytest.raises(ConfigError, match="did you mean 'spam'"):
        of(MODEL).model("spma")


def test_a_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run assay init to make one"):
        read(tmp_path / "assay.toml")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[project\n", "is not valid TOML"),
        (b'[project]\nname = "caf\xe9"', "not UTF-8: found the byte 0xe9 in line 2; save it as UTF-8"),
        (b"a = 1\na = 2\n", "is not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "assay.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read(tmp_path / "assay.toml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "assay.toml").write_bytes(b'\xef\xbb\xbf[project]\r\nname = "bank"\r\n')
    assert read(tmp_path / "assay.toml").name == "bank"


def test_a_folder_of_that_name_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "assay.toml").mkdir()
    assert find(tmp_path) is None
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "assay.toml")


def test_the_nearest_file_above_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "assay.toml").touch()
    assert find(inner) == tmp_path / "assay.toml"
    (tmp_path / "a" / "assay.toml").touch()
    assert find(inner) == tmp_path / "a" / "assay.toml"


WORDS = st.sampled_from(
    [
        "project",
        "log",
        "alerts",
        "models",
        "path",
        "policy",
        "predictions",
        "training",
        "monitor",
        "signed_by",
        "window",
        "time",
        "prediction",
        "approvals",
        "max_age",
        "tier",
        "slices",
        "name",
        "store",
        "escalate_after",
    ]
)
LEAVES = st.one_of(
    st.text(max_size=8),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.sampled_from(["1d", "1000rows", "critical", "regression", "0d", "99999999999y", "postgresql://x"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=12,
)


def parsed(data: dict[str, object]) -> ProjectConfig | ConfigError:
    try:
        return parse(data, root=ROOT)
    except ConfigError as err:
        return err


@given(st.dictionaries(WORDS, TREES, max_size=5))
def test_anything_toml_can_say_ends_in_values_or_in_our_error(data: dict[str, object]) -> None:
    found = parsed(data)
    assert isinstance(found, ProjectConfig) or found.message


@given(data=TREES)
def test_any_model_table_ends_in_values_or_in_our_error(data: object) -> None:
    found = parsed({"models": {"spam": data}})
    assert "spam" in found.models if isinstance(found, ProjectConfig) else "[models.spam" in found.message


@pytest.mark.parametrize("path", ["s3://lake/live/**/*.parquet", "postgresql://db/live#predictions", "table:a.b"])
def test_an_address_elsewhere_is_no_path_of_the_project(tmp_path: Path, path: str) -> None:
    keys = {"path": path, "time": "ts", "prediction": "p", "query": "q", "texts": ["body"], "tolerance": 2}
    model = {"path": "m", "task": "ranking", "reference": path, "predictions": keys}
    found = parse({"models": {"spam": model}}, root=tmp_path).model("spam")
    assert found.predictions is not None
    assert (found.predictions.path, found.reference, found.task) == (path, path, "ranking")
    assert (found.predictions.query, found.predictions.texts, found.predictions.tolerance) == ("q", ("body",), 2.0)
    for wrong in (True, -1, float("nan"), "much"):
        with pytest.raises(ConfigError, match="tolerance"):
            parse({"models": {"spam": model | {"predictions": keys | {"tolerance": wrong}}}}, root=tmp_path)
