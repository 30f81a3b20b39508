"""Open the two databases, bring their tables up to date, and say in one sentence why that failed.

Read with :func:`reading` and write with :func:`writing`; both end in
:class:`~assay.errors.StorageError` when the database is corrupt, full, locked or read-only. A bare
``engine.begin()`` is a writing transaction: on SQLite it starts with ``BEGIN IMMEDIATE``, so that
what it reads cannot be changed by another process before it writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from assay.errors import MissingExtraError, StorageError
from assay.findings import Finding, Severity
from assay.storage.tables import AUDIT, STATE

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

Branch = Literal["audit", "state"]

HEADS: dict[Branch, str] = {"audit": "audit_0001", "state": "state_0001"}
"""Newest migration of each branch, known without importing Alembic (0.4 s); a test holds it to the scripts."""

BUSY_S = 30
"""Seconds to wait for another process that is writing to the same SQLite file."""

_METADATA = {"audit": AUDIT, "state": STATE}
_READ = {"assay_read": True}

# What SQLite and the operating system say; our rule for it; what a person should do about it.
_REASONS = (
    ("not a database", "storage.corrupt", "is not a database or is corrupt: restore it from a backup"),
    ("malformed", "storage.corrupt", "is corrupt: restore it from a backup"),
    ("no such table", "storage.corrupt", "lacks a table: it is damaged or is another program's database"),
    ("no such column", "storage.corrupt", "lacks a column: it is damaged or was made by another release"),
    ("disk i/o error", "storage.disk", "cannot be read or written (disk I/O error): check the disk"),
    ("is full", "storage.full", "cannot be written because the disk is full: free some space"),
    ("no space left", "storage.full", "cannot be written because the disk is full: free some space"),
    ("quota exceeded", "storage.full", "cannot be written because the quota is used up: free some space"),
    ("locked", "storage.locked", f"has been locked by another process for {BUSY_S} s: end that process and try again"),
    ("readonly", "storage.read-only", "is read-only: check its owner and mode"),
    ("read-only", "storage.read-only", "is read-only: check its owner and mode"),
    ("permission denied", "storage.read-only", "may not be touched by this user: check its owner and mode"),
    ("unable to open", "storage.closed", "cannot be opened: check that the folder exists and may be written"),
)


def version_table(branch: Branch) -> str:
    """Return the table that holds the branch's revision: two branches may share one PostgreSQL database."""
    return f"assay_{branch}_version"


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn what a database or disk says into one sentence.

    Args:
        what: What is being touched, as the sentence begins: ``the audit log /var/lib/x.db``.

    Raises:
        StorageError: A statement failed; its finding's rule says why: ``storage.corrupt``, ``disk``, ``full``,
            ``locked``, ``read-only``, ``closed``, ``missing`` or ``failed``.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as err:
        raise _explained(what, err) from err


@contextmanager
def _guarded_statements(engine: Engine) -> Iterator[None]:
    # Not OSError: inside the block a caller may touch files that are not the database.
    try:
        yield
    except SQLAlchemyError as err:
        raise _explained(name_of(engine), err) from err


def _explained(what: str, err: SQLAlchemyError | OSError) -> StorageError:
    said = str(err.orig) if isinstance(err, DBAPIError) and err.orig is not None else str(err)
    first = said.splitlines()[0] if said else type(err).__name__
    rule, reason = "storage.failed", f"failed: {first}"
    for word, known, sentence in _REASONS:
        if word in said.lower():
            rule, reason = known, sentence
            break
    return StorageError(f"{what} {reason}", [Finding(rule, what, Severity.ERROR, f"{what} {reason}")])


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees one moment of the database and writes nothing.

    Raises:
        StorageError: The database cannot be read.
    """
    with _guarded_statements(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # its default sees what others commit between two statements
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection.execution_options(**_READ)


@contextmanager
def writing(engine: Engine, *, alone: bool = False) -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block, or leaves nothing behind when it raises.

    Args:
        engine: From :func:`open_state` or :func:`open_audit`.
        alone: No other ``alone`` transaction runs at the same time. On SQLite no writing
            transaction ever does; on PostgreSQL this takes an advisory lock.

    Raises:
        StorageError: The database cannot be written; nothing was.
    """
    with _guarded_statements(engine), engine.begin() as connection:
        if alone:
            _lock(connection)
        yield connection


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('assay'))"))


def open_state(url_or_path: str | Path) -> Engine:
    """Open everything but the log: SQLite in WAL mode with ``synchronous=NORMAL``, or PostgreSQL.

    Args:
        url_or_path: A file, made with its folder when missing, or a ``postgresql://`` URL.

    Raises:
        StorageError: It is corrupt, locked, full, read-only, or was written by a newer release.
        MissingExtraError: It is a PostgreSQL URL and no driver is installed.
    """
    return _open("state", url_or_path)


