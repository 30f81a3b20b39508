"""What must hold before a model goes live."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta

from assay.errors import PolicyError
from assay.signing import canonical

STATEMENT_KINDS = frozenset({"validation", "scan", "lineage"})
DEFAULT_MAX_AGE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """Who must have signed and approved a model, and which fresh statements it needs, to go live.

    Attributes:
        signed_by: Identities of which one must have signed the model and each required statement.
        signatures: How many of them must have signed the model.
        approvers: Identities whose approval can count.
        approvals: How many different identities must approve; the requester and the model's
            signer never count, so there must be at least this many approvers.
        require: Kinds of statements that must exist and pass: ``validation``, ``scan``, ``lineage``.
        max_age: Oldest a required statement may be.

    Raises:
        PolicyError: The policy is empty, contradictory, or can never be met.
    """

    signed_by: frozenset[str]
    approvers: frozenset[str] = frozenset()
    approvals: int = 0
    require: frozenset[str] = field(default_factory=frozenset)
    max_age: timedelta = DEFAULT_MAX_AGE
    signatures: int = 1

    def __post_init__(self) -> None:
        for name in ("signed_by", "approvers", "require"):
            object.__setattr__(self, name, _words(name, getattr(self, name)))
        if not self.signed_by:  # a policy that names nobody would let anybody's model go live
            raise PolicyError("the policy names no signer: set signed_by to at least one identity")
        if isinstance(self.signatures, bool) or not isinstance(self.signatures, int) or self.signatures < 1:
            raise PolicyError(f"signatures is {self.signatures!r}, wanted a whole number from 1")
        if len(self.signed_by) < self.signatures:
            raise PolicyError(
                f"the policy wants {self.signatures} signatures but names {len(self.signed_by)} signers: "
                "add signers, or no model can ever count as signed"
            )
        if isinstance(self.approvals, bool) or not isinstance(self.approvals, int) or self.approvals < 0:
            raise PolicyError(f"approvals is {self.approvals!r}, wanted a whole number from 0")
        if len(self.approvers) < self.approvals:
            raise PolicyError(
                f"the policy wants {self.approvals} approvals but names {len(self.approvers)} approvers: "
                "add approvers, or nothing can ever be released"
            )
        strange = sorted(self.require - STATEMENT_KINDS)
        if strange:
            raise PolicyError(
                f"the policy requires {', '.join(strange)}, known are {', '.join(sorted(STATEMENT_KINDS))}"
            )
        if self.max_age <= timedelta(0):
            raise PolicyError(f"max_age is {self.max_age}, wanted more than nothing")

    def as_json(self) -> dict[str, object]:
        """The policy as its digest and the gate's statement name it."""
        # One signature is not said: the digest stays what it was before there could be more.
        more = {"signatures": self.signatures} if self.signatures > 1 else {}
        return {
            **more,
            "approvals": self.approvals,
            "approvers": sorted(self.approvers),
            "max_age_s": int(self.max_age.total_seconds()),
            "require": sorted(self.require),
            "signed_by": sorted(self.signed_by),
        }

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the policy as RFC 8785 JSON: what approvals and gate decisions are bound to."""
        return hashlib.sha256(canonical.dumps(self.as_json())).hexdigest()


def _words(name: str, value: object) -> frozenset[str]:
    """Check a list of names; one bare text is refused, since it would be read letter by letter."""
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise PolicyError(f"{name} is {value!r}, wanted a list of names")
    if not all(isinstance(word, str) and word.strip() == word and word for word in value):
        raise PolicyError(f"{name} holds something that is not a name")
    return frozenset(value)
