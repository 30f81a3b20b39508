"""Evidence 2, replay: do the served outputs agree with the signed copy on the same inputs?"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from assay.diagnosis.case import Case
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.frames import Frame
from assay.diagnosis.learners import Ints, Regions
from assay.diagnosis.replaying import Replay, replay_sample
from assay.diagnosis.slices import describe
from assay.findings import Finding, Severity
from assay.frameworks.base import Predictor
from assay.inference.intervals import newcombe, wilson

RECENT_ROWS, BEFORE_ROWS = 2_000, 1_000
FEWEST_ROWS = 50
FEWEST_HARD = 3  # one odd row may be a logging slip; three of a deterministic model are not
HARD_SHARE = 0.002
SAMPLING_SHARE = 0.02  # a sampling model must differ by this much more than it differs from itself
REGION_ROWS = 30
LEVEL = 0.95
CERTAIN = 0.999  # for each look at all classes of a sampling model together
SUSTAINED = 3
OTHER_ROWS = 10  # fewer outputs may be another version's by chance


def gather(comparison: Comparison) -> Evidence:
    """Share of outputs that differ from the known-good copy's, and where."""
    case = comparison.case
    recent = replay_sample(case.recent, case, rows=RECENT_ROWS)
    if recent.trouble is not None:
        advice = "keep a signed known-good copy of each version (`assay sign NAME` makes it)"
        known = recent.unanswered or case.no_copy  # says itself what to do, or that it did not answer
        return Evidence("replay", missing=recent.trouble if known else f"{recent.trouble}: {advice}")
    if len(recent) < FEWEST_ROWS:
        return Evidence("replay", missing=f"only {len(recent)} rows could be replayed, {FEWEST_ROWS} are needed")
    before = (
        replay_sample(case.before, case, rows=BEFORE_ROWS)
        if case.before.num_rows
        else recent.__class__(recent.row[:0], recent.differs[:0], recent.hard[:0], {})
    )
    n, differing, hard = len(recent), int(recent.differs.sum()), int(recent.hard.sum())
    low, high = wilson(differing, n, LEVEL)
    changed = _changed(recent, before)
    other = _other_version(case, recent) if changed else None
    return Evidence(
        "replay",
        value=differing / n,
        low=low,
        high=high,
        unit="share of outputs that differ from the known-good copy's",
        detail=_detail(recent, before, changed=changed) + _elsewhere(case, other),
        # Soft differences that are no fact leave the question open: they count neither way.
        numbers={"agrees": 1.0} if not changed and differing <= n * HARD_SHARE else {},
        decides=("model-tampering" if other is None else "unrecorded-deployment") if changed else None,
        findings=_findings(comparison, recent) if changed else (),
        onset_s=_onset(comparison, recent) if changed else None,
        notes={
            "rows": n,
            "differing": differing,
            "hard": hard,
            "before_rows": len(before),
            "before_differing": int(before.differs.sum()),
            "skipped": recent.skipped,
            "varies": round(recent.varies, 4),
        }
        | ({"other_version": other} if other else {}),
    )


def _other_version(case: Case, recent: Replay) -> str | None:
    """Root digest of another signed version that gives what the copies did not: deployed, but not recorded for then.

    Only versions of which there is a verified copy are asked, so an older one put back counts as well. Rows that say
    themselves which version answered them are not excused by another.
    """
    rows = case.recent.take(pa.array(recent.row[recent.differs]))
    if rows.num_rows < OTHER_ROWS:
        return None
    copies: dict[str, Predictor] = {**case.copies}
    if case.bytes.recorded_root is not None and case.known_good is not None:
        copies[case.bytes.recorded_root] = case.known_good
    for root, copy in copies.items():
        facts = replace(case.bytes, recorded_root=root)
        alone = replace(case, recent=rows, known_good=copy, bytes=facts, deployments=(), copies={})
        again = replay_sample(rows, alone, rows=RECENT_ROWS)
        if len(again) == rows.num_rows and not again.varies and int(again.differs.sum()) <= len(again) * HARD_SHARE:
            return root
    return None


def _elsewhere(case: Case, other: str | None) -> str:
    if other is None:
        return ""
    since = max((fact.since for fact in case.deployments if fact.root == other), default=None)
    told = "" if since is None else f", recorded as live since {since:%Y-%m-%d %H:%M} UTC"
    return f" The signed copy of another version gives them: {other[:12]}{told}."


def _changed(recent: Replay, before: Replay) -> bool:
    n, hard = len(recent), int(recent.hard.sum())
    if recent.varies > 0:  # a sampling model: more than it differs from itself, and from itself before
        own = max(recent.varies, float(before.hard.mean()) if len(before) else 0.0)
        low, _ = newcombe(hard, n, own * n, n, LEVEL)
        return low > SAMPLING_SHARE or _leaning(recent, before) > HARD_SHARE
    if hard >= max(FEWEST_HARD, HARD_SHARE * n):
        return True
    soft, soft_before = int(recent.differs.sum()), int(before.differs.sum())
    # A lawful conversion (half precision, another build) differs softly, and did so before too.
    if len(before) < FEWEST_ROWS or soft < FEWEST_HARD:
        return False
    low, _ = newcombe(soft, n, soft_before, len(before), LEVEL)
    return low > max(HARD_SHARE, soft_before / len(before))


