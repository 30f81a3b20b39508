"""``assay validate``: does the model behave as it must?"""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.here import now, open_project, read_key, telling
from assay.cli.output import Written, json_option, print_json, print_table, progress


@click.command()
@click.argument("name")
@click.option("--suite", help="FILE:NAME of another suite than that of assay.toml.")
@click.option("--key", metavar="KEY", help="Key that signs the result, so that the gate counts it.")
@click.option("--junit", type=Written(), help="Also write the report here as JUnit XML.")
@click.option("--markdown", type=Written(), help="Also write the report here as Markdown.")
@json_option
def validate(
    *, name: str, suite: str | None, key: str | None, junit: Path | None, markdown: Path | None, as_json: bool
) -> int:
    """Run the suite of model NAME on its verified bytes.

    Exit code 0 all checks passed, 1 one failed, 3 one could not tell.
    """
    from assay.project.validating import CHECK, validate_model

    signer = read_key(key) if key else None
    project = open_project()
    with telling(project), progress(f"validating {name}"):
        done = validate_model(project, name, suite=suite, signer=signer, now=now())
    report = done.report
    if junit:
        junit.write_text(report.to_junit(), encoding="utf-8")
    if markdown:
        markdown.write_text(report.to_markdown(), encoding="utf-8")
    if as_json:
        print_json({**report.to_json(), "outcome": report.outcome.value, "statement": done.statement})
    else:
        rows = [(one.name, one.kind, one.outcome.value, one.detail) for one in report.results]
        print_table(("check", "kind", "outcome", "detail"), rows, title=f"{report.suite}: {report.outcome.value}")
        signed = (
            f"signed statement {done.statement[:16]}…" if done.statement else "not signed: the gate will not count it"
        )
        click.echo(f"{signed}; report in {done.folder}")
    return {"pass": 0, "fail": 1, "unknown": 3}[CHECK[report.outcome]]
