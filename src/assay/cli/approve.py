"""``assay approve`` and ``assay reject``: a signed human review of exactly these digests."""

from __future__ import annotations

from typing import Literal

import click

from assay.cli.here import key_option, now, open_project, read_key
from assay.cli.output import json_option, print_json
from assay.storage.clock import parse_span


@click.command()
@click.argument("name")
@key_option
@click.option("--reason", default="", help="What you looked at.")
@click.option("--expires", default="30d", show_default=True, help="How long the approval counts: 12h, 30d.")
@json_option
def approve(*, name: str, key: str, reason: str, expires: str, as_json: bool) -> None:
    """Approve model NAME: the bytes, training data, policy and report that are there now."""
    _review(name, key, "approve", reason, expires, as_json=as_json)


@click.command()
@click.argument("name")
@key_option
@click.option("--reason", required=True, help="What must change.")
@click.option("--expires", default="30d", show_default=True, help="How long the rejection counts.")
@json_option
def reject(*, name: str, key: str, reason: str, expires: str, as_json: bool) -> None:
    """Reject model NAME as it is now; no number of approvals outweighs a rejection."""
    _review(name, key, "reject", reason, expires, as_json=as_json)


def _review(
    name: str, key: str, decision: Literal["approve", "reject"], reason: str, expires: str, *, as_json: bool
) -> None:
    from assay.project.releasing import review

    signer = read_key(key)
    project = open_project()
    identity, subject = review(
        project, name, signer, decision=decision, reason=reason, expires_after=parse_span(expires), now=now()
    )
    project.tell(now())
    if as_json:
        print_json({"identity": identity, "decision": decision, "subject": subject.as_json()})
        return
    click.echo(f"{identity}: {decision} {name}")
    for word, value in subject.as_json().items():
        click.echo(f"  {word.replace('_', ' '):14} {value or '—'}")
