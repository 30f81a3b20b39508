"""A model in a process of its own: it answers as it does here, and what it does there harms nobody here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from assay.artifacts.snapshot import Snapshot
from assay.errors import LoadError, TableError
from assay.frameworks.apart import Apart
from assay.frameworks.base import Prediction
from assay.frameworks.exchange import answer_from_bytes, answer_to_bytes, framed, receive, rows_from_bytes
from assay.frameworks.sklearn import Sklearn

PLENTY_S = 240.0  # a machine under load starts a process slowly; no test waits so long when all is well
ROWS = pa.table({"a": [0.0, 1.0, -2.0], "b": [1.0, 1.0, 3.0]})

CODE = """
import os, time
import numpy as np

def parity(files, table):
    return np.array(["odd" if v % 2 else "even" for v in table.column("a").to_pylist()], dtype=object)

def never(files, table):
    time.sleep(10_000)

def dies(files, table):
    os.kill(os.getpid(), 9)

def leaves(files, table):
    os._exit(7)

def weights(files, table):
    return np.full(table.num_rows, len(files.view("w.bin")))

def same_by_every_way(files, table):
    ways = [bytes(files.view("w.bin"))]
    ways += [open(place, "rb").read() for place in (files.path("w.bin"), files.folder() + "/w.bin")]
    return np.full(table.num_rows, len(set(ways)))

def secret(files, table):
    return np.full(table.num_rows, str("ASSAY_PASSPHRASE" in os.environ or "PGPASSWORD" in os.environ))

def process(files, table):
    return np.full(table.num_rows, os.getpid())

def too_few(files, table):
    return np.zeros(1)

def shouts(files, table):
    print("noise on stdout", flush=True)
    os.write(2, b"noise on stderr")
    return np.zeros(table.num_rows)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshot]:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "odd_models.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(b"12345")
    with Snapshot.of(tmp_path / "model") as taken:
        yield taken
    sys.modules.pop("odd_models", None)


def apart(files: Snapshot, function: str, limit_s: float = PLENTY_S) -> Apart:
    return Apart(f"odd_models:{function}", files, {}, limit_s=limit_s)


def test_it_answers_as_the_same_model_does_here(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    fitted = LogisticRegression().fit(x, np.where(x.sum(axis=1) > 0, "yes", "no"))
    skops.io.dump(fitted, tmp_path / "model.skops")
    with Snapshot.of(tmp_path) as taken, Apart("sklearn", taken, {}, limit_s=PLENTY_S) as other:
        here, there = Sklearn().open(taken).predict(ROWS), other.predict(ROWS)
    assert there.labels.tolist() == here.labels.tolist()
    assert there.classes == here.classes == ("no", "yes")
    assert here.scores is not None
    assert here.confidence is not None
    assert there.scores is not None
    assert there.confidence is not None
    assert np.array_equal(there.scores, here.scores)
    assert np.array_equal(there.confidence, here.confidence)


def test_it_is_another_process_which_ends_with_it(files: Snapshot) -> None:
    with apart(files, "process") as other:
        number = int(other.predict(ROWS).labels[0])
        assert number != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_the_verified_bytes_are_handed_over_and_the_files_are_not_read_again(files: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "model" / "w.bin").write_bytes(b"swapped after it was verified")
    with apart(files, "weights") as other:
        assert other.predict(ROWS).labels.tolist() == [5, 5, 5]
    with apart(files, "same_by_every_way") as other:
        assert other.predict(ROWS).labels.tolist() == [1, 1, 1]


def test_a_model_that_never_answers_is_stopped(files: Snapshot) -> None:
    with apart(files, "parity") as other:  # how long a start takes here: the limit must be more than that
        began = time.monotonic()
        other.predict(ROWS)
        start_s = time.monotonic() - began
    with apart(files, "never", limit_s=3 * start_s + 1) as other:
        with pytest.raises(LoadError, match=r"within .* s in all, and was stopped"):
            other.predict(ROWS)
        with pytest.raises(LoadError, match="was stopped"):
            other.predict(ROWS)


@pytest.mark.parametrize(
    ("function", "how"), [("dies", "was killed by SIGKILL"), ("leaves", "ended by itself with code 7")]
)
def test_a_model_that_takes_its_process_down_leaves_this_one_standing(files: Snapshot, function: str, how: str) -> None:
    with apart(files, function) as other, pytest.raises(LoadError, match=how):
        other.predict(ROWS)


def test_it_can_be_asked_again_with_new_time_while_it_lives(files: Snapshot) -> None:
    with apart(files, "process") as other:
        assert not other.renew(PLENTY_S)  # not open yet: nobody knows whether it is any good
        first = int(other.predict(ROWS).labels[0])
        assert other.renew(PLENTY_S)
        assert int(other.predict(ROWS).labels[0]) == first
    with apart(files, "leaves") as other:
        with pytest.raises(LoadError, match="ended by itself"):
            other.predict(ROWS)
        assert not other.renew(PLENTY_S)


def test_secrets_are_not_handed_on(files: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_PASSPHRASE", "of the signing key")
    monkeypatch.setenv("PGPASSWORD", "of the state")
    with apart(files, "secret") as other:
        assert other.predict(ROWS).labels.tolist() == ["False"] * 3


def test_what_it_prints_is_no_answer(files: Snapshot, capfd: pytest.CaptureFixture[str]) -> None:
    with apart(files, "shouts") as other:
        assert other.predict(ROWS).labels.tolist() == [0, 0, 0]
    assert capfd.readouterr() == ("", "")


def test_a_refusal_comes_in_its_own_words_and_it_can_be_asked_again(files: Snapshot) -> None:
    with apart(files, "too_few") as other:
        for _ in range(2):
            with pytest.raises(TableError, match="answered for 1 of 3 rows"):
                other.predict(ROWS)


def test_a_model_that_cannot_be_opened_says_why(files: Snapshot) -> None:
    with Apart("sklearn", files, {}, limit_s=PLENTY_S) as other:
        with pytest.raises(LoadError, match=r"no \*.skops or \*.joblib file among w.bin"):
            other.wait()
        with pytest.raises(LoadError, match=r"no \*.skops"):
            other.predict(ROWS)


def test_nothing_is_left_behind(files: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    other = apart(files, "same_by_every_way")
    other.predict(ROWS)
    assert list(scratch.rglob("w.bin"))
    other.close()
    other.close()
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, 2, 3]),
        np.array([0.5, np.nan, -1.0]),
        np.array([True, False, True]),
        np.array(["a", "b", "ä"]),
        np.array(["a", None, "c"], dtype=object),
        np.array([1, 2, 3], dtype=np.uint8),
    ],
)
def test_labels_of_every_kind_come_through(labels: np.ndarray) -> None:
    again = answer_from_bytes(answer_to_bytes(Prediction(labels)), 3)
    assert [repr(one) for one in again.labels.tolist()] == [repr(one) for one in labels.tolist()]


