"""``assay verify``: is it still the model that was signed, and by whom?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project, project_file, telling
from assay.cli.output import json_option, print_findings, print_json, progress
from assay.cli.sign import ignore_option, model_named, signature_option
from assay.cli.whose import signer_rule, time_options, timestamp_authorities
from assay.errors import AssayError, ConfigError, VerificationError

if TYPE_CHECKING:
    from assay.signing.signers import SignerRule
    from assay.signing.timestamp import TimestampAuthorities
    from assay.signing.verified import VerifiedModel


@click.command()
@click.argument("what", metavar="PATH|NAME")
@signature_option
@click.option("--public-key", type=click.Path(path_type=Path), help="The one key (PEM) whose signature counts.")
@click.option(
    "--certificate-chain", type=click.Path(path_type=Path), help="Certificates (PEM) of the authorities that count."
)
@click.option(
    "--identity", "identities", multiple=True, help="Whom they must have certified: mail, URI or host; repeatable."
)
@click.option("--any-identity", is_flag=True, help="Accept whomever the authorities certified.")
@time_options
@ignore_option
@json_option
def verify(*, what: str, signature: Path | None, ignore: tuple[Path, ...], as_json: bool, **whose: object) -> None:
    """Verify a model by PATH against a key or an authority, or by its NAME against the policy of assay.toml.

    Names each changed, missing and extra file and tensor; exit code 1 if there is any.
    """
    signers = signer_rule(whose)
    if signers is not None:
        model = _by_path(Path(what), signers, signature, ignore, authorities=timestamp_authorities(whose))
    elif model_named(what):
        from assay.project.integrity import verify_model

        project = open_project()
        with telling(project), progress(f"verifying {what}"):
            model = verify_model(project, what, signature=signature, ignore=ignore, now=now())
    else:
        raise ConfigError(
            f"{what} is not a model of a project here, so it must be said whose signature counts: "
            "--public-key KEY.pub, or --certificate-chain CA.pem with --identity"
        )
    _report(what, model, as_json=as_json)


def _by_path(
    path: Path,
    signers: SignerRule,
    signature: Path | None,
    ignore: tuple[Path, ...],
    *,
    authorities: TimestampAuthorities | None,
) -> VerifiedModel:
    from assay.signing.verify import verify as verify_path

    # The log is opened only for a refusal: a verification that succeeds stays quick.
    refused = partial(_log_refusal, path) if project_file() else None
    with progress(f"verifying {path}"):
        return verify_path(
            path,
            signature=signature,
            signers=signers,
            ignore=ignore,
            now=now(),
            authorities=authorities,
            on_refusal=refused,
        )


def _log_refusal(path: Path, error: VerificationError) -> None:
    """Log the refusal of a path inside a project's folder, and alert."""
    from assay.project.integrity import log_refusal

    try:
        project = open_project()
        log_refusal(project, str(path), path, error, now=now())
        project.tell(now())
    except AssayError as err:  # a project in disorder must not turn a refusal into something else
        click.echo(f"assay: warning: this refusal could not be logged: {err.message}", err=True)


def _report(what: str, model: VerifiedModel, *, as_json: bool) -> None:
    manifest = model.manifest
    about = model.about
    if as_json:
        print_json(
            {
                "verified": True,
                "root": model.root,
                "signer": model.signer,
                "key_id": model.key_id,
                "files": len(manifest.files),
                "tensors": len(manifest.tensors),
                "name": about.name if about else None,
                "version": about.version if about else None,
                "findings": [finding.as_json() for finding in model.findings],
            }
        )
        return
    click.echo(f"verified {what}: {len(manifest.files)} files, {len(manifest.tensors)} tensors, all as signed")
    click.echo(f"  root       sha256:{model.root}\n  signer     {model.signer}")
    if about:
        click.echo(f"  version    {about.version} of {about.name}, signed {about.created[:19]}Z")
    if project_file() is None:
        click.echo("  note       outside a project: no audit entry")
    print_findings(model.findings)
