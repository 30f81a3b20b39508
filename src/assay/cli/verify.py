"""``assay verify``: is it still the model that was signed, and by whom?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from assay.cli.apart import check_record, comparing_options, kept_name, second_place, wanted_record
from assay.cli.here import now, open_project, project_file, telling
from assay.cli.output import counts_of, hashing, json_option, print_findings, print_json, progress
from assay.cli.sign import ignore_option, model_named, signature_option
from assay.cli.whose import signer_rule, time_options, timestamp_authorities, whose_options
from assay.errors import AssayError, ConfigError, VerificationError
from assay.findings import Finding, Severity

if TYPE_CHECKING:
    from assay.signing.record import Wanted
    from assay.signing.signers import SignerRule
    from assay.signing.verified import VerifiedModel
    from assay.storage.objects import Objects


@click.command()
@click.argument("what", metavar="PATH|NAME")
@signature_option
@whose_options
@time_options
@comparing_options
@ignore_option
@click.option("--thorough", is_flag=True, help="Check SHA-256 and every tensor, not BLAKE3 of files only.")
@json_option
def verify(
    *,
    what: str,
    signature: Path | None,
    second_store: str | None,
    record: str | None,
    ignore: tuple[Path, ...],
    thorough: bool,
    as_json: bool,
    **whose: object,
) -> None:
    """Verify a model by PATH against a key or an authority, or by its NAME against the policy of assay.toml.

    Names each changed, missing and extra file and tensor; exit code 1 if there is any. With --record alone, the
    bytes are held against the record and nobody's signature is checked.
    """
    wanted = wanted_record(record)
    if wanted is not None and second_store is None and signer_rule(whose) is None and not model_named(what):
        _record_alone(what, wanted, signature, ignore, as_json=as_json)
        return
    further = None if wanted is None else partial(check_record, wanted)
    second = second_place(second_store)
    thorough = thorough or wanted is not None  # the record is of SHA-256: BLAKE3 alone says nothing about it
    model = verified(what, whose, signature=signature, ignore=ignore, second=second, further=further, thorough=thorough)
    agrees = {"record": wanted is not None, "second_store": second.place if second else None}
    _report(what, model, agrees, as_json=as_json)


def verified(
    what: str,
    whose: Mapping[str, object],
    *,
    signature: Path | None,
    ignore: tuple[Path, ...],
    second: Objects | None = None,
    further: Callable[[VerifiedModel], None] | None = None,
    thorough: bool = False,
    hold: bool = False,
) -> VerifiedModel:
    """Verify a model by path or by name, as the options say.

    Raises:
        ConfigError: It is no model of a project, and the options do not say whose signature counts.
        VerificationError: It is refused; inside a project that is logged.
    """
    signers = signer_rule(whose)
    if signers is None and not model_named(what):
        raise ConfigError(
            f"{what} is not a model of a project here, so it must be said whose signature counts: "
            "--public-key KEY.pub, or --certificate-chain CA.pem with --identity"
        )
    looking: dict[str, Any] = {"signature": signature, "ignore": ignore, "second": second, "further": further}
    looking |= {"digests": "both" if thorough else "fast", "hold": hold}
    if signers is None:
        from assay.project.integrity import verify_model

        project = open_project()
        place = project.config.model(what).path
        with telling(project), hashing(f"verifying {what}", place) as report:
            try:
                return verify_model(project, what, report=report, now=now(), **looking)
            except VerificationError as err:
                if any(finding.rule == "artifact.changed" for finding in err.findings):
                    click.echo(f"assay: how much changed, and what kind of change it is: assay diff {what}", err=True)
                raise
    with hashing(f"verifying {what}", Path(what)) as report:
        return _by_path(Path(what), signers, whose, report=report, **looking)


def _by_path(
    path: Path,
    signers: SignerRule,
    whose: Mapping[str, object],
    *,
    signature: Path | None,
    ignore: tuple[Path, ...],
    second: Objects | None,
    further: Callable[[VerifiedModel], None] | None,
    digests: Literal["fast", "both"],
    hold: bool,
    report: Callable[[int], None] | None,
) -> VerifiedModel:
    from assay.signing.sign import default_signature
    from assay.signing.verify import verify as verify_path

    verify = partial(
        verify_path,
        path,
        signature=signature,
        signers=signers,
        ignore=ignore,
        now=now(),
        authorities=timestamp_authorities(whose),
        digests=digests,
        hold=hold,
        report=report,
    )
    try:
        if second is None and further is None:
            return verify()
        from assay.signing.kept import verify_held

        place = default_signature(path) if signature is None else signature
        return verify_held(verify, second, [kept_name(str(path))], place, further=further)
    except VerificationError as err:
        if project_file():  # the log is opened only for a refusal: a verification that succeeds stays quick
            _log_refusal(path, err)
        raise


def _record_alone(
    what: str, wanted: Wanted, signature: Path | None, ignore: tuple[Path, ...], *, as_json: bool
) -> None:
    """Hold the bytes against a record, which is then the only thing trusted."""
    from assay.signing.kept import verify_recorded

    path = Path(what)
    try:
        with progress(f"verifying {what}"):
            manifest = verify_recorded(path, wanted, signature=signature, ignore=ignore)
    except VerificationError as err:
        if project_file():
            _log_refusal(path, err)
        raise
    warning = Finding("signature.unchecked", manifest.name, Severity.WARNING, "nobody's signature was checked")
    if as_json:
        counts = counts_of(manifest)
        nobody = {"signer": None, "key_id": None, "name": None, "version": None, "checked": "sha256"}
        agrees = {"record": True, "second_store": None, "findings": [warning.as_json()]}
        print_json({"verified": True, "root": manifest.root, **nobody, **counts, **agrees})
        return
    click.echo(f"{what} matches the record: {len(manifest.files)} files; nobody's signature was checked")
    click.echo(f"  root       sha256:{manifest.root}")


def _log_refusal(path: Path, error: VerificationError) -> None:
    """Log the refusal of a path inside a project's folder, and alert."""
    from assay.project.refusals import log_refusal

    try:
        project = open_project()
        log_refusal(project, str(path), path, error, now=now())
        project.tell(now())
    except AssayError as err:  # a project in disorder must not turn a refusal into something else
        click.echo(f"assay: warning: this refusal could not be logged: {err.message}", err=True)


