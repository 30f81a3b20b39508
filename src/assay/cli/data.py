"""``assay data``: is the training data still what the model was made from?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project, telling
from assay.cli.output import Written, json_option, print_findings, print_json, progress
from assay.errors import ConfigError, TableError
from assay.findings import Finding, Severity

if TYPE_CHECKING:
    from assay.lineage.fingerprint import DatasetFingerprint

label_option = click.option("--label", help="The label column: tells label flips from edits of features.")


@click.group()
def data() -> None:
    """Fingerprint, verify and compare training data down to the row."""


@data.command()
@click.argument("table")
@label_option
@click.option("--output", type=Written(), help="Write the fingerprint here, and TABLE.rows.bin beside.")
@json_option
def fingerprint(table: str, *, label: str | None, output: Path | None, as_json: bool) -> None:
    """Digests of TABLE (CSV, Parquet, a folder or glob): its files, its rows in and out of order, its features."""
    from assay.lineage import store
    from assay.lineage.fingerprint import fingerprint as measure

    with progress(f"fingerprinting {table}"):
        found = measure(table, label=label)
    if output:
        if output.exists():
            raise ConfigError(f"{output} is there already: name a new file")
        store.write(output.parent, output.stem, found)
        output.write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(found.to_json())
        return
    click.echo(f"{found.rows:,} rows, {len(found.columns)} columns, {len(found.files)} files")
    click.echo(f"  rows in any order  {found.multiset_root}\n  rows in this order {found.ordered_root}")
    if found.features_root:
        click.echo(f"  features only      {found.features_root}")
    if output:
        click.echo(f"  written to         {output}")


@data.command()
@click.argument("name")
@json_option
def verify(name: str, *, as_json: bool) -> int:
    """Hold the training data of model NAME against its signed fingerprint; exit code 1 if it differs."""
    from assay.project.data import verify_data

    project = open_project()
    with telling(project), progress(f"reading the training data of {name}"):
        report = verify_data(project, name, now=now())
    if as_json:
        findings = [finding.as_json() for finding in report.findings]
        print_json({"changed": report.changed, "rows": report.rows, "root": report.root, "findings": findings})
    else:
        click.echo(f"training data of {name}: {'CHANGED' if report.changed else 'as signed'}, {report.rows:,} rows")
        print_findings(report.findings)
    return 1 if report.changed else 0


@data.command()
@click.argument("old")
@click.argument("new")
@label_option
@json_option
def diff(old: str, new: str, *, label: str | None, as_json: bool) -> int:
    """Name the rows in which two tables differ; OLD may be a fingerprint written by `assay data fingerprint`."""
    from assay.lineage.compare import compare
    from assay.lineage.fingerprint import fingerprint as measure

    with progress(f"comparing {old} and {new}"):
        before = _written(Path(old)) if old.endswith(".json") else measure(old, label=label, missing_labels=True)
        after = measure(new, label=label or before.label, missing_labels=True)
        findings = compare(before, after)
    return _report(findings, as_json=as_json)


def _written(path: Path) -> DatasetFingerprint:
    from assay.lineage import store
    from assay.lineage.fingerprint import DatasetFingerprint

    try:
        found = DatasetFingerprint.parse(path.read_bytes())
    except OSError as err:
        raise TableError(f"{path} cannot be read: {err.strerror}") from err
    return store.read(path.parent, path.stem, found)


def _report(findings: tuple[Finding, ...], *, as_json: bool) -> int:
    changed = any(finding.severity is not Severity.INFO for finding in findings)
    if as_json:
        print_json({"changed": changed, "findings": [finding.as_json() for finding in findings]})
    else:
        click.echo("the rows differ" if changed else "the same rows")
        print_findings(findings)
    return 1 if changed else 0
