"""What is normal for a model: learned from its reference, and for what it answers anew when another version goes live.

A deployment was reviewed, so nobody has to review the baseline that follows it; but what the reference says of the
inputs must be what it said, because that would be another normal, which somebody has to want.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import cast

from assay.engines.shelf import find as find_engine
from assay.errors import AssayError, BaselineError
from assay.findings import Finding, Severity
from assay.frameworks.base import Predictor
from assay.monitoring import store as monitoring
from assay.monitoring.baseline import Baseline
from assay.monitoring.learning import Task
from assay.monitoring.succession import same_inputs, succeed
from assay.project.copies import Copies
from assay.project.monitoring import predictions_of
from assay.project.project import Project
from assay.project.rebaselining import LEARNED, since_deployment
from assay.project.reference import check_split, reference_table, schema_of
from assay.release.deployment import Deployment
from assay.release.store import deployments, live_at
from assay.storage.clock import utc_text


def learned_baseline(
    project: Project,
    name: str,
    *,
    now: datetime,
    random_split: bool = False,
    known_good: tuple[str, Predictor] | None = None,
) -> Baseline:
    """Learn what is normal from the reference, and keep nothing.

    Where the answers in the reference are known to be those of another version than the one that is live, because
    they were learned from while that one was, the live version answers it anew.

    Args:
        project: Whose model.
        name: Which.
        now: The present.
        random_split: A reference that lies, in time, between the predictions or the training rows is meant so.
        known_good: Root digest and opened known-good copy of what is live, to answer the reference where it must be;
            None lets the verified bytes answer that are deployed.

    Raises:
        BaselineError: The reference is missing or too small, or looks like a random split and is not meant so.
        TableError: It cannot be read.
    """
    model = project.config.model(name)
    predictions = predictions_of(model)
    engine = find_engine(predictions.engine)
    live = live_at(project.state, name, now)
    source = reference_table(project, name, now=now, known_good=known_good)
    told = check_split(project, name, engine, source, now=now, meant=random_split)
    learn = partial(
        Baseline.learn,
        engine,
        schema=schema_of(predictions),
        window=model.monitor.window,
        now=now,
        task=cast("Task", model.task),  # one of them: config.py has seen to it
    )
    learned = learn(source)
    if live is not None:
        if source.paths == (model.reference,) and _answered_by_another(project, name, learned, live):
            answered = reference_table(project, name, now=now, known_good=known_good, anew=True)
            learned = replace(learn(answered), root=live.root)
        learned = replace(learned, since=utc_text(live.since))
    return replace(learned, findings=(*learned.findings, *told)) if told else learned


def _answered_by_another(project: Project, name: str, learned: Baseline, live: Deployment) -> bool:
    """Whether the reference's own answers are not the live version's.

    They are not where it has answered before in their place, and where the same was learned under another version.
    """
    in_force = monitoring.load_baseline(project.state, name)
    if in_force is not None and in_force.root == live.root:
        return True
    history = deployments(project.state, name)
    before = (
        one
        for one in project.log.entries(kinds=[LEARNED], subject=name)
        if learned_for(history, one.position) != live.root
    )
    return bool(learned.answers) and any(one.entry.data.get("answers") == learned.answers for one in before)


def learn_baseline(project: Project, name: str, *, now: datetime, random_split: bool = False) -> Baseline:
    """Learn what is normal from the reference; logged, and in force for all later windows.

    Arguments and errors are those of `learned_baseline`.
    """
    learned = learned_baseline(project, name, now=now, random_split=random_split)
    old = None if since_deployment(project, name) else monitoring.load_baseline(project.state, name)
    return keep_learned(project, name, learned, old, now=now)


def keep_learned(project: Project, name: str, learned: Baseline, old: Baseline | None, *, now: datetime) -> Baseline:
    """Let a baseline be in force for all later windows; logged.

    Args:
        project: Whose model.
        name: Which.
        learned: The baseline.
        old: The one before, where a deployment makes it the old one: what it says of the inputs goes on.
        now: The present.
    """
    if old is None:
        monitoring.save_baseline(project.state, name, learned)
    else:
        succeed(project.state, name, old, learned)
    data = {
        "digest": learned.digest,
        "content": learned.content,
        "answers": learned.answers,
        "windows": len(learned.windows),
        "signals": len(learned.specs),
    }
    project.log.append(LEARNED, name, data, actor=project.actor, now=now)
    return learned


def baseline_of(project: Project, name: str, *, now: datetime) -> Baseline:
    """The baseline in force; learned from the reference when there is none yet."""
    known = monitoring.load_baseline(project.state, name)
    if known is not None:
        return known
    if project.config.model(name).reference is None:
        raise BaselineError(
            f'{name} has no baseline and no reference to learn one from: set reference = "…" in [models.{name}]'
        )
    return learn_baseline(project, name, now=now)


def baseline_now(
    project: Project, name: str, baseline: Baseline, copies: Copies, now: datetime
) -> tuple[Baseline, tuple[Finding, ...]]:
    """The baseline that counts from now on: another one where another version went live since it was learned.

    Args:
        project: Whose model.
        name: Which.
        baseline: The one in force.
        copies: Known-good copies; that of the version that is live now answers the reference.
        now: The present.

    Returns:
        The baseline, and what happened: that there is another one, or why it is still that of the version before.
    """
    history = deployments(project.state, name)
    live = live_at(project.state, name, now)
    if live is None or len({one.root for one in history}) < 2:  # noqa: PLR2004 - only one version was ever live
        return baseline, ()
    last = project.log.entries(kinds=[LEARNED], subject=name)[-1]
    root = learned_for(history, last.position)
    if root == live.root:
        return baseline, ()
    since = f"{live.root[:12]} is live since {live.since:%Y-%m-%d %H:%M} UTC"
    try:
        copy = copies.opened(live.root)
        new = _followed(project, name, baseline, (live.root, copy) if copy is not None else None, now)
    except AssayError as err:
        what = f"answers are judged by what version {root[:12]} answered, and {since}: {err.message}"
        return baseline, (Finding("baseline.other-version", name, Severity.WARNING, what),)
    what = f"{since}: its answers are judged by what it answers on the reference, its inputs as before"
    return new, (Finding("baseline.renewed", name, Severity.INFO, what),)


def learned_for(history: Sequence[Deployment], position: int) -> str:
    """Root digest of the version that was live when something was logged; of the first one before there was any.

    Args:
        history: All deployments of the model, at least one, in the order of the log.
        position: Place of the entry in the log.
    """
    before = [one.root for one in history if one.position < position]
    return before[-1] if before else history[0].root


def _followed(
    project: Project, name: str, old: Baseline, known_good: tuple[str, Predictor] | None, now: datetime
) -> Baseline:
    """Learn and keep what the live version answers; whether the reference is a random split was decided before.

    Raises:
        BaselineError: The reference says something else about the inputs than it did.
    """
    if project.config.model(name).reference is None:
        raise BaselineError("no reference is named any more to learn from")
    new = learned_baseline(project, name, now=now, random_split=True, known_good=known_good)
    if not same_inputs(old, new):
        raise BaselineError(
            f"the reference says something else about the inputs than on {old.created[:10]}; if that shall be the "
            f"new normal: assay baseline {name}"
        )
    return keep_learned(project, name, new, old, now=now)
