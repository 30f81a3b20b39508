"""What a command takes from around it: the clock, the project of this folder, a passphrase."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.errors import AssayError, ConfigError
from assay.project import config

if TYPE_CHECKING:
    from assay.keys.pem import PemSigner
    from assay.project.project import Project

PASSPHRASE = "ASSAY_PASSPHRASE"  # noqa: S105 - the name of a variable

key_option = click.option("--key", "key", required=True, type=click.Path(path_type=Path), help="Private key (PEM).")


def now() -> datetime:
    """The one reading of the clock of this command."""
    return datetime.now(UTC)


def actor() -> str:
    """Who types: for the audit log, which signs nothing with it."""
    return os.environ.get("ASSAY_ACTOR") or getpass.getuser()


def project_file() -> Path | None:
    """The assay.toml of this folder or one above, if there is one."""
    return config.find(Path.cwd())


def open_project() -> Project:
    """The project of this folder.

    Raises:
        ConfigError: There is no assay.toml here or above, or it is wrong.
    """
    from assay.project.project import Project

    path = project_file()
    if path is None:
        raise ConfigError(
            f"no {config.FILE_NAME} in {Path.cwd()} or above: run assay init, or change to the project's folder"
        )
    return Project.open(path, now=now(), actor=actor())


@contextmanager
def telling(project: Project) -> Iterator[None]:
    """Alert to what the block logged, however it ends; trouble in telling never hides why the block ended."""
    try:
        yield
    except AssayError:
        try:
            project.tell(now())
        except AssayError as err:
            click.echo(f"assay: warning: nobody could be told: {err.message}", err=True)
        raise
    project.tell(now())


def read_key(path: Path) -> PemSigner:
    """Read a private key; the passphrase comes from ASSAY_PASSPHRASE or the prompt. Warns of a plain key."""
    from assay.errors import KeyFileError
    from assay.keys.pem import load_private

    try:
        signer = load_private(path, passphrase=os.environ.get(PASSPHRASE))
    except KeyFileError as err:
        if os.environ.get(PASSPHRASE) or b"ENCRYPTED" not in _head(path):
            raise
        if not sys.stdin.isatty():
            raise KeyFileError(f"{err.message}: set {PASSPHRASE}, since there is no terminal to ask at") from err
        signer = load_private(path, passphrase=click.prompt(f"Passphrase of {path}", hide_input=True, err=True))
    if not signer.encrypted:
        click.echo(f"assay: warning: {path} is not encrypted; assay keys new makes encrypted ones", err=True)
    if signer.loose_mode:
        click.echo(f"assay: warning: {path} can be read by others: chmod 600 {path}", err=True)
    return signer


def _head(path: Path) -> bytes:
    return path.read_bytes()[:4096] if path.is_file() else b""
