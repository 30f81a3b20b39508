"""A rollback, signed: what it may say, and what of any other bytes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import BundleError, VerificationError
from assay.keys.pem import PemSigner
from assay.signing.rollback import Rollback, check, make, sign_rollback
from assay.signing.statement import ROLLBACK, Statement, Subject, seal
from assay.signing.trust import TrustStore

ANNA, NEW, OLD = "anna@example.org", (3, "33" * 32), (2, "22" * 32)


def test_what_is_said_is_read_back(now: datetime) -> None:
    said = make("m", NEW, OLD, reason=" too slow ", now=now)
    assert said.reason == "too slow"
    assert Rollback.take(Statement.parse(said.statement().payload())) == said


@pytest.mark.parametrize(
    ("left", "to", "reason", "words"),
    [(NEW, NEW, "x", "to a lower one"), (OLD, NEW, "x", "to a lower one"), (NEW, OLD, " ", "needs a reason")],
    ids=["same", "up", "no-reason"],
)
def test_no_other_step_is_one(
    now: datetime, left: tuple[int, str], to: tuple[int, str], reason: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make("m", left, to, reason=reason, now=now)


def predicate(now: datetime, **other: object) -> dict[str, object]:
    return {**make("m", NEW, OLD, reason="slow", now=now).statement().predicate, **other}


@pytest.mark.parametrize(
    "flaw",
    [
        {"from": {"version": 1, "root": "33" * 32}},
        {"from": {"version": 3}},
        {"to": {"version": -1, "root": "22" * 32}},
        {"to": "2"},
        {"reason": ""},
        {"created": "yesterday"},
        {"extra": 1},
        {"name": "other"},
    ],
    ids=str,
)
def test_a_malformed_one_is_refused(now: datetime, flaw: dict[str, object], signer: PemSigner) -> None:
    statement = Statement((Subject("m", {"sha256": OLD[1]}),), ROLLBACK, predicate(now, **flaw))
    trust = TrustStore().trust(ANNA, signer.public_pem())
    with pytest.raises(BundleError):
        check(seal(statement, signer), trust, [ANNA], name="m", seen=NEW, to=OLD, used=(), now=now)


@given(
    st.dictionaries(st.sampled_from(["name", "from", "to", "reason", "created"]), st.none() | st.text() | st.integers())
)
def test_any_values_are_our_error(values: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        Rollback.take(Statement((Subject("m", {"sha256": "22" * 32}),), ROLLBACK, values))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"name": "n"}, "not to what is here"),
        ({"to": (2, "44" * 32)}, "not to what is here"),
        ({"to": (1, OLD[1])}, "not to what is here"),
        ({"seen": (4, "44" * 32)}, "was seen here since"),
        ({"seen": (3, "44" * 32)}, "was seen here since"),
        ({"identities": ["ben@example.org"]}, "it is by anna@example.org, wanted ben@"),
        ({"now": timedelta(days=-1)}, "which is to come"),
    ],
    ids=str,
)
def test_it_allows_exactly_one_step(now: datetime, signer: PemSigner, other: dict[str, Any], words: str) -> None:
    envelope = sign_rollback(make("m", NEW, OLD, reason="slow", now=now), signer)
    trust = TrustStore().trust(ANNA, signer.public_pem())
    asked: dict[str, Any] = {"identities": [ANNA], "name": "m", "seen": NEW, "to": OLD, "used": (), "now": now}
    allowed = check(envelope, trust, **asked)
    assert check(envelope, trust, **{**asked, "seen": (2, "55" * 32)}).rollback == allowed.rollback
    with pytest.raises(VerificationError, match="used here before"):
        check(envelope, trust, **{**asked, "used": [allowed.digest]})
    if isinstance(other.get("now"), timedelta):
        other = {"now": now + other["now"]}
    with pytest.raises(VerificationError, match=words) as caught:
        check(envelope, trust, **{**asked, **other})
    assert [one.rule for one in caught.value.findings] == ["rollback.refused"]
