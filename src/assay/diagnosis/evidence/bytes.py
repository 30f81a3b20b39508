"""Evidence 1, bytes: digests and signatures of what is deployed and of what served. Facts, no statistics."""

from __future__ import annotations

from assay.diagnosis.case import Case
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.findings import Finding, Severity

SHOWN = 12  # characters of a digest a person compares


def gather(comparison: Comparison) -> Evidence:
    """Whether the bytes are the recorded ones; other bytes are a verdict by themselves."""
    return judge_bytes(comparison.case)


def judge_bytes(case: Case) -> Evidence:
    """The same from the case alone: needs no rows, so every monitor run can ask it."""
    facts = case.bytes
    recorded = {fact.root for fact in case.deployments} | ({facts.recorded_root} if facts.recorded_root else set())
    findings: list[Finding] = []
    causes: set[str] = set()
    if facts.live_root is not None and facts.recorded_root is not None and facts.live_root != facts.recorded_root:
        lawful = facts.live_signed is True or (facts.live_signed is None and facts.live_root in facts.signed_roots)
        causes.add("unrecorded-deployment" if lawful and not facts.refused else "model-tampering")
        findings.append(
            _other("deployed", facts.live_root, facts.recorded_root, lawful=lawful, signer=facts.live_signer)
        )
    elif facts.refused:
        causes.add("model-tampering")
        findings.append(
            Finding(
                "diagnosis.bytes-refused",
                "deployed",
                Severity.CRITICAL,
                "verification of the deployed bytes was refused: they are not the signed bytes",
            )
        )
    for root in facts.served_roots if recorded else ():
        if root in recorded:
            continue
        lawful = root in facts.signed_roots or (root == facts.live_root and facts.live_signed is True)
        causes.add("unrecorded-deployment" if lawful else "model-tampering")
        findings.append(_other("served", root, facts.recorded_root or "no version", lawful=lawful, signer=None))
    if causes:
        worst = "model-tampering" if "model-tampering" in causes else "unrecorded-deployment"
        told = " ".join(f"{finding.detail}." for finding in findings[:2])
        return Evidence(
            "bytes", value=1.0, unit="1 when the bytes differ", detail=told, decides=worst, findings=tuple(findings)
        )
    if facts.live_root is None or facts.recorded_root is None:
        lacking = "the deployed bytes were not measured" if facts.live_root is None else "no deployment is recorded"
        return Evidence(
            "bytes", missing=f"{lacking}: verify the deployed path and record deployments with `assay deploy NAME`"
        )
    told = f"the deployed bytes are the recorded ones ({facts.live_root[:SHOWN]})."
    if facts.live_signed is False:
        told = told[:-1] + ", but their signature does not satisfy the policy now."
    return Evidence("bytes", value=0.0, unit="1 when the bytes differ", detail=told)


def _other(what: str, root: str, recorded: str, *, lawful: bool, signer: str | None) -> Finding:
    signature = (
        f"validly signed{f' by {signer}' if signer else ''}" if lawful else "not validly signed under the policy"
    )
    return Finding(
        "diagnosis.bytes-differ",
        what,
        Severity.ERROR if lawful else Severity.CRITICAL,
        f"the {what} model is {root[:SHOWN]}, the deployment record says {recorded[:SHOWN]}; it is {signature}",
        {"found": root, "recorded": recorded},
    )
