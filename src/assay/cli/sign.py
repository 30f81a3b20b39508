"""``assay sign``: a manifest, a signature over it, and, for a model of the project, a known-good copy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.apart import keep_path, keep_records, keeping_options, ready, second_place
from assay.cli.here import key_option, now, open_project, project_file, read_key
from assay.cli.listing import listing_of, listing_options
from assay.cli.output import counts_of, hashing, json_option, print_json, progress
from assay.errors import ConfigError
from assay.project import config

if TYPE_CHECKING:
    from assay.artifacts.listing import Listing
    from assay.keys.base import Signer
    from assay.signing.sign import Signed
    from assay.storage.objects import Objects

ignore_option = click.option(
    "--ignore-path", "ignore", multiple=True, type=click.Path(path_type=Path), help="Leave this path out; repeatable."
)
signature_option = click.option(
    "--signature", type=click.Path(path_type=Path), help="Where the signature is; default PATH/model.sig."
)


def model_named(word: str) -> bool:
    """Whether the word on the command line is a model of this folder's project, not a path.

    A path of the same name wins, unless it is where that model lies: then both mean the model.
    """
    file, path = project_file(), Path(word)
    if file is None or (path.exists() and path.name != word):
        return False
    try:
        models = config.read(file).models
    except ConfigError:
        if path.exists():  # it needs no project
            return False
        raise
    return word in models and (not path.exists() or path.resolve() == models[word].path.resolve())


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for."""

    what: str
    signer: Signer
    signature: Path | None
    ignore: tuple[Path, ...]
    end: datetime | None
    timestamp_url: str | None
    listing: Listing | None
    second: Objects | None
    certificates: tuple[bytes, ...]


@click.command()
@click.argument("what", metavar="PATH|NAME")
@key_option
@click.option("--add", is_flag=True, help="Add a signature to the one that is there, after checking the files.")
@signature_option
@ignore_option
@click.option("--expires", type=click.DateTime(), help="The signature counts until this moment (UTC).")
@click.option(
    "--certificate-chain",
    "chain",
    type=click.Path(path_type=Path),
    help="Sign by certificate, a PATH only: the signer's own (PEM) first, then those above it.",
)
@click.option("--timestamp-url", help="Have the signature stamped by this RFC 3161 authority (http or https).")
@listing_options
@keeping_options
@json_option
def sign(
    *,
    what: str,
    key: str,
    add: bool,
    signature: Path | None,
    ignore: tuple[Path, ...],
    expires: datetime | None,
    chain: Path | None,
    timestamp_url: str | None,
    hash_type: str,
    shard_size: int | None,
    second_store: str | None,
    record_in: str | None,
    print_record: Path | None,
    as_json: bool,
) -> None:
    """Sign a model by PATH, or by its NAME in assay.toml (then also a known-good copy and an audit entry)."""
    listing = listing_of(hash_type, shard_size)
    if add and (expires or timestamp_url or listing):
        raise ConfigError(
            "--add signs what was signed already: --expires, --timestamp-url, --hash-type and --shard-size"
            " are of the first signature"
        )
    signer = read_key(key)
    end = expires.replace(tzinfo=UTC) if expires else None
    if end is not None and end <= now():
        raise ConfigError(f"--expires {end:%Y-%m-%d %H:%M} UTC is past: the signature would never count")
    ready(print_record)
    second = second_place(second_store)
    if second is not None:
        second.ready()  # a place that cannot be reached is told before anything is signed
    named = model_named(what)
    certificates = _certificates(chain, fitting=not add and not named)
    order = _Order(what, signer, signature, ignore, end, timestamp_url, listing, second, certificates)
    if named:
        signed, extra = _added_by_name(order) if add else _by_name(order)
    else:
        signed, extra = _added_by_path(order) if add else _by_path(order)
        extra = {
            "note": "no audit entry: signed by path, not as a model of a project",
            **extra,
            **keep_path(second, what, signed),
        }
    if not signer.algorithm.startswith("ecdsa-"):
        extra["warning"] = f"model_signing does not read signatures by {signer.algorithm}; it reads those of EC keys"
    extra |= keep_records(signed, signer.key_id, print_record=print_record, record_in=record_in)
    _report(signed, signer.key_id, extra, as_json=as_json)


def _certificates(chain: Path | None, *, fitting: bool) -> tuple[bytes, ...]:
    if chain is None:
        return ()
    if not fitting:
        raise ConfigError("--certificate-chain is of the first signature of a PATH: a model of the project has keys")
    from assay.keys.x509 import check_usable, der, read_certificates

    certificates = read_certificates(chain)
    check_usable(certificates[0], now=now())
    return tuple(der(one) for one in certificates)


def _by_name(order: _Order) -> tuple[Signed, dict[str, object]]:
    from assay.project.integrity import sign_model

    project = open_project()
    with hashing(f"signing {order.what}", project.config.model(order.what).path) as report:
        signed, extra = sign_model(
            project,
            order.what,
            order.signer,
            expires=order.end,
            ignore=order.ignore,
            signature=order.signature,
            timestamp_url=order.timestamp_url,
            listing=order.listing,
            second=order.second,
            report=report,
            now=now(),
        )
    project.tell(now())
    return signed, extra


def _by_path(order: _Order) -> tuple[Signed, dict[str, object]]:
    from assay.project.stamping import stamper
    from assay.signing.about import About
    from assay.signing.sign import sign as sign_path
    from assay.storage.clock import utc_text

    path, about = Path(order.what), None
    if order.end is not None:
        about = About(name=path.resolve().name, version=0, created=utc_text(now()), expires=utc_text(order.end))
    with hashing(f"signing {order.what}", path) as report:
        signed = sign_path(
            path,
            order.signer,
            signature=order.signature,
            ignore=order.ignore,
            about=about,
            listing=order.listing,
            certificates=order.certificates,
            stamp=stamper(order.timestamp_url, None, now()),
            report=report,
            now=now(),
        )
    return signed, {}


def _added_by_name(order: _Order) -> tuple[Signed, dict[str, object]]:
    from assay.project.cosigning import cosign_model

    project = open_project()
    with progress(f"checking {order.what}"):
        signed, extra = cosign_model(
            project,
            order.what,
            order.signer,
            ignore=order.ignore,
            signature=order.signature,
            second=order.second,
            now=now(),
        )
    project.tell(now())
    return signed, extra


def _added_by_path(order: _Order) -> tuple[Signed, dict[str, object]]:
    from assay.signing.cosigning import cosign

    with progress(f"checking {order.what}"):
        signed = cosign(Path(order.what), order.signer, signature=order.signature, ignore=order.ignore, now=now())
    return signed, {}


def _report(signed: Signed, key_id: str, extra: dict[str, object], *, as_json: bool) -> None:
    manifest = signed.manifest
    if as_json:
        named = {"root": manifest.root, "signature": str(signed.bundle_path), "key_id": key_id}
        print_json({**named, **counts_of(manifest), **extra})
        return
    click.echo(f"signed {manifest.name}: {len(manifest.files)} files, {len(manifest.tensors)} tensors")
    click.echo(f"  root       sha256:{manifest.root}")
    if manifest.tensor_root:
        click.echo(f"  tensors    sha256:{manifest.tensor_root}")
    click.echo(f"  key        {key_id}\n  signature  {signed.bundle_path}")
    for name, value in extra.items():
        click.echo(f"  {name.replace('_', ' '):10} {value}")