def test_labels_of_several_kinds_become_text() -> None:
    labels = np.array([1, "a", None], dtype=object)
    assert answer_from_bytes(answer_to_bytes(Prediction(labels)), 3).labels.tolist() == ["1", "a", None]


def test_classes_keep_their_types() -> None:
    scores = np.eye(3)
    sent = Prediction(np.array([0, 1, 2]), None, scores, (np.int64(0), 1.5, "c"))
    again = answer_from_bytes(answer_to_bytes(sent), 3)
    assert again.classes == (0, 1.5, "c")
    assert again.scores is not None
    assert again.scores.tolist() == scores.tolist()


def test_what_a_hostile_process_says_is_refused() -> None:
    good = answer_to_bytes(Prediction(np.zeros(3)))
    with pytest.raises(LoadError, match="answered for 3 of 4 rows"):
        answer_from_bytes(good, 4)
    for content in (b"", b"\x00" * 64, good[:40], good[:-30], good.replace(b'"classes"', b'"closses"')):
        with pytest.raises(LoadError, match="sent what is no"):
            answer_from_bytes(content, 3)
    with pytest.raises(LoadError, match="sent what is no table"):
        rows_from_bytes(b"no table at all")
    endless = iter([(1 << 40).to_bytes(8, "big") + b"A"])
    with pytest.raises(LoadError, match="wants to send 1099511627776 bytes"):
        receive(lambda _: next(endless))


def test_a_frame_is_read_as_it_was_written() -> None:
    stream = framed(b"A", b"content")

    def take(size: int) -> bytes:
        nonlocal stream
        part, stream = stream[:size], stream[size:]
        return part

    assert receive(take) == (b"A", b"content")
    assert stream == b""


@pytest.mark.usefixtures("files")
def test_it_ends_when_the_process_that_asked_is_gone(tmp_path: Path) -> None:
    asking = f"""
import os, sys
from pathlib import Path
import pyarrow as pa
from assay.artifacts.snapshot import Snapshot
from assay.frameworks.apart import Apart
other = Apart("odd_models:process", Snapshot.of(Path({str(tmp_path / "model")!r})), {{}}, limit_s={PLENTY_S})
print(other.predict(pa.table({{"a": [1.0]}})).labels[0], flush=True)
os._exit(0)  # as if it was killed: nothing is closed
"""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", asking], env=path, capture_output=True, text=True, check=True)
    status = Path(f"/proc/{int(done.stdout)}/stat")
    deadline = time.monotonic() + PLENTY_S
    while _lives(status) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(status)


def _lives(status: Path) -> bool:
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
