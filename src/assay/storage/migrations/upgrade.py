"""Run the migrations. The only file that imports Alembic, which takes 0.4 s."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from assay.errors import StorageError


def _config(folder: str, branch: str, connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{folder}/{branch}".replace("%", "%%"))
    config.attributes["branch"] = branch
    config.attributes["connection"] = connection
    return config


def head(branch: str) -> str:
    """Return the newest revision among the branch's scripts."""
    with as_file(files("assay.storage.migrations")) as folder:
        return str(ScriptDirectory.from_config(_config(str(folder), branch, None)).get_current_head())


def upgrade(connection: Connection, branch: str) -> None:
    """Bring the branch's tables to the newest revision, inside the caller's transaction.

    Args:
        connection: In a writing transaction.
        branch: ``audit`` or ``state``.

    Raises:
        StorageError: The database is at a revision these scripts do not know: a newer release made it.
    """
    with as_file(files("assay.storage.migrations")) as folder:
        try:
            command.upgrade(_config(str(folder), branch, connection), "head")
        except CommandError as err:
            raise StorageError(
                f"the {branch} database was written by a newer release of assay: upgrade this one ({err})"
            ) from err
