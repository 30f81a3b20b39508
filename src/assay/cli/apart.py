"""What is kept apart from the model: the second store, the record on paper, the record on a token."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from assay.cli.here import now, secret
from assay.errors import ConfigError

if TYPE_CHECKING:
    from assay.signing.record import Record, Wanted
    from assay.signing.sign import Signed
    from assay.signing.verified import VerifiedModel
    from assay.storage.objects import Objects

Command = TypeVar("Command", bound=Callable[..., object])
PLACE = "A second store: folder, s3://BUCKET/PREFIX[?retain=SPAN] or sealed:FILE."
_TOKEN = "pkcs11:"  # noqa: S105 - the beginning of an address
_MAX_RECORD_BYTES = 1 << 20

second_store_option = click.option("--second-store", metavar="PLACE", help=PLACE)


def keeping_options(command: Command) -> Command:
    """Add the options of ``sign`` that say where else the signature and the root digest go."""
    for option in (
        click.option(
            "--print-record",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Also write the root digest on one page, as digits, words and code: .html or .txt.",
        ),
        click.option(
            "--record-in",
            metavar="ADDRESS",
            help="Also put the root digest on a token: pkcs11:token=…;object=LABEL?module-path=…",
        ),
        click.option("--second-store", metavar="PLACE", help=f"Also keep signature and model in it. {PLACE}"),
    ):
        command = option(command)
    return command


def comparing_options(command: Command) -> Command:
    """Add the options of ``verify`` that say what else the model must agree with."""
    for option in (
        click.option(
            "--record",
            metavar="RECORD",
            help="The root digest as recorded apart: 24 words, hex digits, a printed page, pkcs11:…, or - to type it.",
        ),
        click.option(
            "--second-store", metavar="PLACE", help=f"The signature must be the one kept in this place. {PLACE}"
        ),
    ):
        command = option(command)
    return command


def second_place(word: str | None) -> Objects | None:
    """The second store that a person named, None when they named none."""
    if word is None:
        return None
    from assay.keys.base import SecretWanted
    from assay.signing.kept import open_place

    return open_place(word, now=now(), passphrase=partial(secret, SecretWanted("seal", word)))


def keep_path(second: Objects | None, what: str, signed: Signed) -> dict[str, object]:
    """Put a model signed by path into the second store; nothing without one.

    Returns:
        What was kept where, for the person who asked.
    """
    if second is None:
        return {}
    from assay.signing.kept import keep

    kept = keep(second, Path(what), signed, name=kept_name(what), now=now())
    return {"kept": f"{kept.place} {kept.entry}"}


def kept_name(what: str) -> str:
    """The name that a model signed by path is kept under: that of its folder or file."""
    return Path(what).resolve().name


def wanted_record(word: str | None) -> Wanted | None:
    """The record that a person gave: typed, in a file, on a token, or asked for.

    Raises:
        ConfigError: It is no record; a mistyped word is named.
        KeyFileError: It cannot be had from the token.
    """
    if word is None:
        return None
    from assay.signing.record import read

    if word.startswith(_TOKEN):
        from assay.keys.pkcs11_data import read as read_token

        value, warnings = read_token(word, secret)
        _warn(warnings)
        return read(value.decode("utf-8", "replace"))
    if word == "-":
        asked = click.prompt("The 24 words, or the digits", err=True) if sys.stdin.isatty() else sys.stdin.read()
        return read(asked)
    return read(_content(Path(word)) if _is_file(word) else word)


def check_record(wanted: Wanted, model: VerifiedModel) -> None:
    """Raise VerificationError unless a verified model is the recorded one."""
    from assay.signing.record import check

    check(wanted, model.root, name=model.manifest.name)


def ready(print_record: Path | None) -> None:
    """Refuse now what could not be written after signing.

    Raises:
        ConfigError: The file's ending says neither text nor HTML.
        MissingExtraError: A package for words or the code is not installed.
    """
    from assay.signing.record import Record

    if print_record is not None:
        _page(print_record, Record("0" * 64, "trial", None, "", ""))


def keep_records(signed: Signed, key_id: str, *, print_record: Path | None, record_in: str | None) -> dict[str, object]:
    """Write the root digest where the options say.

    Returns:
        What was written, by name, for the person who asked.
    """
    if print_record is None and record_in is None:
        return {}
    record = record_of(signed, key_id)
    done: dict[str, object] = {}
    if record_in is not None:
        write_token(record_in, record)
        done["recorded_in"] = record_in.partition("?")[0]
    if print_record is not None:
        write_page(print_record, record)
        done["record"] = str(print_record)
    return done


def record_of(signed: Signed, key_id: str) -> Record:
    """What is written down about a model that was just signed."""
    from assay.signing.record import Record, left_out
    from assay.storage.clock import utc_text

    about, manifest = signed.about, signed.manifest
    name, version = (about.name, about.version) if about else (manifest.name, None)
    created = about.created if about else utc_text(now())
    return Record(manifest.root, name, version, created, key_id, left_out(manifest.ignore))


def write_token(address: str, record: Record) -> None:
    """Put a record on a token."""
    from assay.keys.pkcs11_data import write

    _warn(write(address, secret, record.to_json()))


def write_page(path: Path, record: Record) -> None:
    """Write the page of a record."""
    from assay.signing.store import write_whole

    write_whole(path, _page(path, record).encode())


def _page(path: Path, record: Record) -> str:
    from assay.signing.page import to_html, to_text

    pages = {".html": to_html, ".htm": to_html, ".txt": to_text}
    if path.suffix.lower() not in pages:
        raise ConfigError(f"{path}: a record is written as .html or .txt")
    return pages[path.suffix.lower()](record)


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # 24 words are longer than a file's name may be
        return False


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MAX_RECORD_BYTES).decode("utf-8", "replace")


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(f"assay: warning: {warning}", err=True)
