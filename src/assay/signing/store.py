"""What signing keeps on disk and in the database: signatures, the trust store, versions seen."""

from __future__ import annotations

import os
import secrets
import stat
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import PolicyError, StorageError
from assay.signing.trust import TrustStore
from assay.storage.clock import utc_text

if TYPE_CHECKING:
    from sqlalchemy import Engine

MAX_BYTES = 64 * 1024 * 1024


def read(path: Path) -> TrustStore:
    """Read a trust store.

    Raises:
        PolicyError: It is missing or is no trust store: nobody is trusted by half of one.
    """
    try:
        return TrustStore.parse(read_bounded(path))
    except OSError as err:
        raise PolicyError(f"{path}: cannot read the trust store ({err.strerror or err})") from err
    except PolicyError as err:
        raise PolicyError(f"{path}: {err.message}", err.findings) from err


def write(path: Path, store: TrustStore) -> None:
    """Write a trust store; readers see the old one or the new one, never half.

    Raises:
        StorageError: The disk is full, or the place cannot be written.
    """
    write_whole(path, store.to_json().encode())


def read_bounded(path: Path) -> bytes:
    """Read a regular file of at most 64 MiB, without waiting for a pipe put in its place.

    Raises:
        OSError: It is missing, unreadable, larger, or no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        if status.st_size > MAX_BYTES:
            raise OSError(f"it has {status.st_size} bytes, more than {MAX_BYTES}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, durable when this returns.

    Raises:
        StorageError: The disk is full, or the place cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)  # it is there only when something went wrong
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as err:
        raise StorageError(f"{path}: cannot be written ({err.strerror or err})") from err


class StoredVersions:
    """The newest version of each signed name seen here, in the state database.

    Args:
        engine: From ``assay.storage.database.open_state``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def seen(self, name: str) -> tuple[int, str] | None:
        """Return the newest version of a name and its root digest, or None for a name never seen.

        Raises:
            StorageError: The database cannot be read.
        """
        from sqlalchemy import select

        from assay.storage.database import reading
        from assay.storage.tables import versions

        query = select(versions.c.version, versions.c.root).where(versions.c.name == name)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else (row.version, row.root)

    def allows(self, name: str, seen: tuple[int, str], to: tuple[int, str], now: datetime) -> bool:
        """Return False: what was rolled back on purpose was told to :meth:`allow`, and is the newest then."""
        del name, seen, to, now
        return False

    def remember(self, name: str, version: int, root: str, now: datetime) -> None:
        """Note a version that was verified; an older one than seen changes nothing.

        Raises:
            StorageError: The database cannot be written.
        """
        from sqlalchemy import select

        from assay.storage.database import writing
        from assay.storage.tables import versions

        values = {"version": version, "root": root, "seen": utc_text(now)}
        # Alone: between looking and writing nobody else may put a newer version in.
        with writing(self._engine, alone=True) as connection:
            known = connection.execute(select(versions.c.version).where(versions.c.name == name)).scalar()
            if known is None:
                connection.execute(versions.insert().values(name=name, **values))
            elif version >= known:
                connection.execute(versions.update().where(versions.c.name == name).values(**values))

    def allow(self, name: str, version: int, root: str, now: datetime) -> None:
        """Set the version back: for a rollback that was decided and recorded, and only then.

        Raises:
            StorageError: The database cannot be written.
        """
        from assay.storage.database import writing
        from assay.storage.tables import versions

        with writing(self._engine, alone=True) as connection:
            connection.execute(versions.delete().where(versions.c.name == name))
            connection.execute(versions.insert().values(name=name, version=version, root=root, seen=utc_text(now)))
