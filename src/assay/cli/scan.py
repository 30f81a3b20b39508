"""``assay scan``: what would opening this model run?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project, read_key, telling
from assay.cli.output import json_option, print_findings, print_json, progress
from assay.cli.sign import ignore_option, model_named, signature_option
from assay.cli.whose import signer_rule, whose_options
from assay.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from assay.artifacts.scan.scan import Scan
    from assay.signing.signers import SignerRule

CODES = {"pass": 0, "fail": 1, "unknown": 3}


@click.command()
@click.argument("what", metavar="PATH|NAME")
@whose_options
@signature_option
@ignore_option
@click.option("--key", metavar="KEY", help="NAME only: sign the result, so that the gate counts it.")
@click.option("--second-opinion", is_flag=True, help="Also ask picklescan, and say where it disagrees.")
@click.option("--sarif", type=click.Path(path_type=Path), help="Also write the findings here as SARIF.")
@json_option
def scan(
    *,
    what: str,
    signature: Path | None,
    ignore: tuple[Path, ...],
    key: str | None,
    second_opinion: bool,
    sarif: Path | None,
    as_json: bool,
    **whose: object,
) -> int:
    """Name the unsafe code in a model by PATH, or in the verified bytes of a model of the project by NAME.

    When it is said whose signature counts, its globals are held against those that were signed.

    Nothing is unpickled or run. Exit code 1 when something is dangerous or unknown, 3 when a part could not be
    scanned.
    """
    signers = signer_rule(whose)
    extra: dict[str, object] = {}
    if signers is None and model_named(what):
        found, extra = _by_name(what, key, signature, ignore, second_opinion=second_opinion)
    else:
        if key is not None:
            raise ConfigError("--key signs the scan of a model of the project: give its NAME, not a path")
        with progress(f"scanning {what}"):
            found = _by_path(Path(what), signers, signature, ignore, second_opinion=second_opinion)
    if sarif is not None:
        _write_sarif(sarif, found)
    if as_json:
        print_json({**found.as_json(), **extra})
    else:
        _report(what, found, extra)
    return CODES[found.outcome]


def _by_name(
    name: str, key: str | None, signature: Path | None, ignore: tuple[Path, ...], *, second_opinion: bool
) -> tuple[Scan, dict[str, object]]:
    from assay.project.scanning import scan_model

    if signature is not None or ignore:
        raise ConfigError("--signature and --ignore-path go with a PATH; a model of the project is scanned as signed")
    signer = read_key(key) if key else None
    project = open_project()
    with telling(project), progress(f"scanning {name}"):
        done = scan_model(project, name, signer=signer, now=now(), second_opinion=second_opinion)
    return done.scan, {"root": done.root, "statement": done.statement}


def _by_path(
    path: Path, signers: SignerRule | None, signature: Path | None, ignore: tuple[Path, ...], *, second_opinion: bool
) -> Scan:
    from assay.artifacts.scan.scan import against_signed, opinions_of, with_findings
    from assay.artifacts.scan.scan import scan as scan_path
    from assay.signing.sign import default_signature

    place = signature or default_signature(path)
    found = scan_path(path, ignore=ignore, signature=place)
    if signers is not None:
        from assay.signing.vouched import read_vouched

        vouched = read_vouched(place, signers, now())
        if not vouched.said:
            raise ConfigError(f"the signature {place} records no globals: sign the model again with assay sign")
        found = against_signed(found, vouched.globals, vouched.signer)
    if second_opinion:
        found = with_findings(found, opinions_of(path, found, ignore=ignore, signature=place))
    return found


def _write_sarif(place: Path, found: Scan) -> None:
    from importlib.metadata import version

    from assay.artifacts.scan.sarif import to_sarif

    try:
        place.write_text(json.dumps(to_sarif(found, version=version("assay")), indent=2) + "\n", encoding="utf-8")
    except OSError as err:
        raise StorageError(f"{place}: cannot be written ({err.strerror or err})") from err


def _report(what: str, found: Scan, extra: dict[str, object]) -> None:
    imports = sum(len(names) for names in found.globals.values())
    words = {"pass": "nothing unsafe", "fail": "unsafe or unknown code", "unknown": "could not be scanned to the end"}
    click.echo(f"scanned {what}: {len(found.files)} files, {imports} imported names: {words[found.outcome]}")
    print_findings(found.findings)
    if extra:
        statement = extra.get("statement")
        click.echo(f"  statement  {statement or 'not signed: the gate will not count it (--key)'}")
