from __future__ import annotations

from datetime import timedelta

import pytest

from assay.errors import PolicyError
from assay.release.policy import ReleasePolicy

SIGNERS = frozenset({"release@example.org"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"signed_by": frozenset()}, "names no signer"),
        ({"signed_by": "release@example.org"}, "list of names"),
        ({"signed_by": ["release@example.org", ""]}, "not a name"),
        ({"signed_by": [" release@example.org"]}, "not a name"),
        ({"approvals": 1}, "wants 1 approvals but names 0"),
        ({"approvals": 3, "approvers": ["a", "b", "b"]}, "names 2 approvers"),
        ({"approvals": -1}, "whole number"),
        ({"signatures": 2}, "wants 2 signatures but names 1"),
        ({"signatures": 0}, "whole number from 1"),
        ({"signatures": True}, "whole number from 1"),
        ({"approvals": True, "approvers": ["a"]}, "whole number"),
        ({"approvals": 1.5, "approvers": ["a", "b"]}, "whole number"),
        ({"require": ["validaton"]}, "validaton"),
        ({"max_age": timedelta(0)}, "max_age"),
    ],
)
def test_a_policy_that_is_empty_or_can_never_hold_is_refused(words: dict[str, object], said: str) -> None:
    arguments: dict[str, object] = {"signed_by": SIGNERS, **words}
    with pytest.raises(PolicyError, match=said):
        ReleasePolicy(**arguments)  # type: ignore[arg-type]  # what a toml file may hold


def test_the_digest_depends_on_every_rule_and_on_no_order() -> None:
    base = ReleasePolicy(SIGNERS, frozenset({"a", "b"}), 1, frozenset({"scan", "validation"}))
    same = ReleasePolicy(
        frozenset(["release@example.org"]), frozenset(["b", "a"]), 1, frozenset(["validation", "scan"])
    )
    others = [
        ReleasePolicy(frozenset({"other@example.org"}), base.approvers, 1, base.require),
        ReleasePolicy(SIGNERS, frozenset({"a"}), 1, base.require),
        ReleasePolicy(SIGNERS, base.approvers, 2, base.require),
        ReleasePolicy(SIGNERS, base.approvers, 1, frozenset({"scan"})),
        ReleasePolicy(SIGNERS, base.approvers, 1, base.require, timedelta(days=1)),
    ]
    assert same.digest == base.digest
    assert len({base.digest, *(other.digest for other in others)}) == 6
