"""What is typed or found wrong ends in one sentence and the right exit code, never in a traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.small_project import CONFIG, build
from tests.unit.cli.prompt import FAULT, at, typed

from assay.cli.here import open_project, telling
from assay.cli.main import VERBS
from assay.errors import VerificationError
from assay.monitoring.fingerprint.reference import MOST_PROBES

pytestmark = [pytest.mark.xdist_group("cli-wrong-use"), pytest.mark.usefixtures("clock")]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a signed model and a few log entries."""
    (folder := tmp_path_factory.mktemp("wrong") / "small").mkdir()
    build(folder)
    with at(folder):
        assert typed("sign", "spam", "--key", "keys/release.pem").code == 0
        assert typed("baseline", "spam").code == 0
    return folder


@pytest.fixture
def here(signed: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the project to stand in and to spoil."""
    folder = tmp_path / "here"
    shutil.copytree(signed, folder)
    file = folder / "assay.toml"
    file.write_text(file.read_text().replace(str(signed), str(folder)))
    with at(folder):
        yield folder


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[Path]:
    with at(tmp_path):
        yield tmp_path


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verifi",), "No such command 'verifi'"),
        (("verify", "--nonsense"), "No such option"),
        (("verify",), "Missing argument"),
        (("sign", "model"), "Missing option '--key'"),
        (("keys", "nonsense"), "No such command"),
        (("log", "show", "--last", "0"), "0 is not in the range"),
        (("log", "prove", "first"), "'first' is not a valid integer"),
        (("sign", "model", "--key", "k.pem", "--expires", "soon"), "'soon'"),
        (("keys", "new", "key.pem"), "say --plain"),
        (("sign", "model", "--key", "missing.pem"), "missing.pem"),
        (("monitor", "--reference", "a.csv"), "needs --current"),
        (("monitor", "--current", "a.csv"), "needs --reference"),
        (("monitor", "spam", "--reference", "a", "--current", "b"), "not both"),
        (("data", "fingerprint", "missing.csv"), "missing.csv"),
        (("data", "diff", "missing.json", "missing.csv"), "missing.json"),
        (("init", "--model", "missing", "--plain"), "no model at missing"),
        (("demo", "--without", "2", "--folder", "d"), "2"),
    ],
)
def test_wrong_words_are_answered_in_a_sentence(words: tuple[str, ...], said: str) -> None:
    typed(*words).refused(2, said)


IN_A_PROJECT = [
    ("status",),
    ("keys", "list"),
    ("keys", "trust", "anna", "key.pub"),
    ("keys", "revoke", "abc"),
    ("validate", "spam"),
    ("data", "verify", "spam"),
    ("baseline", "spam"),
    ("monitor",),
    ("monitor", "spam"),
    ("diagnose", "spam"),
    ("gate", "spam"),
    ("deploy", "spam"),
    ("rollback", "spam", "--reason", "why"),
    ("log", "show"),
    ("log", "verify"),
    ("log", "prove", "0"),
    ("log", "export", "file"),
    ("incident", "list"),
    ("incident", "show", "1"),
    ("incident", "acknowledge", "1"),
    ("incident", "resolve", "1", "--reason", "why"),
    ("incident", "export", "1", "file.zip"),
    ("alerts", "test"),
    ("tick",),
]


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("words", IN_A_PROJECT, ids=" ".join)
def test_outside_a_project_a_verb_says_that_there_is_none(words: tuple[str, ...]) -> None:
    typed(*words).refused(2, "no assay.toml")
    assert set(typed(*words, "--json").data if words[:2] != ("log", "export") else {"error", "findings"}) == {
        "error",
        "findings",
    }


NAMED = [
    ("validate", "nobody"),
    ("data", "verify", "nobody"),
    ("baseline", "nobody"),
    ("monitor", "nobody"),
    ("diagnose", "nobody"),
    ("gate", "nobody"),
    ("deploy", "nobody"),
    ("rollback", "nobody", "--reason", "why"),
    ("approve", "nobody", "--key", "keys/anna.pem"),
    ("reject", "nobody", "--key", "keys/anna.pem", "--reason", "why"),
]


@pytest.mark.parametrize("words", NAMED, ids=" ".join)
def test_an_unknown_model_is_named(signed: Path, words: tuple[str, ...]) -> None:
    with at(signed):
        typed(*words).refused(2, "nobody")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("incident", "show", "99"), 2, "99"),
        (("incident", "acknowledge", "99"), 2, "99"),
        (("incident", "resolve", "99", "--reason", "why"), 2, "99"),
        (("incident", "export", "99", "new.zip"), 2, "99"),
        (("log", "prove", "9999"), 2, "9999"),
        (("log", "prove", "-1"), 2, "-1"),
        (("log", "export", "assay.toml"), 2, "is there already"),
        (("keys", "new", "keys/anna.pem", "--plain"), 2, "never overwritten"),
        (("keys", "trust", "anna", "data/training.csv"), 2, "training.csv"),
        (("keys", "trust", "anna", "keys"), 2, "keys"),
        (("keys", "revoke", "ffff"), 2, "ffff"),
        (("keys", "revoke", ""), 2, ""),
        (("sign", "spam", "--key", "keys"), 2, "keys"),
        (("sign", "spam", "--key", "keys/anna.pub"), 2, "anna.pub"),
        (("sign", "spam", "--key", "data/training.csv"), 2, "training.csv"),
        (("sign", "missing", "--key", "keys/anna.pem"), 2, "missing"),
        (("sign", "models/spam", "--key", "keys/anna.pem", "--signature", "assay.toml"), 2, "assay.toml"),
        (("validate", "spam", "--suite", "checks/spam.py:nothing"), 2, "nothing"),
        (("validate", "spam", "--suite", "checks/none.py:suite"), 2, "none.py"),
        (("validate", "spam", "--suite", "nonsense"), 2, "nonsense"),
        (("approve", "spam", "--key", "keys/anna.pem"), 2, "asks"),
        (("approve", "spam", "--key", "keys/anna.pem", "--expires", "soon"), 2, "soon"),
        (("gate", "spam", "--vsa", "vsa.json"), 2, "--vsa FILE and --key PEM"),
        (("deploy", "spam"), 1, "spam"),
        (("init", "--plain"), 2, "is there already"),
        (("data", "fingerprint", "data/training.csv", "--output", "assay.toml"), 2, "is there already"),
        (("data", "fingerprint", "data/training.csv", "--label", "nope"), 2, "nope"),
        (("data", "fingerprint", "keys"), 2, "keys"),
        (("data", "diff", "assay.toml", "data/training.csv"), 2, "assay.toml"),
    ],
)
def test_what_cannot_be_done_is_told(signed: Path, words: tuple[str, ...], code: int, said: str) -> None:
    with at(signed):
        typed(*words).refused(code, said)


RECORD = ("fingerprint", "spam", "--record", "--key", "keys/release.pem")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*RECORD, "--rate", "2"), "'--rate': 2.0 is not in the range"),
        ((*RECORD, "--rate", "0"), "'--rate': 0.0 is not in the range"),
        ((*RECORD, "--rate", "nan"), "'--rate': nan is not in the range"),
        ((*RECORD, "--rate", "often"), "'often' is not a valid float"),
        ((*RECORD, "--count", "0"), "'--count': 0 is not in the range"),
        ((*RECORD, "--count", "65"), "'--count': 65 is not in the range"),
        ((*RECORD, "--count", "99999999999999999999"), "'--count'"),
        ((*RECORD, "--pairs", "-1"), "'--pairs': -1 is not in the range"),
        ((*RECORD, "--queries", "9"), "--queries does not belong to --record"),
        (("fingerprint", "spam", "--queries", "-1"), "'--queries': -1 is not in the range"),
        (("fingerprint", "spam", "--rate", "0.01"), "--rate belongs to --record"),
        (("fingerprint", "spam", "--probes", "p.json"), "--probes belongs to --record"),
        (("monitor", "spam", "--window", "7d"), "--window is for two tables"),
        (("monitor", "--tolerance", "-1"), "--tolerance is for two tables"),
        (("monitor", "--slice", "a"), "--slice is for two tables"),
        (("predictions", "prune", "spam", "--keep", "0d"), "longer than zero"),
        (("predictions", "prune", "spam", "--keep", "-3d"), "'-3d'"),
        (("predictions", "prune", "spam", "--keep", "999999999y"), "too long"),
        (("predictions", "prune", "spam", "--before", "2026-02-30"), "2026-02-30"),
    ],
)
def test_numbers_spans_and_days_that_make_no_sense_are_wrong_use(
    signed: Path, words: tuple[str, ...], said: str
) -> None:
    with at(signed):
        typed(*words).refused(2, said)


def test_as_many_probes_may_be_asked_for_as_a_fingerprint_holds(signed: Path) -> None:
    with at(signed):
        typed(*RECORD, "--count", MOST_PROBES + 1).refused(2, f"1<=x<={MOST_PROBES}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[project\n", "assay.toml"),
        ("\x00", "assay.toml"),
        ("[project]\nname = 3\n", "3"),
        ("[project]\nname = 'small'\nnmae = 'x'\n", "did you mean"),
        (CONFIG.replace('framework = "sklearn"', 'framewrok = "sklearn"'), "framewrok"),
        (CONFIG.replace('path = "models/spam"\n', ""), "lacks `path`"),
        (CONFIG.replace('time = "ts"\n', ""), "lacks `time`"),
        (CONFIG.replace("approvals = 1", "approvals = -1"), "-1"),
        (CONFIG.replace("approvals = 1", "approvals = 'two'"), "two"),
        (CONFIG + "[models.spam.monitor]\nwindow = 'daily'\n", "daily"),
        (CONFIG + "[models.spam.monitor]\nfalse_alarm_every = 'never'\n", "never"),
        (CONFIG.replace('signed_by = ["release@acme.example"]', "signed_by = []"), "signed_by"),
    ],
)
def test_a_mistake_in_assay_toml_is_named(here: Path, text: str, said: str) -> None:
    (here / "assay.toml").write_text(text)
    for words in (("status",), ("verify", "spam"), ("monitor",)):
        typed(*words).refused(2, said)


def test_a_folder_called_assay_toml_is_told(here: Path) -> None:
    (here / "assay.toml").unlink()
    (here / "assay.toml").mkdir()
    typed("status").refused(2, "assay.toml")


def test_the_wrong_passphrase_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_PASSPHRASE", "right")
    assert typed("keys", "new", "locked.pem", "--json").data["encrypted"] is True
    assert typed("sign", "models/spam", "--key", "locked.pem").code == 0
    monkeypatch.setenv("ASSAY_PASSPHRASE", "wrong")
    typed("sign", "models/spam", "--key", "locked.pem").refused(2, "locked.pem", "passphrase")
    monkeypatch.delenv("ASSAY_PASSPHRASE")
    typed("sign", "models/spam", "--key", "locked.pem").refused(2, "locked.pem", "ASSAY_PASSPHRASE")
    assert (here / "locked.pem").stat().st_mode & 0o077 == 0


NOISE = b"this is no database" * 999
# what is spoilt, and the verbs that must say so with the code "could not tell", or "a check failed" for the log
STATE = [("status",), ("verify", "spam"), ("monitor", "spam"), ("incident", "list"), ("gate", "spam"), ("tick",)]
AGAIN = ("baseline", "spam", "--reason", "newer rows", "--key", "keys/release.pem")
LOG = [("log", "show"), ("log", "prove", "0"), ("gate", "spam"), ("incident", "list")]


@pytest.mark.parametrize("words", STATE, ids=" ".join)
@pytest.mark.parametrize("spoil", ["noise", "folder"])
def test_a_corrupt_state_database_is_told(here: Path, words: tuple[str, ...], spoil: str) -> None:
    _spoil(here / ".assay" / "state.db", spoil)
    typed(*words).refused(3, "state.db")


@pytest.mark.parametrize("words", LOG, ids=" ".join)
@pytest.mark.parametrize("spoil", ["noise", "folder"])
def test_a_corrupt_log_is_told(here: Path, words: tuple[str, ...], spoil: str) -> None:
    _spoil(here / ".assay" / "audit.db", spoil)
    answer = typed(*words)
    answer.refused(answer.code, "audit.db")
    assert answer.code in {1, 3}


@pytest.mark.parametrize("spoil", ["noise", "folder"])
def test_a_corrupt_log_never_makes_a_changed_model_fine(here: Path, spoil: str) -> None:
    _spoil(here / ".assay" / "audit.db", spoil)
    (here / "models" / "spam" / "labels.txt").write_text("spam\nham\n")
    answer = typed("verify", "spam")
    answer.refused(answer.code, "audit.db")
    assert answer.code in {1, 3}


def test_trouble_in_telling_does_not_hide_why_a_verb_ended(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _spoil(here / ".assay" / "audit.db", "noise")
    with pytest.raises(VerificationError, match="one byte differs"), telling(open_project()):
        raise VerificationError("one byte differs")
    assert "nobody could be told" in capsys.readouterr().err


def test_a_tick_with_a_corrupt_log_cannot_tell(here: Path) -> None:
    _spoil(here / ".assay" / "audit.db", "noise")
    done = typed("tick", "--json")
    assert done.code == 3
    assert "audit.db" in done.out


@pytest.mark.parametrize("spoil", ["noise", "folder"])
def test_verifying_a_corrupt_log_is_never_fine(here: Path, spoil: str) -> None:
    _spoil(here / ".assay" / "audit.db", spoil)
    answer = typed("log", "verify", "--json")
    assert answer.code in {1, 3}
    assert FAULT not in answer.out
    assert {"error", "state"} & set(answer.data)


def _spoil(path: Path, how: str) -> None:
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        name.unlink(missing_ok=True)
    if how == "noise":
        path.write_bytes(NOISE)
    else:
        path.mkdir()


def test_a_file_where_the_state_folder_belongs_is_told(here: Path) -> None:
    shutil.rmtree(here / ".assay")
    shutil.rmtree(here / "outside")  # else a missing log key is what is told
    (here / ".assay").write_text("no folder\n")
    for words in (("status",), ("log", "show"), ("incident", "list")):
        typed(*words).refused(3, ".assay")


@pytest.mark.parametrize("text", ["not json", "{}", "[1]", '{"keys": [{"identity": 3}]}', ""])
def test_a_spoilt_trust_store_trusts_nobody(here: Path, text: str) -> None:
    (here / ".assay" / "trust.json").write_text(text)
    answer = typed("verify", "spam")
    answer.refused(answer.code)
    assert answer.code in {1, 2, 3}


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 9999, b"\xff\xfe", b'{"mediaType": 1}'])
def test_a_spoilt_signature_is_a_refusal(here: Path, data: bytes) -> None:
    (here / "models" / "spam" / "model.sig").write_bytes(data)
    typed("verify", "spam").refused(1, "spam")


def _missing(here: Path) -> None:
    shutil.rmtree(here / "models" / "spam")


def _empty(here: Path) -> None:
    _missing(here)
    (here / "models" / "spam").mkdir()


def _link(here: Path) -> None:
    (here / "models" / "spam" / "more").symlink_to("/etc/passwd")


def _pipe(here: Path) -> None:
    os.mkfifo(here / "models" / "spam" / "pipe")


@pytest.mark.parametrize("spoil", [_missing, _empty, _link, _pipe])
@pytest.mark.parametrize("words", [("verify", "spam"), ("validate", "spam"), ("gate", "spam")], ids=" ".join)
def test_a_model_that_cannot_be_read_is_never_fine(
    here: Path, spoil: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    spoil(here)
    answer = typed(*words)
    assert answer.code in {1, 2, 3}, answer
    assert FAULT not in answer.err
    assert "Traceback" not in answer.err
    assert "spam" in answer.out + answer.err


TRAINING = "data/training.csv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "training.csv"),
        ("", "training.csv"),
        ("\x00\x01\xff", "training.csv"),
        ("a,b\n1\n2,3,4\n", "training.csv"),
        ("ts,a,b\n2026-01-01,1,2\n", "y"),
    ],
)
def test_training_data_that_cannot_be_read_are_told(here: Path, text: str | None, said: str) -> None:
    (here / TRAINING).unlink()
    if text is not None:
        (here / TRAINING).write_text(text)
    answer = typed("data", "verify", "spam")
    assert answer.code in {1, 2, 3}, answer
    assert FAULT not in answer.err
    assert said in answer.out + answer.err


@pytest.mark.parametrize("bytes_", [None, b"", b"no parquet", b"PAR1" + bytes(99) + b"PAR1"])
@pytest.mark.parametrize("words", [AGAIN, ("data", "fingerprint", "data/reference.parquet")], ids=" ".join)
def test_a_reference_that_cannot_be_read_is_told(here: Path, bytes_: bytes | None, words: tuple[str, ...]) -> None:
    place = here / "data" / "reference.parquet"
    place.unlink()
    if bytes_ is not None:
        place.write_bytes(bytes_)
    typed(*words).refused(2, "reference.parquet")


def test_a_fault_of_ours_is_called_one_and_has_a_code(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("assay.cli.status.open_project", fails)
    with at(signed):
        answer = typed("status")
        assert answer.code == 3
        assert f"{FAULT} (RuntimeError: unforeseen)" in answer.err
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ASSAY_DEBUG", "1")
            with pytest.raises(RuntimeError):
                typed("status")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, nowhere: Path) -> None:
    answer = typed(verb, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: assay {verb}")
    assert list(nowhere.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "spam", "--junit"),
        ("validate", "spam", "--markdown"),
        ("gate", "spam", "--vsa"),
        ("incident", "export", "1"),
        ("log", "export"),
        ("data", "fingerprint", "data/training.csv", "--output"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(("place", "said"), [("no/such/out", "no folder no/such"), ("data", "is a folder")])
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    here: Path, words: tuple[str, ...], place: str, said: str
) -> None:
    size = open_project().log.size()
    typed(*words, place).refused(2, said)
    assert open_project().log.size() == size
    assert not (here / "no").exists()


def test_another_baseline_without_a_reason_is_refused(here: Path) -> None:
    assert typed("baseline", "spam").code == 0, "the same as is in force"
    place = here / "data" / "reference.parquet"
    table = pq.read_table(place)
    pq.write_table(table.slice(table.num_rows // 10), place)
    typed("baseline", "spam").refused(2, "--reason")
    typed("baseline", "spam", "--reason", "newer rows").refused(2, "--key")
    assert typed(*AGAIN).code == 0