def open_audit(url_or_path: str | Path, *, read_only: bool = False) -> Engine:
    """Open the log's database: SQLite in WAL mode with ``synchronous=FULL``, or PostgreSQL.

    Args:
        url_or_path: A file, made with its folder when missing, or a ``postgresql://`` URL.
        read_only: Change nothing, not even to create or migrate tables: for an examiner.

    Raises:
        StorageError: It is corrupt, locked, full, read-only, missing (``read_only``), or newer than this release.
        MissingExtraError: It is a PostgreSQL URL and no driver is installed.
    """
    return _open("audit", url_or_path, read_only=read_only)


def _open(branch: Branch, url_or_path: str | Path, *, read_only: bool = False) -> Engine:
    is_url = isinstance(url_or_path, str) and "://" in url_or_path
    engine = _by_url(str(url_or_path)) if is_url else _by_path(branch, Path(url_or_path), read_only=read_only)
    try:
        if not read_only:
            _bring_up_to_date(engine, branch)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _by_url(address: str) -> Engine:
    try:
        url = make_url(address)
    except ArgumentError as err:
        raise StorageError("the database URL cannot be read: write postgresql://user@host/name") from err
    if url.get_backend_name() == "sqlite":
        raise StorageError("write a SQLite database as a path, not as a URL")
    if url.drivername == "postgresql":  # SQLAlchemy would pick psycopg2
        url = url.set(drivername="postgresql+psycopg")
    try:
        return create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as err:
        raise MissingExtraError("a PostgreSQL database", "postgres") from err
    except SQLAlchemyError as err:
        raise StorageError(f"a {url.drivername} database is not supported: use a path or postgresql://") from err


def _by_path(branch: Branch, path: Path, *, read_only: bool) -> Engine:
    path = path.absolute()
    with guarded(f"the database {path}"):
        if read_only and not path.is_file():
            gone = Finding("storage.missing", str(path), Severity.ERROR, f"there is no database at {path}")
            raise StorageError(gone.detail, [gone])
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
    query: dict[str, str] = {"uri": "true"}
    if read_only:
        query["mode"] = "ro"
        if not os.access(path.parent, os.W_OK) and not _has_bytes(path.with_name(path.name + "-wal")):
            query["immutable"] = "1"  # else SQLite wants to make a file beside it
    url = URL.create("sqlite", database=f"file:{quote(str(path))}", query=query)
    engine = create_engine(url, connect_args={"timeout": BUSY_S})
    # FULL: an acknowledged entry survives a power cut. NORMAL: at most the last transactions are lost, none is torn.
    level = "FULL" if branch == "audit" else "NORMAL"

    @event.listens_for(engine, "connect")
    def _settings(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # sqlite3: we say BEGIN ourselves, below
        cursor = connection.cursor()
        if not read_only:
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={level}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        deferred = read_only or connection.get_execution_options().get("assay_read", False)
        connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")

    return engine


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def name_of(engine: Engine) -> str:
    """Return what to call the database in a sentence; never its password."""
    if engine.dialect.name == "sqlite":
        return f"the database {unquote((engine.url.database or '').removeprefix('file:'))}"
    return f"the database {engine.url.render_as_string(hide_password=True)}"


def file_damage(connection: Connection) -> list[str]:
    """Return what SQLite says about damage to its own file, indexes included; nothing on PostgreSQL."""
    if connection.dialect.name != "sqlite":
        return []
    rows = connection.execute(text("PRAGMA integrity_check(5)")).scalars().all()
    return [str(row) for row in rows if row != "ok"]


def revision(connection: Connection, branch: Branch) -> str | None:
    """Return the migration the branch's tables are at; None when there are none yet."""
    if not inspect(connection).has_table(version_table(branch)):
        return None
    row = connection.execute(text(f"SELECT version_num FROM {version_table(branch)}")).first()
    return None if row is None else str(row[0])


def _bring_up_to_date(engine: Engine, branch: Branch) -> None:
    with reading(engine) as connection:
        if revision(connection, branch) == HEADS[branch]:
            return
    with writing(engine, alone=True) as connection:
        found = revision(connection, branch)  # again: another process may have been faster
        if found == HEADS[branch]:
            return
        if found is None:
            _create(connection, branch)
            return
        from assay.storage.migrations.upgrade import upgrade

        upgrade(connection, branch)


def _create(connection: Connection, branch: Branch) -> None:
    # New tables come from tables.py, which a test holds equal to what the migrations make: no Alembic needed.
    metadata = _METADATA[branch]
    there = set(inspect(connection).get_table_names())
    clash = sorted(there & set(metadata.tables))
    if clash:
        raise StorageError(
            f"{name_of(connection.engine)} has tables named {', '.join(clash)} that assay did not make: "
            "use a database of its own"
        )
    metadata.create_all(connection, checkfirst=False)
    connection.execute(text(f"CREATE TABLE {version_table(branch)} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {version_table(branch)} VALUES (:head)"), {"head": HEADS[branch]})
