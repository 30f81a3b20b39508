"""``assay keys``: signing keys in files, and whose keys count."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

import click

from assay.cli.here import PASSPHRASE, now, open_project
from assay.cli.output import json_option, print_json, print_table
from assay.errors import KeyFileError
from assay.storage.clock import utc_text


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
    if os.environ.get(PASSPHRASE):
        return os.environ[PASSPHRASE]
    if not sys.stdin.isatty():
        raise KeyFileError(
            f"a new key needs a passphrase: set {PASSPHRASE}, or say --plain to leave the key unencrypted"
        )
    asked: str = click.prompt("Passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True)
    return asked


@keys.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--plain", is_flag=True, help="Leave the private key unencrypted.")
@json_option
def new(path: Path, *, plain: bool, as_json: bool) -> None:
    """Make a P-256 key: PATH (mode 0600) and PATH with .pub. Nothing is overwritten."""
    from assay.keys.pem import generate

    signer = generate(path, passphrase=new_passphrase(plain=plain))
    public = path.with_suffix(".pub")
    if as_json:
        print_json(
            {"private": str(path), "public": str(public), "key_id": signer.key_id, "encrypted": signer.encrypted}
        )
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


@keys.command()
@click.argument("key_id")
@click.option("--since", type=click.DateTime(), help="Revoked from this moment on (UTC); default now.")
@json_option
def revoke(key_id: str, *, since: datetime | None, as_json: bool) -> None:
    """Refuse what KEY_ID (or its first digits) signed from now on."""
    from assay.project.people import revoke_key

    project = open_project()
    key = revoke_key(project, key_id, at=since, now=now())
    if as_json:
        print_json({"identity": key.identity, "key_id": key.key_id, "revoked": key.revoked})
        return
    click.echo(f"{key.key_id} of {key.identity} is revoked from {key.revoked} on")


@keys.command("list")
@json_option
def list_keys(*, as_json: bool) -> None:
    """Whose keys count, and until when."""
    store = open_project().trust
    if as_json:
        print_json({"keys": [key.as_json() for key in store.keys], "digest": store.digest})
        return
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
