"""Evidence 6, labels: noise that no input explains, stuck or one-sided labels, a changed share."""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.frames import UNKNOWN, Frame
from assay.diagnosis.learners import Floats, auc, out_of_fold_share
from assay.findings import Finding, Severity

FEWEST_WRONG = 10
FEWEST_RIGHT = 20  # expected right answers, of which hardly any came true: by chance less than once in 10^6
MOST_NAMED = 6  # exchanged classes
LEAST_FALL = 0.03  # under it, what fell is too little to say where


def gather(comparison: Comparison) -> Evidence:
    """How predictable errors are from the inputs, and whether the labels themselves look right."""
    if not comparison.labelled:
        return Evidence("labels", missing=comparison.lacking)
    base, recent = comparison.base, comparison.recent
    share, share_before = _shares(comparison, recent), _shares(comparison, base)
    moved = 0.5 * float(np.abs(share - share_before).sum())
    served_moved = 0.5 * float(
        np.abs(_shares(comparison, recent, served=True) - _shares(comparison, base, served=True)).sum()
    )
    top = float(share.max() - share_before[int(share.argmax())])
    lacking = float((recent.label == UNKNOWN).mean() - (base.label == UNKNOWN).mean())
    one_sided = float(share.max() >= 0.995 and share_before.max() < 0.97)  # noqa: PLR2004 - all of one kind, where it was not
    numbers = {
        "share_moved": moved,
        # Labels that move while answers do not: the label side changed, or the world behind it.
        "moved_alone": moved - served_moved,
        "one_sided": one_sided,
        "top_rise": top,
    }
    known = recent.known
    wrong = recent.wrong[known]
    predictable = None
    if FEWEST_WRONG <= wrong.sum() <= len(wrong) - FEWEST_WRONG:
        score = out_of_fold_share(recent.filled[known], wrong, seed=comparison.seed)
        predictable = auc(score, wrong)
        numbers["predictable"] = predictable
        numbers["confident_errors"] = _confident_errors(recent) - _confident_errors(base)
        numbers |= _evenness(comparison, score)
    findings = []
    if one_sided:
        name = comparison.classes[int(share.argmax())]
        findings.append(
            Finding(
                "diagnosis.labels-one-sided",
                name,
                Severity.ERROR,
                f"{share.max():.1%} of recent labels are {name!r}, {share_before[int(share.argmax())]:.1%} before",
            )
        )
    contradicted = bool(one_sided) and _impossible(comparison, int(share.argmax()))
    told = (
        ""
        if predictable is None
        else f"errors can be told from the inputs with AUC {predictable:.2f} (0.5: not at all); "
    )
    only = f"every recent label is {comparison.classes[int(share.argmax())]!r}" if one_sided else ""
    if contradicted:
        told = f"{only}, against what the model answers and was right to answer before; {told}"
    exchanged = _exchanged(comparison)
    if exchanged:
        told = f"with {exchanged} exchanged in the labels the answers are as right as before; {told}"
    return Evidence(
        "labels",
        value=predictable,
        unit="AUC of telling errors from the inputs",
        detail=f"{told}label shares moved by {moved:.0%}, shares of answers by {served_moved:.0%}"
        + (f"; {only}." if only and not contradicted else "."),
        numbers=numbers,
        decides="data-fault" if contradicted else None,
        findings=tuple(findings),
        notes={"unlabelled_rise": round(lacking, 4)} | ({"exchanged": exchanged} if exchanged else {}),
    )


