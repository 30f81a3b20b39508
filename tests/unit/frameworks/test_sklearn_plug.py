from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from assay.artifacts.snapshot import Snapshot
from assay.errors import LoadError, TableError
from assay.frameworks.sklearn import Sklearn

X, Y = load_iris(return_X_y=True)
COLUMNS = ["a", "b", "c", "d"]
TABLE = pa.table({name: X[:, index] for index, name in enumerate(COLUMNS)})
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], Snapshot]]:
    """A sealed copy of a model made of these files."""
    made: list[Snapshot] = []

    def make(files: dict[str, bytes]) -> Snapshot:
        for name, raw in files.items():
            (tmp_path / name).write_bytes(raw)
        made.append(Snapshot.of(tmp_path))
        return made[-1]

    yield make
    for snapshot in made:
        snapshot.close()


def pickled(model: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=500),
        RandomForestClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, random_state=0),
        KNeighborsClassifier(),
        MLPClassifier(max_iter=5, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_skops_models_answer_as_the_original(model: LogisticRegression, held: Callable[..., Snapshot]) -> None:
    model.fit(X, NAMES)
    found = Sklearn().open(held({"model.skops": skops.io.dumps(model)})).predict(TABLE)
    assert found.labels.tolist() == model.predict(X).tolist()
    assert found.confidence is not None
    assert np.allclose(found.confidence, model.predict_proba(X).max(axis=1))
    assert found.classes == ("setosa", "versicolor", "virginica")


def test_named_features_are_found_in_any_order_among_others(held: Callable[..., Snapshot]) -> None:
    model = LogisticRegression(max_iter=500).fit(pd.DataFrame(X, columns=COLUMNS), Y)
    shuffled = TABLE.select(["d", "b", "a", "c"]).append_column("label", pa.array(NAMES))
    found = Sklearn().open(held({"model.skops": skops.io.dumps(model)})).predict(shuffled)
    assert found.labels.tolist() == model.predict(pd.DataFrame(X, columns=COLUMNS)).tolist()


def test_text_columns_reach_a_column_transformer(held: Callable[..., Snapshot]) -> None:
    frame = pd.DataFrame({"kind": ["x", "y"] * 20, "size": np.arange(40.0)})
    steps = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    model = make_pipeline(steps, LogisticRegression(max_iter=500)).fit(frame, [0, 1] * 20)
    found = Sklearn().open(held({"m.skops": skops.io.dumps(model)})).predict(pa.Table.from_pandas(frame))
    assert found.labels.tolist() == [0, 1] * 20


def test_a_missing_column_is_named(held: Callable[..., Snapshot]) -> None:
    model = LogisticRegression(max_iter=500).fit(pd.DataFrame(X, columns=COLUMNS), Y)
    predictor = Sklearn().open(held({"model.skops": skops.io.dumps(model)}))
    with pytest.raises(TableError, match=r"needs column c; the table has a, b, d"):
        predictor.predict(TABLE.drop_columns(["c"]))


def test_a_column_that_stands_twice_is_refused(held: Callable[..., Snapshot]) -> None:
    model = LogisticRegression(max_iter=500).fit(pd.DataFrame(X, columns=COLUMNS), Y)
    predictor = Sklearn().open(held({"model.skops": skops.io.dumps(model)}))
    with pytest.raises(TableError, match="column b stands twice"):
        predictor.predict(TABLE.append_column("b", TABLE["a"]))


def test_a_model_without_names_wants_exactly_its_features(held: Callable[..., Snapshot]) -> None:
    predictor = Sklearn().open(held({"model.skops": skops.io.dumps(LogisticRegression(max_iter=500).fit(X, Y))}))
    with pytest.raises(TableError, match="4 features, the table has 5 columns"):
        predictor.predict(TABLE.append_column("label", pa.array(Y)))


def test_rows_the_model_cannot_take_are_an_error_without_their_values(held: Callable[..., Snapshot]) -> None:
    predictor = Sklearn().open(held({"model.skops": skops.io.dumps(LogisticRegression(max_iter=500).fit(X, Y))}))
    secret = TABLE.set_column(0, "a", pa.array(["secret"] * len(X)))
    with pytest.raises(TableError, match="cannot take these rows") as caught:
        predictor.predict(secret)
    assert "secret" not in str(caught.value)


def test_a_regression_has_no_confidence(held: Callable[..., Snapshot]) -> None:
    found = Sklearn().open(held({"model.skops": skops.io.dumps(LinearRegression().fit(X, X[:, :1]))})).predict(TABLE)
    assert found.confidence is None
    assert np.allclose(found.labels, X[:, 0])


def test_margins_are_scores_but_no_confidence(held: Callable[..., Snapshot]) -> None:
    two = Y < 2
    model = LinearSVC().fit(X[two], Y[two])
    found = Sklearn().open(held({"model.skops": skops.io.dumps(model)})).predict(TABLE)
    assert found.confidence is None
    assert found.scores is not None
    assert (found.scores.argmax(axis=1) == found.labels).all()


def test_scores_of_pairs_of_classes_are_left_out(held: Callable[..., Snapshot]) -> None:
    four = np.arange(len(Y)) % 4
    model = SVC(decision_function_shape="ovo").fit(X, four)
    found = Sklearn().open(held({"model.skops": skops.io.dumps(model)})).predict(TABLE)
    assert found.scores is None


def test_skops_wins_over_joblib(held: Callable[..., Snapshot]) -> None:
    good = LogisticRegression(max_iter=500).fit(X, Y)
    files = {"model.joblib": b"never opened", "model.skops": skops.io.dumps(good)}
    assert Sklearn().open(held(files)).predict(TABLE).labels.tolist() == good.predict(X).tolist()


def test_joblib_is_opened_from_the_sealed_bytes(held: Callable[..., Snapshot], tmp_path: Path) -> None:
    good = LogisticRegression(max_iter=500).fit(X, Y)
    snapshot = held({"model.joblib": pickled(good)})
    (tmp_path / "model.joblib").write_bytes(pickled(LinearRegression().fit(X, Y)))
    assert Sklearn().open(snapshot).predict(TABLE).labels.tolist() == good.predict(X).tolist()


def test_types_that_are_not_known_to_be_harmless_are_named_and_not_loaded(held: Callable[..., Snapshot]) -> None:
    model = make_pipeline(FunctionTransformer(os.getcwd), LogisticRegression())
    with pytest.raises(LoadError, match=r"holds posix\.getcwd"):
        Sklearn().open(held({"model.skops": skops.io.dumps(model)}))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model.skops": b"PK no zip"}, "not a sound skops file"),
        ({"model.joblib": b"no pickle"}, "cannot be opened"),
        ({"readme.txt": b"x"}, "no \\*.skops or \\*.joblib"),
        ({"a.skops": b"x", "b.skops": b"x"}, "which of a.skops, b.skops"),
        ({"model.joblib": pickled({"no": "model"})}, "a dict, which cannot predict"),
    ],
)
def test_what_is_no_model_is_a_load_error(files: dict[str, bytes], words: str, held: Callable[..., Snapshot]) -> None:
    with pytest.raises(LoadError, match=words):
        Sklearn().open(held(files))


def test_a_model_that_lacks_one_of_its_arrays_is_a_load_error(held: Callable[..., Snapshot]) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(skops.io.dumps(LogisticRegression(max_iter=500).fit(X, Y)))) as whole,
        zipfile.ZipFile(buffer, "w") as damaged,
    ):
        for name in whole.namelist():
            damaged.writestr(name, whole.read(name) if name == "schema.json" else b"no array")
    with pytest.raises(LoadError, match="cannot be opened by the installed scikit-learn"):
        Sklearn().open(held({"model.skops": buffer.getvalue()}))


def test_opening_skops_leaves_torch_alone(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed, so nothing could import it")
    skops.io.dump(LogisticRegression(max_iter=1000).fit(X, Y), tmp_path / "model.skops")
    script = (
        "import sys; from assay.artifacts.snapshot import Snapshot; from assay.frameworks.sklearn import Sklearn\n"
        "with Snapshot.of(sys.argv[1]) as files: Sklearn().open(files)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
