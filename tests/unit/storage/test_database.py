from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert, select, text
from sqlalchemy.exc import OperationalError

from assay.errors import MissingExtraError, StorageError
from assay.storage import database
from assay.storage.database import guarded, open_audit, open_state, reading, writing
from assay.storage.tables import cursors, entries, handled

NOBODY = 65534


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_state(tmp_path / "state.db")
    yield opened
    opened.dispose()


def setting(engine: Engine, name: str) -> object:
    with reading(engine) as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_a_missing_database_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "100 %20?.db"
    opened = open_state(path)
    opened.dispose()
    assert path.is_file()


def test_the_log_survives_a_power_cut_and_the_rest_is_quick(tmp_path: Path, engine: Engine) -> None:
    audit = open_audit(tmp_path / "audit.db")
    assert (setting(audit, "journal_mode"), setting(audit, "synchronous")) == ("wal", 2)
    assert (setting(engine, "journal_mode"), setting(engine, "synchronous")) == ("wal", 1)
    assert setting(engine, "foreign_keys") == 1
    audit.dispose()


def test_opening_again_imports_no_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from assay.storage.database import open_state, open_audit;"
        f"[open_state(Path({str(tmp_path / 's.db')!r})).dispose() for _ in range(2)];"
        f"[open_audit(Path({str(tmp_path / 'a.db')!r})).dispose() for _ in range(2)];"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_written_is_there_and_what_fails_leaves_nothing(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(cursors).values(name="a", position=1))

    def write(*names: str) -> None:
        with writing(engine) as connection:
            for name in names:
                connection.execute(insert(cursors).values(name=name, position=1))

    with pytest.raises(StorageError, match="UNIQUE"):
        write("b", "a")
    with reading(engine) as connection:
        assert connection.execute(select(cursors.c.name)).scalars().all() == ["a"]


def test_a_reader_does_not_wait_for_a_writer(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(insert(cursors).values(name="a", position=1))
        with reading(engine) as other:
            assert other.execute(select(cursors.c.name)).all() == []


def test_a_second_writer_waits_and_then_says_who_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    one, other = open_state(tmp_path / "s.db"), open_state(tmp_path / "s.db")
    with writing(one), pytest.raises(StorageError, match="locked by another process") as refusal, writing(other):
        pytest.fail("two writers at once")
    assert [finding.rule for finding in refusal.value.findings] == ["storage.locked"]
    one.dispose()
    other.dispose()


def test_an_unknown_incident_cannot_be_handled(engine: Engine) -> None:
    with pytest.raises(StorageError, match="FOREIGN KEY"), writing(engine) as connection:
        connection.execute(insert(handled).values(position=1, incident=99))


def test_an_errors_of_the_callers_own_files_is_left_alone(engine: Engine) -> None:
    with pytest.raises(FileNotFoundError), writing(engine):
        Path("/none/such").read_bytes()


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"corrupt: restore it from a backup") as refusal:
        open_state(path)
    assert str(path) in refusal.value.message
    assert [finding.rule for finding in refusal.value.findings] == ["storage.corrupt"]
    assert path.read_bytes() == content


def test_a_table_that_is_gone_is_one_sentence(tmp_path: Path, engine: Engine) -> None:
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("DROP TABLE cursors")
    connection.close()
    with pytest.raises(StorageError, match="lacks a table"), reading(engine) as reader:
        reader.execute(select(cursors))


def test_a_folder_where_a_file_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        open_state(tmp_path / "state.db")


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the database"):
        open_state(tmp_path / "file" / "state.db")


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: for a while we are nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_database_is_one_sentence() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        path = Path(place) / "state.db"
        open_state(path).dispose()
        path.chmod(0o444)
        with unprivileged():
            engine = open_state(path)
            with pytest.raises(StorageError, match="read-only"), writing(engine) as connection:
                connection.execute(insert(cursors).values(name="a", position=1))
            engine.dispose()


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("database or disk is full", "storage.full"),
        ("[Errno 28] No space left on device", "storage.full"),
        ("disk I/O error", "storage.disk"),
        ("attempt to write a readonly database", "storage.read-only"),
        ("[Errno 30] Read-only file system", "storage.read-only"),
        ("something else\nsecond line", "storage.failed"),
    ],
)
def test_each_reason_has_its_own_rule_and_one_line(said: str, rule: str) -> None:
    with pytest.raises(StorageError) as refusal, guarded("the thing"):
        raise OSError(said)
    assert [finding.rule for finding in refusal.value.findings] == [rule]
    assert refusal.value.message.startswith("the thing ")
    assert "\n" not in refusal.value.message


def test_a_statement_that_fails_never_shows_its_values() -> None:
    with pytest.raises(StorageError) as refusal, guarded("the thing"):
        raise OperationalError("INSERT ...", {"secret": "hunter2"}, Exception("no such luck"))
    assert refusal.value.message == "the thing failed: no such luck"


def test_an_examiner_opens_nothing_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database"):
        open_audit(tmp_path / "audit.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_an_examiner_cannot_write(tmp_path: Path) -> None:
    open_audit(tmp_path / "audit.db").dispose()
    engine = open_audit(tmp_path / "audit.db", read_only=True)
    row = {"position": 0, "kind": "a.b", "subject": "", "time": "", "body": b""}
    with pytest.raises(StorageError, match="read-only"), writing(engine) as connection:
        connection.execute(insert(entries).values(row))
    engine.dispose()


def test_a_copy_on_a_read_only_medium_can_be_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_audit(tmp_path / "audit.db").dispose()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere, so the answer is given here
    engine = open_audit(tmp_path / "audit.db", read_only=True)
    with reading(engine) as connection:
        assert connection.execute(select(entries)).all() == []
    assert engine.url.query["immutable"] == "1"
    engine.dispose()


def test_a_postgresql_url_needs_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as on a machine without the extra: the import fails
    with pytest.raises(MissingExtraError, match="postgres"):
        open_state("postgresql://anna:hunter2@127.0.0.1:1/none")


def test_an_unreachable_server_is_our_error_without_the_password() -> None:
    with pytest.raises(StorageError) as refusal:
        open_state("postgresql://anna:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in refusal.value.message


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mongodb://x/y", "://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StorageError):
        open_state(url)


def test_tables_of_another_program_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE incidents (x)")
    connection.close()
    with pytest.raises(StorageError, match="incidents that assay did not make"):
        open_state(path)


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path, engine: Engine) -> None:
    engine.dispose()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("UPDATE assay_state_version SET version_num = 'state_9999'")
    connection.close()
    with pytest.raises(StorageError, match="newer release of assay"):
        open_state(tmp_path / "state.db")


def test_processes_that_make_the_database_together_do_not_collide(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from assay.storage.database import open_state, open_audit;"
        f"open_state(Path({str(tmp_path / 's.db')!r})).dispose();"
        f"open_audit(Path({str(tmp_path / 'a.db')!r})).dispose()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4


def test_the_name_in_a_sentence_holds_no_password() -> None:
    engine = create_engine("sqlite://")
    engine.url = engine.url.set(drivername="sqlite", password="hunter2")
    assert "hunter2" not in database.name_of(engine)
