"""Which baseline is in force: the newest that the log tells of, and another one only by somebody's review.

The log is signed and nobody rewrites it, so the database cannot bring in a baseline of its own. A new one in place of
another makes whatever has changed the new normal: that needs a reason, and where the model has a policy the signature
of somebody it names. The first after a deployment needs neither, because the deployment was reviewed; nor does one that
says what the one in force says, as two processes that began at once may learn it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import select

from assay.audit.entry import Logged
from assay.errors import BaselineError, ConfigError, PolicyError, VerificationError
from assay.keys.base import Signer
from assay.project.project import Project
from assay.signing.moment import Moment
from assay.signing.statement import Envelope, Statement, Subject, open_envelope, seal
from assay.storage.database import reading
from assay.storage.tables import baselines

if TYPE_CHECKING:
    from assay.monitoring.baseline import Baseline

LEARNED, REVIEWED = "baseline.learned", "baseline.reviewed"
DEPLOYED = ("model.deployed", "model.rolled-back")
REVIEW = "https://assay.dev/baseline-review/v1"


def renew_baseline(
    project: Project, name: str, *, reason: str, signer: Signer | None, now: datetime, random_split: bool = False
) -> Baseline:
    """Learn a baseline that is in force from now on; in place of another one only as a reviewed act.

    Args:
        project: Whose model.
        name: Which.
        reason: Why the one in force shall not count any more; the first after a deployment needs none. Without one
            the baseline in force stays when it would be learned again as it is.
        signer: Key of a reviewer; needed with a reason where the model has a policy.
        now: The present.
        random_split: A reference between other rows in time is meant so.

    Raises:
        ConfigError: It takes the place of another one, and no reason or no key is given.
        PolicyError: The key is that of nobody whom the policy names.
        VerificationError: The key is not trusted.
        BaselineError: Nothing can be learned from the reference.
    """
    from assay.project.baselines import baseline_of, learn_baseline, learned_baseline  # brings in all of monitoring

    since = since_deployment(project, name)
    reviewers = _reviewers(project, name)
    if since:
        last = since[-1][-1]
        if not reason.strip():
            check_baseline(project, name)
            if learned_baseline(project, name, now=now, random_split=random_split).content == _content(last):
                return baseline_of(project, name, now=now)
            raise ConfigError(
                f"{name} has a baseline of {last.entry.time:%Y-%m-%d}, and its reference now says something else: "
                'another baseline makes what has changed since the new normal; say why with --reason "…"'
            )
        if reviewers and signer is None:
            raise ConfigError(f"{name} has a policy: another baseline is signed by one whom it names, --key KEY")
    if signer is not None:
        who = project.trust.identify(signer.key_id, Moment(now)).identity
        if reviewers and who not in reviewers:
            raise PolicyError(f"{who} reviews nothing of {name}: the policy names {', '.join(sorted(reviewers))}")
    learned = learn_baseline(project, name, now=now, random_split=random_split)
    if since:
        replaced = str(last.entry.data.get("digest"))
        data: dict[str, object] = {"digest": learned.digest, "replaces": replaced, "reason": reason.strip()}
        if signer is not None:
            statement = Statement((Subject(name, {"sha256": learned.digest}),), REVIEW, {**data, "model": name})
            data["statement"] = seal(statement, signer).to_json()
        project.log.append(REVIEWED, name, data, actor=project.actor, now=now)
    return learned


def check_baseline(project: Project, name: str) -> None:
    """Return when the baseline in force is the newest of the log, and reviewed where it must be; or there is none.

    Raises:
        BaselineError: It is not.
    """
    newest = select(baselines.c.digest).where(baselines.c.model == name)
    with reading(project.state) as connection:
        digest = connection.execute(newest.order_by(baselines.c.created.desc(), baselines.c.digest).limit(1)).scalar()
    if digest is None:
        return
    again = f'if it is right: assay baseline {name} --reason "…"'
    since = since_deployment(project, name)
    told = since or _alike(project.log.entries(kinds=[LEARNED], subject=name))
    digests = {str(one.entry.data.get("digest")) for one in told[-1]} if told else set()
    if digest not in digests or not _says(project, name, digest, told[-1][0]):
        raise BaselineError(
            f"the baseline {digest[:12]}… of {name} is not the newest that the log tells of: somebody put it into the "
            f"database, or a run was killed; {again}"
        )
    reviewers = _reviewers(project, name)
    if len(since) < 2 or not reviewers:  # noqa: PLR2004 - the first, and one in its place
        return
    for one in reversed(project.log.entries(after=told[-1][0].position, kinds=[REVIEWED], subject=name)):
        if any(_reviewer(project, one, known) in reviewers for known in digests):
            return
    raise BaselineError(
        f"nobody whom the policy names has reviewed the baseline {digest[:12]}… of {name}; {again} --key KEY"
    )


def since_deployment(project: Project, name: str) -> list[list[Logged]]:
    """What was learned since the model last went live: the first was expected, each other one is in its place."""
    logged = project.log.entries(kinds=[LEARNED, *DEPLOYED], subject=name)
    deployed = max((place for place, one in enumerate(logged) if one.entry.kind in DEPLOYED), default=-1)
    return _alike(logged[deployed + 1 :])


def _alike(logged: Sequence[Logged]) -> list[list[Logged]]:
    """The same, with those together that say the same one after the other."""
    return [list(some) for _, some in groupby(logged, key=_content)]


def _says(project: Project, name: str, digest: str, first: Logged) -> bool:
    """Whether a baseline says what the first of those alike did, by itself and not by what the log says of it."""
    if first.entry.data.get("digest") == digest:
        return True
    from assay.monitoring.store import load_baseline  # brings in all of monitoring, and two at once are rare

    stored = load_baseline(project.state, name)
    return stored is not None and stored.digest == digest and stored.content == _content(first)


def _content(logged: Logged) -> str:
    """What was learned, whenever that was."""
    return str(logged.entry.data.get("content") or logged.entry.data.get("digest"))


def _reviewers(project: Project, name: str) -> frozenset[str]:
    policy = project.config.model(name).policy
    return frozenset((*policy.approvers, *policy.signed_by)) if policy else frozenset()


def _reviewer(project: Project, logged: Logged, digest: str) -> str | None:
    """Who signed for a baseline; the key must have counted when the log took it. None where nobody did."""
    text = logged.entry.data.get("statement")
    try:
        envelope = Envelope.parse(text if isinstance(text, str) else "")
        opened = open_envelope(envelope, project.trust, predicate_type=REVIEW, now=logged.entry.time)
    except VerificationError:
        return None
    wanted = (Subject(logged.entry.subject, {"sha256": digest}),)
    return opened.identity if opened.statement.subjects == wanted else None