def _report(what: str, model: VerifiedModel, agrees: Mapping[str, object], *, as_json: bool) -> None:
    manifest = model.manifest
    about = model.about
    if as_json:
        print_json(
            {
                "verified": True,
                "root": model.root,
                "signer": model.signer,
                "key_id": model.key_id,
                **counts_of(manifest),
                "name": about.name if about else None,
                "version": about.version if about else None,
                "checked": model.checked,
                **agrees,
                "findings": [finding.as_json() for finding in model.findings],
            }
        )
        return
    click.echo(f"verified {what}: {len(manifest.files)} files, {len(manifest.tensors)} tensors, all as signed")
    click.echo(f"  root       sha256:{model.root}")
    if manifest.tensor_root:
        click.echo(f"  tensors    sha256:{manifest.tensor_root}")
    click.echo(f"  signer     {model.signer}")
    if about:
        click.echo(f"  version    {about.version} of {about.name}, signed {about.created[:19]}Z")
    click.echo(f"  digests    {_digests(model)}")
    if agrees["record"]:
        click.echo("  record     the root digest is the recorded one")
    if agrees["second_store"]:
        click.echo(f"  apart      the signature is the one kept in {agrees['second_store']}")
    if project_file() is None:
        click.echo("  note       outside a project: no audit entry")
    print_findings(model.findings)


def _digests(model: VerifiedModel) -> str:
    """What was checked, and what could have been."""
    if model.checked == "both":
        return "SHA-256 and BLAKE3"
    if model.checked == "blake3" and all(file.sha256 for file in model.manifest.files):
        return "BLAKE3 of each file; SHA-256 and tensors too with --thorough"
    return f"{_WORDS[model.checked]}, the only ones signed"


_WORDS = {"sha256": "SHA-256", "blake3": "BLAKE3", "blake2b": "BLAKE2b"}