def _evenness(comparison: Comparison, score: Floats) -> dict[str, float]:
    """Whether labels went wrong everywhere alike: also where errors are least likely, whatever was answered.

    A relation that changes leaves some ground untouched; noise does not, and a source that says one
    class leaves untouched only the rows that were answered with that class.

    Args:
        comparison: The periods.
        score: Out-of-fold probability that a known recent row is wrong, shape (n,).
    """
    base, recent = comparison.base.take(comparison.base.known), comparison.recent.take(comparison.recent.known)
    usual = out_of_fold_share(base.filled, base.wrong, seed=comparison.seed)
    fall = float(recent.wrong.mean() - base.wrong.mean())
    if fall < LEAST_FALL:
        return {}
    k = len(comparison.classes)
    wrongly = np.bincount(recent.label[recent.wrong], minlength=k) / len(recent)
    wrongly = wrongly - np.bincount(base.label[base.wrong], minlength=k) / len(base)
    into = int(wrongly.argmax())  # the class that labels wrongly say most
    numbers = {
        "floor": _floor(recent, score) - _floor(base, usual),
        "one_way": float(wrongly[into] / max(wrongly[wrongly > 0].sum(), 1e-9)),
    }
    numbers["even"] = numbers["floor"] / fall
    now, then = recent.served != into, base.served != into
    if min(now.sum(), then.sum()) >= FEWEST:
        apart = float(recent.wrong[now].mean() - base.wrong[then].mean())
        floor = _floor(recent.take(now), score[now]) - _floor(base.take(then), usual[then])
        numbers["even_but_one"] = floor / max(apart, LEAST_FALL)
        numbers["stuck"] = float(np.clip(numbers["even_but_one"], 0.0, 1.0)) * numbers["one_way"] ** 2
        rates = [
            float(recent.wrong[recent.served == c].mean() - base.wrong[base.served == c].mean())
            for c in range(k)
            if c != into and min((recent.served == c).sum(), (base.served == c).sum()) >= FEWEST_WRONG
        ]
        if rates:
            numbers["even_over_answers"] = max(0.0, min(rates)) / max(*rates, LEAST_FALL)
    return numbers


def _floor(frame: Frame, score: Floats) -> float:
    """Error rate of the third of the rows that errors are least expected of."""
    least = np.argsort(score, kind="stable")[: max(1, len(score) // 3)]
    return float(frame.wrong[least].mean())


def _impossible(comparison: Comparison, only: int) -> bool:
    """Whether labels of one kind alone cannot be the world's: many answers of another kind are right by all we know.

    A drought has only dry days, and a model that sees it answers so. Where the model goes on to answer
    otherwise as often as before, it would have to be wrong each time.

    Args:
        comparison: The periods.
        only: The class that every recent label says.
    """
    base, recent = comparison.base, comparison.recent
    other = base.known & (base.served != only) & (base.served != UNKNOWN)
    if not other.any():
        return False
    answers = int((recent.known & (recent.served != only) & (recent.served != UNKNOWN)).sum())
    return answers * float(1 - base.wrong[other].mean()) >= FEWEST_RIGHT


def _exchanged(comparison: Comparison) -> str:
    """The classes whose names trade places in the labels, where that alone explains the fall; "" where it does not.

    A world in which every case of one class becomes the other, and the reverse, is conceivable; a source of labels that
    numbers its classes otherwise is common. Nothing in the rows tells the two apart, so it is said and not weighed.
    """
    base, recent = comparison.base, comparison.recent
    rows = recent.known & (recent.served != UNKNOWN)
    if min(int(rows.sum()), int(base.known.sum())) < FEWEST:
        return ""
    k = len(comparison.classes)
    table = np.bincount(recent.served[rows] * k + recent.label[rows], minlength=k * k).reshape(k, k)
    means = table.argmax(axis=1)  # what the labels mostly say where this class was answered
    seen = table.sum(axis=1) > 0
    means[~seen] = np.flatnonzero(~seen)
    odd = np.flatnonzero(means != np.arange(k))
    if not len(odd) or len(set(means.tolist())) < k:
        return ""
    wrong = 1 - float(table[np.arange(k), means].sum() / rows.sum())
    if wrong > float(base.wrong[base.known].mean()) + LEAST_FALL:
        return ""
    names = [repr(comparison.classes[int(c)]) for c in odd[:MOST_NAMED]]
    return " and ".join([", ".join(names[:-1]), names[-1]])


def _shares(comparison: Comparison, frame: Frame, *, served: bool = False) -> Floats:
    codes = (frame.served if served else frame.label)[frame.known]
    return np.bincount(codes, minlength=len(comparison.classes)) / max(1, len(codes))


def _confident_errors(frame: Frame) -> float:
    """Mean confidence in wrong answers minus that in right ones; 0 where it is not logged."""
    known = frame.known & ~np.isnan(frame.confidence)
    wrong = frame.wrong & known
    if wrong.sum() < FEWEST_WRONG // 2 or (known & ~wrong).sum() < FEWEST:
        return 0.0
    return float(frame.confidence[wrong].mean() - frame.confidence[known & ~wrong].mean())
