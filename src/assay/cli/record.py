"""``assay record``: the root digest of a verified model on one page, or on a token."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.apart import ready, write_page, write_token
from assay.cli.output import json_option, print_json
from assay.cli.sign import ignore_option, signature_option
from assay.cli.verify import verified
from assay.cli.whose import time_options, whose_options
from assay.errors import ConfigError


@click.command()
@click.argument("what", metavar="PATH|NAME")
@click.option("--out", type=click.Path(path_type=Path), help="Write the page here: .html or .txt.")
@click.option("--in", "token", metavar="ADDRESS", help="Put it on a token: pkcs11:token=…;object=LABEL?module-path=…")
@signature_option
@whose_options
@time_options
@ignore_option
@json_option
def record(
    *,
    what: str,
    out: Path | None,
    token: str | None,
    signature: Path | None,
    ignore: tuple[Path, ...],
    as_json: bool,
    **whose: object,
) -> None:
    """Write the root digest of a signed model down, to be kept apart from it.

    The model is verified first: by PATH against a key or an authority, by its NAME against the policy of assay.toml.
    """
    from assay.signing.page import to_text
    from assay.signing.record import Record, left_out, words_of

    if out is None and token is None and as_json:
        raise ConfigError("say where the record goes: --out FILE or --in pkcs11:…")
    ready(out)
    with verified(what, whose, signature=signature, ignore=ignore, thorough=True) as model:
        about, manifest = model.about, model.manifest
        name, version, created = (about.name, about.version, about.created) if about else (manifest.name, None, "")
        found = Record(model.root, name, version, created, model.key_id, left_out(manifest.ignore))
    if token is not None:
        write_token(token, found)
    if out is not None:
        write_page(out, found)
    if as_json:
        places = {"out": str(out) if out else None, "in": token.partition("?")[0] if token else None}
        print_json({"root": found.root, "words": list(words_of(found.root)), **places})
    elif out is None and token is None:
        click.echo(to_text(found), nl=False)
    else:
        click.echo(f"recorded {name}: root sha256:{found.root}")
