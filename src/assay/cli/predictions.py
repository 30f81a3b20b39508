"""``assay predictions``: recorded predictions kept in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from assay.cli.here import now, open_project, telling
from assay.cli.output import json_option, print_findings, print_json, progress
from assay.errors import ConfigError
from assay.findings import Severity

if TYPE_CHECKING:
    from assay.project.project import Project
    from assay.project.retention import Pruned


@click.group()
def predictions() -> None:
    """Keep what a Recorder writes in order: labels joined, few files, old days deleted."""


@predictions.command()
@click.argument("name")
@json_option
def tidy(*, name: str, as_json: bool) -> int:
    """Join labels of model NAME, compact hours and days that are over, delete days that assay.toml does not keep.

    Exit code 3 if a file cannot be read. `assay tick` does the same every hour.
    """
    from assay.project.retention import tidy as keep_in_order

    project = open_project()
    with telling(project), progress(f"tidying the predictions of {name}"):
        done = keep_in_order(project, name, now=now())
    findings = (*done.settled.findings, *done.compacted.findings)
    if as_json:
        compacted = {"merged": done.compacted.merged, "made": done.compacted.made, "removed": done.compacted.removed}
        labels = {"joined": done.settled.joined, "waiting": done.settled.waiting}
        told = {"labels": labels, "compacted": compacted, "pruned": _object(done.pruned) if done.pruned else None}
        print_json({"model": name, **told, "findings": [finding.as_json() for finding in findings]})
    else:
        click.echo(
            f"{name}: {done.settled.joined:,} labels joined, {done.settled.waiting:,} wait for their rows; "
            f"{done.compacted.merged:,} files became {done.compacted.made:,}, {done.compacted.removed:,} taken away"
        )
        if done.pruned:
            _say(done.pruned, dry=False)
        print_findings(findings)
    return 3 if any(finding.severity is Severity.ERROR for finding in findings) else 0


@predictions.command()
@click.argument("name")
@click.option("--before", metavar="DATE", help="Delete days before this one, YYYY-MM-DD in UTC.")
@click.option("--keep", metavar="SPAN", help="Delete days older than this: 2y, 90d. Default: keep of assay.toml.")
@click.option("--below-floor", is_flag=True, help="Delete days that are still needed as well; needs --reason.")
@click.option("--reason", help="Why; it stands in the audit log.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@json_option
def prune(
    *,
    name: str,
    before: str | None,
    keep: str | None,
    below_floor: bool,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete recorded days of model NAME; refused where the baseline, an open incident or 512 windows need them.

    What is deleted is an act in the audit log, with the number of rows and a digest.
    """
    from assay.project.retention import prune as delete_days

    if below_floor != bool(reason):
        raise ConfigError('--below-floor and --reason "…" go together: the reason stands in the audit log')
    project = open_project()
    present = now()
    with telling(project), progress(f"pruning the predictions of {name}"):
        done = delete_days(
            project,
            name,
            before=_before(project, name, before, keep, present),
            now=present,
            whole=bool(before or keep),
            reason=reason,
            dry=dry_run,
        )
    if as_json:
        print_json({"model": name, **_object(done)})
    else:
        _say(done, dry=dry_run)


def _before(project: Project, name: str, before: str | None, keep: str | None, present: datetime) -> datetime:
    from assay.project.monitoring import predictions_of
    from assay.project.retention import ago
    from assay.storage.clock import parse_span

    if before and keep:
        raise ConfigError("give --before or --keep, not both")
    if before:
        try:
            return datetime.strptime(before, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError as err:
            raise ConfigError(f"--before is {before!r}, a day like 2026-01-31 is wanted") from err
    span = parse_span(keep) if keep else predictions_of(project.config.model(name)).keep
    if span is None:
        raise ConfigError(
            f'say what to delete: --before 2026-01-31, --keep 2y, or keep = "2y" in [models.{name}.predictions]'
        )
    return ago(span, present)


def _object(done: Pruned) -> dict[str, object]:
    from assay.storage.clock import utc_text

    doomed = done.doomed
    return {
        "before": utc_text(doomed.before),
        "wanted": utc_text(done.wanted),
        "first": utc_text(doomed.first) if doomed.first else None,
        "rows": doomed.rows,
        "files": len(doomed.files),
        "bytes": doomed.bytes,
        "labels": done.labels,
        "digest": doomed.digest,
        "deleted": done.log is not None,
        "log": done.log,
        "needs": [{"what": need.what, "since": utc_text(need.since), "detail": need.detail} for need in done.needs],
    }


def _say(done: Pruned, *, dry: bool) -> None:
    doomed = done.doomed
    verb = "would delete" if dry else "deleted"
    if doomed.first is None:
        click.echo(f"no recorded day before {doomed.before:%Y-%m-%d} is there")
    else:
        click.echo(
            f"{verb} {doomed.rows:,} rows in {len(doomed.files):,} files ({doomed.bytes / 1e6:,.1f} MB), "
            f"from {doomed.first:%Y-%m-%d} until before {doomed.before:%Y-%m-%d}"
        )
    if done.log is not None:
        click.echo(f"  log entry {done.log}")
    if done.wanted > doomed.before:
        for need in done.needs:
            if need.since < done.wanted:
                click.echo(f"  kept, though older than wanted: {need.detail}")