def _leaning(recent: Replay, before: Replay) -> float:
    """By how much, at least, some class is served more or less often than the copy gives it, now beyond before.

    A sampling model asked twice leaves a class as often as it comes to it: whatever it draws, the two cancel out.

    References:
        Stuart, A. (1955). A test for homogeneity of the marginal distributions in a two-way classification.
        Biometrika 42, 412-416. Here class by class, all of them at once by Bonferroni's inequality.
    """
    classes = {name for pair in recent.pairs for name in pair}
    if not classes:
        return 0.0
    z = NormalDist().inv_cdf(1 - (1 - CERTAIN) / 2 / len(classes))
    most = 0.0
    for name in classes:
        now, error = _net(recent, name)
        then, error_then = _net(before, name)
        most = max(most, abs(now - then) - z * float(np.hypot(error, error_then)))
    return most


def _net(replay: Replay, name: str) -> tuple[float, float]:
    """Share of rows that leave a class less the share that comes to it, and its standard error."""
    n = len(replay)
    if not n:
        return 0.0, 0.0
    left = sum(count for (own, _), count in replay.pairs.items() if own == name)
    came = sum(count for (_, served), count in replay.pairs.items() if served == name)
    return (left - came) / n, float(np.sqrt(max(1.0, left + came - (left - came) ** 2 / n))) / n


def _detail(recent: Replay, before: Replay, *, changed: bool) -> str:
    n, differing = len(recent), int(recent.differs.sum())
    then = f" ({int(before.differs.sum())} of {len(before)} before)" if len(before) else ""
    if not changed:
        if recent.varies > 0:
            return (
                f"the copy answers {recent.varies:.1%} of rows differently when asked twice; "
                "served outputs differ no more than that."
            )
        return f"the known-good copy gives the served output for {n - differing} of {n} recent rows{then}."
    where = ""
    (own, served), count = max(recent.pairs.items(), key=lambda item: item[1], default=(("", ""), 0))
    if count >= FEWEST_HARD:  # predicted numbers hardly ever repeat, and one row's values are nobody's business
        share = count / sum(recent.pairs.values())
        where = (
            f"; most often {served!r} was served where the signed copy says {own!r} "
            f"({share:.0%} of the changed classes)"
        )
    return f"{differing} of {n} recent outputs differ from the signed copy's on the same inputs{then}{where}."


def _findings(comparison: Comparison, recent: Replay) -> tuple[Finding, ...]:
    findings = [
        Finding(
            "diagnosis.outputs-differ",
            f"{own} -> {served}",
            Severity.CRITICAL,
            f"{served!r} was served where the signed copy says {own!r} in {count} of {len(recent)} replayed rows",
            {"rows": count, "replayed": len(recent)},
        )
        for (own, served), count in sorted(recent.pairs.items(), key=lambda item: -item[1])[:5]
        if count >= FEWEST_HARD
    ]
    at, frame = _replayed(comparison, recent)
    event = recent.hard[at].astype(np.float64) if recent.hard.any() else recent.differs[at].astype(np.float64)
    if len(frame) >= REGION_ROWS and 0 < event.sum() < len(frame):
        regions = Regions(leaves=4, rows=max(10, len(frame) // 50), seed=comparison.seed).fit(frame.filled, event)
        number = regions.of(frame.filled)
        region = max(np.unique(number), key=lambda leaf: event[number == leaf].sum() * event[number == leaf].mean())
        inside = number == region
        rule = describe(regions.rule(int(region), comparison.names), comparison.encoder)
        if rule:
            findings.append(
                Finding(
                    "diagnosis.outputs-differ",
                    rule,
                    Severity.CRITICAL,
                    f"{event[inside].mean():.0%} of outputs differ where {rule}, {event[~inside].mean():.0%} elsewhere",
                    {
                        "share": round(float(event[inside].mean()), 4),
                        "elsewhere": round(float(event[~inside].mean()), 4),
                    },
                )
            )
    return tuple(findings)


def _replayed(comparison: Comparison, recent: Replay) -> tuple[Ints, Frame]:
    _, at, rows = np.intersect1d(recent.row, comparison.recent.row, return_indices=True)
    return at, comparison.recent.take(rows.astype(np.int64))


def _onset(comparison: Comparison, recent: Replay) -> float | None:
    at, frame = _replayed(comparison, recent)
    hits = np.sort(frame.time[recent.differs[at]])
    return float(hits[0]) if len(hits) else None
