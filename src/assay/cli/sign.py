"""``assay sign``: a manifest, a signature over it, and, for a model of the project, a known-good copy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.apart import keep_path, keep_records, keeping_options, ready, second_place
from assay.cli.here import key_option, now, open_project, project_file, read_key
from assay.cli.output import hashing, json_option, print_json
from assay.errors import ConfigError
from assay.project import config

if TYPE_CHECKING:
    from assay.signing.sign import Signed

ignore_option = click.option(
    "--ignore-path", "ignore", multiple=True, type=click.Path(path_type=Path), help="Leave this path out; repeatable."
)
signature_option = click.option(
    "--signature", type=click.Path(path_type=Path), help="Where the signature is; default PATH/model.sig."
)


def model_named(word: str) -> bool:
    """Whether the word on the command line is a model of this folder's project, not a path."""
    file = project_file()
    return file is not None and not Path(word).exists() and word in config.read(file).models


@click.command()
@click.argument("what", metavar="PATH|NAME")
@key_option
@signature_option
@ignore_option
@click.option("--expires", type=click.DateTime(), help="The signature counts until this moment (UTC).")
@click.option("--timestamp-url", help="Have the signature stamped by this RFC 3161 authority (http or https).")
@keeping_options
@json_option
def sign(
    *,
    what: str,
    key: str,
    signature: Path | None,
    ignore: tuple[Path, ...],
    expires: datetime | None,
    timestamp_url: str | None,
    second_store: str | None,
    record_in: str | None,
    print_record: Path | None,
    as_json: bool,
) -> None:
    """Sign a model by PATH, or by its NAME in assay.toml (then also a known-good copy and an audit entry)."""
    signer = read_key(key)
    end = expires.replace(tzinfo=UTC) if expires else None
    if end is not None and end <= now():
        raise ConfigError(f"--expires {end:%Y-%m-%d %H:%M} UTC is past: the signature would never count")
    ready(print_record)
    second = second_place(second_store)
    if model_named(what):
        from assay.project.integrity import sign_model

        project = open_project()
        with hashing(f"signing {what}", project.config.model(what).path) as report:
            signed, extra = sign_model(
                project,
                what,
                signer,
                expires=end,
                ignore=ignore,
                signature=signature,
                timestamp_url=timestamp_url,
                second=second,
                report=report,
                now=now(),
            )
        project.tell(now())
    else:
        from assay.project.stamping import stamper
        from assay.signing.about import About
        from assay.signing.sign import sign as sign_path
        from assay.storage.clock import utc_text

        about = None
        if end is not None:
            about = About(name=Path(what).resolve().name, version=0, created=utc_text(now()), expires=utc_text(end))
        with hashing(f"signing {what}", Path(what)) as report:
            signed = sign_path(
                Path(what),
                signer,
                signature=signature,
                ignore=ignore,
                about=about,
                stamp=stamper(timestamp_url, None, now()),
                report=report,
                now=now(),
            )
        extra = {
            "note": "no audit entry: signed by path, not as a model of a project",
            **keep_path(second, what, signed),
        }
    extra |= keep_records(signed, signer.key_id, print_record=print_record, record_in=record_in)
    _report(signed, signer.key_id, extra, as_json=as_json)


def _report(signed: Signed, key_id: str, extra: dict[str, object], *, as_json: bool) -> None:
    manifest = signed.manifest
    if as_json:
        counts = {"files": len(manifest.files), "tensors": len(manifest.tensors)}
        print_json({"root": manifest.root, "signature": str(signed.bundle_path), "key_id": key_id, **counts, **extra})
        return
    click.echo(f"signed {manifest.name}: {len(manifest.files)} files, {len(manifest.tensors)} tensors")
    click.echo(f"  root       sha256:{manifest.root}\n  key        {key_id}\n  signature  {signed.bundle_path}")
    for name, value in extra.items():
        click.echo(f"  {name.replace('_', ' '):10} {value}")
