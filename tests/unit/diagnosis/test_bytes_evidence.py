from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.diagnosis.small_world import World

from assay.diagnosis.case import ByteFacts
from assay.diagnosis.evidence.bytes import judge_bytes

A, B, C = "a" * 64, "b" * 64, "c" * 64

CASES = {
    "the recorded bytes": (ByteFacts(A, A, live_signed=True), None),
    "other bytes without a signature": (ByteFacts(A, B, live_signed=False), "model-tampering"),
    "other bytes, signature never checked": (ByteFacts(A, B, live_signed=None), "model-tampering"),
    "other bytes, validly signed": (
        ByteFacts(A, B, live_signed=True, live_signer="ci@acme.example"),
        "unrecorded-deployment",
    ),
    "other bytes, known from the vault": (
        ByteFacts(A, B, live_signed=None, signed_roots=(B,)),
        "unrecorded-deployment",
    ),
    "other bytes, signed before but refused now": (ByteFacts(A, B, live_signed=True, refused=True), "model-tampering"),
    "bytes that verification refused": (ByteFacts(A, None, live_signed=None, refused=True), "model-tampering"),
    "rows served by bytes nobody recorded": (ByteFacts(A, A, live_signed=True, served_roots=(A, C)), "model-tampering"),
    "rows served by another signed version": (
        ByteFacts(A, A, live_signed=True, served_roots=(C,), signed_roots=(C,)),
        "unrecorded-deployment",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bytes_decide_as_facts(world: World, name: str) -> None:
    facts, verdict = CASES[name]
    assert judge_bytes(world.case(facts=facts)).decides == verdict


def test_a_version_of_the_deployment_record_is_no_other_version(world: World) -> None:
    from datetime import UTC, datetime

    from assay.diagnosis.case import DeploymentFact

    case = world.case(facts=ByteFacts(A, A, live_signed=True, served_roots=(A, B)))
    case = replace(case, deployments=(DeploymentFact(B, datetime(2026, 1, 1, tzinfo=UTC)),))
    assert judge_bytes(case).decides is None


def test_unmeasured_bytes_are_missing_not_fine(world: World) -> None:
    evidence = judge_bytes(world.case(facts=ByteFacts(A, None)))
    assert evidence.decides is None
    assert evidence.missing is not None
    assert "not measured" in evidence.missing


def test_the_signer_of_an_unrecorded_version_is_named(world: World) -> None:
    evidence = judge_bytes(world.case(facts=ByteFacts(A, B, live_signed=True, live_signer="ci@acme.example")))
    assert "ci@acme.example" in evidence.detail
    assert evidence.findings[0].numbers == {"found": B, "recorded": A}
