"""``assay fingerprint``: is what answers behind the API still the model that was recorded?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.here import KEY_HELP, now, open_project, read_key, telling
from assay.cli.output import Share, json_option, print_json, progress, say, typed_of
from assay.errors import ConfigError

if TYPE_CHECKING:
    from assay.project.fingerprinting import Held, Recorded

_CODES = {"same": 0, "changed": 1, "unknown": 3}


@click.command()
@click.argument("name")
@click.option("--record", "recording", is_flag=True, help="Record it, while the model is known to be right.")
@click.option("--key", metavar="KEY", help=f"With --record. {KEY_HELP}")
@click.option("--probes", metavar="FILE", help="With --record: a JSON list of requests, else rows of the reference.")
@click.option(
    "--count",
    default=5,
    show_default=True,
    type=click.IntRange(1, 64),
    help="With --record: how many probes are chosen.",
)
@click.option(
    "--pairs",
    default=400,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="With --record: stored answers a probe to compare with.",
)
@click.option(
    "--rate",
    default=0.01,
    show_default=True,
    type=Share(1e-6, 0.2),
    help="With --record: chance that the same model is accused.",
)
@click.option(
    "--queries",
    default=500,
    show_default=True,
    type=click.IntRange(1),
    help="Most answers of this run, where answers vary.",
)
@json_option
def fingerprint(*, name: str, recording: bool, key: str | None, queries: int, as_json: bool, **options: object) -> int:
    """Ask model NAME its probes again: the same model within the error rate, or another one?

    Exit code 0: nothing beyond the error rate; 1: it is not the model that was recorded; 3: it could not be told, as
    when the API does not answer or nothing was recorded.
    """
    from assay.project.fingerprinting import hold_fingerprint

    kept = typed_of(("queries",) if recording else ("key", "probes", "count", "pairs", "rate"))
    if kept:
        raise ConfigError(f"{kept[0]} {'does not belong' if recording else 'belongs'} to --record")
    project = open_project()
    if recording:
        recorded = _record(name, key, options)
        project.tell(now())
        _say_recorded(name, recorded, as_json=as_json)
        return 0
    with telling(project), progress(f"asking {name}"):
        held = hold_fingerprint(project, name, now=now(), queries=queries)
    _say(name, held, as_json=as_json)
    return _CODES[held.judged.outcome]


def _record(name: str, key: str | None, options: dict[str, object]) -> Recorded:
    from assay.monitoring.fingerprint.record import Plan
    from assay.project.fingerprinting import record_fingerprint

    if not key:
        raise ConfigError("a fingerprint is signed: give --key KEY")
    plan = Plan(probes=int(str(options["count"])), pairs=int(str(options["pairs"])))
    file = Path(str(options["probes"])) if options["probes"] else None
    with progress(f"recording {name}"):
        return record_fingerprint(
            open_project(), name, read_key(key), now=now(), plan=plan, probes=file, rate=float(str(options["rate"]))
        )


_KINDS = {
    "exact": "answers are alike each time: one that differs, and differs again, is a fact",
    "sampled": "answers vary: evidence is gathered from pairs, each stored answer used once",
    "known": "answers vary; their probabilities are those of the file",
}
_BYTES = "its bytes are known here: assay verify says more, and surely"


def _say_recorded(name: str, recorded: Recorded, *, as_json: bool) -> None:
    reference = recorded.reference
    if as_json:
        print_json(
            {
                "model": name,
                "root": recorded.root,
                "statement": recorded.statement,
                "kind": reference.kind,
                "probes": len(reference.probes),
                "queries": recorded.queries,
                "error_rate": recorded.rate,
                "tolerance": reference.tolerance if reference.kind == "exact" else None,
                "needed": recorded.remote,
            }
        )
        return
    click.echo(f"fingerprint of {name}: {len(reference.probes)} probes, {recorded.queries} answers")
    click.echo(f"  {_KINDS[reference.kind]}")
    if not recorded.remote:
        click.echo(f"  not needed: {_BYTES}")


def _say(name: str, held: Held, *, as_json: bool) -> None:
    judged, recorded = held.judged, held.recorded
    if as_json:
        print_json(
            {
                "model": name,
                "outcome": judged.outcome,
                "change": judged.change,
                "temperature": judged.temperature,
                "kind": recorded.reference.kind,
                "queries": judged.queries,
                "log_e": judged.log_e,
                "difference": judged.difference,
                "error_rate": recorded.rate,
                "run": held.number,
                "detail": judged.detail,
                "trouble": judged.trouble,
                "needed": recorded.remote,
            }
        )
        return
    words = {"same": "the same model", "changed": "NOT THE RECORDED MODEL", "unknown": "could not be told"}
    click.echo(f"{name}: {words[judged.outcome]}, {judged.queries} answers, error rate {recorded.rate:g}")
    say(f"  {judged.detail}")
    if not recorded.remote:
        click.echo(f"  not needed: {_BYTES}")
