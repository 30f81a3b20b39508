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
    from assay.keys.base import SecretWanted, Signer
    from assay.project.project import Project

PASSPHRASE = "ASSAY_PASSPHRASE"  # noqa: S105 - the name of a variable
_VARIABLES = {"passphrase": PASSPHRASE, "PIN": "ASSAY_PIN", "seal": "ASSAY_SEAL_PASSPHRASE"}
_PROMPTS = {"passphrase": "Passphrase of {}", "PIN": "PIN of {}", "seal": "Passphrase of the sealed file {}"}

# One wording for every verb that signs.
KEY_HELP = "Private key: a PEM file, pkcs11:token=…;object=…?module-path=…, or a key service (awskms:ID, …)."
key_option = click.option("--key", "key", required=True, metavar="KEY", help=KEY_HELP)


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


def secret(wanted: SecretWanted) -> str:
    """A passphrase or PIN: from the environment, else from the prompt. It is never an argument of a command.

    Raises:
        KeyFileError: It is not in the environment and there is no terminal to ask at.
    """
    from assay.errors import KeyFileError

    variable = _VARIABLES[wanted.kind]
    if os.environ.get(variable):
        return os.environ[variable]
    if not sys.stdin.isatty():
        what = _PROMPTS[wanted.kind].format(wanted.of)
        raise KeyFileError(f"{what}: set {variable}, since there is no terminal to ask at")
    asked: str = click.prompt(_PROMPTS[wanted.kind].format(wanted.of), hide_input=True, err=True)
    return asked


def read_key(address: str) -> Signer:
    """Open a key, and warn of what is careless about it.

    Raises:
        KeyFileError: There is no such key, or its passphrase or PIN is wrong.
    """
    from assay.keys.shelf import open_key

    opened = open_key(address, secret)
    for warning in opened.warnings:
        click.echo(f"assay: warning: {warning}", err=True)
    return opened.signer
