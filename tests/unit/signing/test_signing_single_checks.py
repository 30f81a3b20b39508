"""Checks that nothing else stands behind, each met alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import pytest

from assay.findings import Finding, Severity
from assay.signing.about import About
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.signers import AllOf, Signatory
from assay.signing.statement import Statement, Subject

CREATED = "2026-03-01T00:00:00.000000Z"
WHEN = Moment(datetime(2026, 3, 1, tzinfo=UTC))
BUNDLE = cast("Bundle", None)  # the rules below do not look at it
NOTE = Finding("signature.not-everywhere", "spam", Severity.WARNING, "said twice")


@dataclass(frozen=True)
class Says:
    """A rule that is met by these signers."""

    who: Signatory

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        del bundle, when
        return self.who


def signer(identity: str, position: int, *, counts: bool = True, others: tuple[Signatory, ...] = ()) -> Signatory:
    return Signatory(identity, f"key of {identity}", (NOTE,), position, others, counts)


def together(*met: Signatory) -> Signatory:
    return AllOf(*(Says(who) for who in met)).check(BUNDLE, WHEN)


def test_the_signer_is_not_their_own_cosigner() -> None:
    assert together(signer("anna", 0), signer("anna", 0)).others == ()


def test_a_cosigner_known_to_two_rules_is_named_once_and_counts_when_either_says_so() -> None:
    known = signer("ben", 1, counts=False)
    for met in (
        (signer("anna", 0, others=(known,)), signer("ben", 1)),
        (signer("anna", 0, others=(signer("ben", 1),)), signer("anna", 0, others=(known,))),
    ):
        (other,) = together(*met).others
        assert (other.identity, other.position, other.counts) == ("ben", 1, True)


def test_what_two_rules_say_is_said_once() -> None:
    assert together(signer("anna", 0), signer("ben", 1)).findings == (NOTE,)


def test_a_statement_names_what_it_says_about_whom() -> None:
    subject = Subject("spam", {"sha256": "00" * 32})
    for name, digest in (("", subject.digest), ("spam", {})):
        with pytest.raises(ValueError, match="name and at least one digest"):
            Subject(name, digest)
    for subjects, kind in (((subject,), ""), ((), "https://example.org/said")):
        with pytest.raises(ValueError, match="at least one subject and a predicate type"):
            Statement(subjects, kind, {})


def test_versions_are_whole_numbers_that_json_keeps_exactly() -> None:
    for version in (0, 2**53 - 1):
        assert About("spam", version, CREATED).as_json()["version"] == version
    for version in (-1, 2**53):
        with pytest.raises(ValueError, match=f"found version {version}"):
            About("spam", version, CREATED)


def test_a_cosigner_who_does_not_count_is_named_all_the_same() -> None:
    known = signer("ben", 1, counts=False)
    (other,) = together(signer("anna", 0, others=(known,)), signer("anna", 0)).others
    assert (other.identity, other.counts) == ("ben", False)
