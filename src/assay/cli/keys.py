"""``assay keys``: signing keys in files, and whose keys count."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import PASSPHRASE, now, open_project, read_key, secret
from assay.cli.output import json_option, print_json, print_table
from assay.cli.root import remind, root, seal
from assay.errors import KeyFileError
from assay.storage.clock import utc_text

if TYPE_CHECKING:
    from assay.signing.trust import TrustStore


BACKUP_PASSPHRASE = "ASSAY_BACKUP_PASSPHRASE"  # noqa: S105 - the name of a variable
KINDS = ("p256", "p384", "p521", "ed25519", "ml-dsa-65")  # as in keys/pem.py, which --help need not import


@click.group()
def keys() -> None:
    """Signing keys and the trust store."""


def new_passphrase(*, plain: bool) -> str | None:
    """The passphrase of a new key: from ASSAY_PASSPHRASE, asked for twice, or none when that is said aloud.

    Raises:
        KeyFileError: There is nobody to ask and nothing was said.
    """
    if plain:
        return None
    return _asked_twice("a new key", PASSPHRASE, ", or say --plain to leave the key unencrypted")


def _asked_twice(what: str, variable: str, otherwise: str = "") -> str:
    if os.environ.get(variable):
        return os.environ[variable]
    if not sys.stdin.isatty():
        raise KeyFileError(f"{what} needs a passphrase: set {variable}{otherwise}")
    asked: str = click.prompt(f"Passphrase of {what}", hide_input=True, confirmation_prompt=True, err=True)
    return asked


@keys.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--plain", is_flag=True, help="Leave the private key unencrypted.")
@click.option("--type", "kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="Kind of key.")
@json_option
def new(path: Path, *, plain: bool, kind: str, as_json: bool) -> None:
    """Make a key: PATH (mode 0600) and PATH with .pub. Nothing is overwritten."""
    from assay.keys.pem import generate

    signer = generate(path, passphrase=new_passphrase(plain=plain), kind=kind)
    public = path.with_suffix(".pub")
    if as_json:
        made = {"private": str(path), "public": str(public), "key_id": signer.key_id, "algorithm": signer.algorithm}
        print_json({**made, "encrypted": signer.encrypted})
        return
    click.echo(f"made {path} and {public}\nkey id {signer.key_id}")
    click.echo(f"next: assay keys trust IDENTITY {public}")


@keys.command()
@click.argument("identity")
@click.argument("public", type=click.Path(path_type=Path))
@click.option("--until", type=click.DateTime(), help="Trusted until this moment (UTC).")
@json_option
def trust(identity: str, public: Path, *, until: datetime | None, as_json: bool) -> None:
    """Let the key in the file PUBLIC count as IDENTITY, from now on."""
    from assay.project.people import trust_key

    project = open_project()
    key = trust_key(project, identity, public, until=until, now=now())
    if as_json:
        print_json({"identity": key.identity, "key_id": key.key_id, "since": key.since, "until": key.until})
        return
    click.echo(f"{key.key_id} now counts as {key.identity}")
    remind(project)


@keys.command()
@click.argument("key_id")
@click.option("--since", type=click.DateTime(), help="Revoked from this moment on (UTC); default now.")
@json_option
def revoke(key_id: str, *, since: datetime | None, as_json: bool) -> None:
    """Refuse what KEY_ID (or its first digits) signed; a trusted timestamp before that moment lets it count on."""
    from assay.project.people import revoke_key

    project = open_project()
    key = revoke_key(project, key_id, at=since, now=now())
    if as_json:
        print_json({"identity": key.identity, "key_id": key.key_id, "revoked": key.revoked})
        return
    click.echo(f"{key.key_id} of {key.identity} is revoked from {key.revoked} on")
    remind(project)


@keys.command()
@click.argument("identity")
@click.argument("public", type=click.Path(path_type=Path))
@click.option("--overlap", default="30d", show_default=True, help="How long the keys until now still count: 12h, 30d.")
@json_option
def rotate(identity: str, public: Path, *, overlap: str, as_json: bool) -> None:
    """Let the key in the file PUBLIC count as IDENTITY, and its keys until now no longer than an overlap."""
    from assay.project.people import rotate_key
    from assay.storage.clock import parse_span

    project = open_project()
    key, old = rotate_key(project, identity, public, overlap=parse_span(overlap), now=now())
    if as_json:
        print_json({"identity": key.identity, "key_id": key.key_id, "former": {one.key_id: one.until for one in old}})
        return
    click.echo(f"{key.key_id} now counts as {key.identity}")
    for one in old:
        click.echo(f"  {one.key_id[:16]} counts until {one.until}")
    click.echo("sign again with the new key until then: without a timestamp, old signatures end with their key")
    remind(project)


@keys.command()
@click.argument("path", metavar="KEY", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The backup; never overwritten.")
@json_option
def backup(path: Path, *, out: Path, as_json: bool) -> None:
    """Write the key file KEY once more under a passphrase of its own, and see that it opens.

    The backup is an ordinary encrypted key file: to restore it is to use it.
    """
    from assay.keys.base import SecretWanted
    from assay.keys.pem import is_encrypted, load_private, read_text

    asked = secret(SecretWanted("passphrase", str(path))) if is_encrypted(read_text(path)[0]) else None
    signer = load_private(path, passphrase=asked)
    signer.backup(out, passphrase=_asked_twice("the backup", BACKUP_PASSPHRASE))
    if as_json:
        print_json({"backup": str(out), "key_id": signer.key_id})
        return
    click.echo(f"made {out}, which opens as key {signer.key_id}\nkeep it and its passphrase apart, off this machine")


@keys.command()
@click.argument("key", metavar="KEY")
@click.option("--out", type=click.Path(path_type=Path), help="Write the public key here; never overwritten.")
@json_option
def public(key: str, *, out: Path | None, as_json: bool) -> None:
    """Give the public half of KEY: a PEM file, pkcs11:…, or a key of a service."""
    from assay.keys.pem import write_public

    signer = read_key(key)
    if out is not None:
        write_public(out, signer.public_pem())
    if as_json:
        pem = signer.public_pem().decode()
        print_json({"key_id": signer.key_id, "algorithm": signer.algorithm, "public_pem": pem})
    elif out is None:
        click.echo(signer.public_pem().decode(), nl=False)
    else:
        click.echo(f"made {out}\nkey id {signer.key_id}\nnext: assay keys trust IDENTITY {out}")


@keys.command("list")
@click.argument("places", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path, exists=True))
@json_option
def list_keys(places: tuple[Path, ...], *, as_json: bool) -> None:
    """Whose keys count and until when, and the key files of the project; or those in each PATH."""
    from assay.keys.folder import files

    project = None if places else open_project()
    folders = places if project is None else (project.places.keys,)
    found = [file for place in folders if place.exists() for file in files(place)]
    if as_json:
        data: dict[str, object] = {"files": [file.as_json() for file in found]}
        if project is not None:
            data = {
                "keys": [key.as_json() for key in project.stored_trust.keys],
                "digest": project.stored_trust.digest,
                **data,
            }
        print_json(data)
        return
    if project is not None:
        _print_trusted(project.stored_trust)
    rows = [(file.path, file.key_id[:16] or "?", file.algorithm or "?", file.state) for file in found]
    if rows or project is None:
        print_table(("key file", "key", "kind", "state"), rows)


def _print_trusted(store: TrustStore) -> None:
    if not store.keys:
        click.echo("nobody is trusted yet: assay keys trust IDENTITY KEY.pub")
        return
    today = utc_text(now())
    rows = [
        (key.identity, key.key_id[:16], _span(key.since, key.until), _state(key.until, key.revoked, today))
        for key in store.keys
    ]
    print_table(("identity", "key", "trusted", "state"), rows)


def _span(since: str | None, until: str | None) -> str:
    return f"{since[:10] if since else 'ever'} to {until[:10] if until else 'no end'}"


def _state(until: str | None, revoked: str | None, today: str) -> str:
    if revoked and revoked <= today:
        return f"revoked {revoked[:10]}"
    return "expired" if until and until <= today else "trusted"


keys.add_command(root)
keys.add_command(seal)
