"""Whose signature on a model counts. Rules are put together with :class:`AllOf` and :class:`AnyOf`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from assay.errors import VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Verifier
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.trust import TrustStore


@dataclass(frozen=True, slots=True)
class Signatory:
    """Who signed, as a rule found it.

    Attributes:
        identity: As the trust store names them, or the key when a key was all there was.
        key_id: Hex SHA-256 of the public PEM text; "" when nobody checked.
        findings: Worth knowing, no reason to refuse.
    """

    identity: str
    key_id: str
    findings: tuple[Finding, ...] = ()


class SignerRule(Protocol):
    """A rule about the signer."""

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return who signed when the rule is met.

        Args:
            bundle: The signature; its form is checked, nothing else.
            when: The times that keys and certificates are judged by.

        Raises:
            VerificationError: The rule is not met; every reason is in ``findings``.
        """
        ...


class SignedByKey:
    """Signed with exactly this key, whoever holds it."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def check(self, bundle: Bundle, when: Moment) -> Signatory:  # noqa: ARG002 - a bare key has no times
        """Return when this key signed; raise VerificationError when not."""
        wanted = self._verifier.key_id
        wants_method(bundle, "key")
        if bundle.key_id != wanted:
            raise refusal("signature.wrong-key", bundle, f"signed with key {bundle.key_id[:16]}, wanted {wanted[:16]}")
        check_signature(bundle, self._verifier)
        return Signatory(f"key {wanted[:16]}", wanted)


class SignedBy:
    """Signed with a trusted key of one of these identities.

    Args:
        trust: Whose keys count, and from when to when.
        identities: Whom to accept; never empty.
    """

    def __init__(self, trust: TrustStore, identities: Collection[str]) -> None:
        if isinstance(identities, str):  # its letters would each be an identity
            raise TypeError("SignedBy needs a collection of identities, not one text")
        if not identities:
            raise ValueError("SignedBy needs at least one identity")
        self._trust = trust
        self._identities = frozenset(identities)

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when one of them signed; raise VerificationError when not."""
        wants_method(bundle, "key")
        key = self._trust.identify(bundle.key_id, when)
        findings: list[Finding] = []
        try:
            check_signature(bundle, key.verifier())
        except VerificationError as err:
            findings += err.findings
        if key.identity not in self._identities:
            wanted = " or ".join(sorted(self._identities))
            findings += refusal(
                "signature.wrong-identity", bundle, f"signed by {key.identity}, wanted {wanted}"
            ).findings
        if findings:
            raise VerificationError("; ".join(one.detail for one in findings), findings)
        return Signatory(key.identity, key.key_id)


class AllOf:
    """Every rule is met. The signer is who the first rule says."""

    def __init__(self, *rules: SignerRule) -> None:
        if not rules:  # all() of nothing is True: an empty rule would trust anyone
            raise ValueError("AllOf needs at least one rule")
        self._rules = rules

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when all are met; raise VerificationError with every reason when not."""
        met, findings = _ask(self._rules, bundle, when)
        if findings:
            raise VerificationError("; ".join(one.detail for one in findings), findings)
        return Signatory(met[0].identity, met[0].key_id, tuple(one for who in met for one in who.findings))


class AnyOf:
    """At least one rule is met. The signer is who the first such rule says."""

    def __init__(self, *rules: SignerRule) -> None:
        if not rules:
            raise ValueError("AnyOf needs at least one rule")
        self._rules = rules

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when one is met; raise VerificationError with every reason when none is."""
        met, findings = _ask(self._rules, bundle, when)
        if not met:
            raise VerificationError("; ".join(one.detail for one in findings), findings)
        return met[0]


class UnsafeTrustAnyone:
    """Takes any signature and does not check it: only says whether the files are those it lists.

    Whoever can write the model can write such a signature too. For looking at a model, never for loading one
    in production.
    """

    def check(self, bundle: Bundle, when: Moment) -> Signatory:  # noqa: ARG002 - there is nothing to judge
        """Return, with a warning."""
        detail = "the signature was not checked: anyone could have made it"
        warning = Finding("signature.unchecked", bundle.claim.name, Severity.WARNING, detail)
        return Signatory("anyone", "", (warning,))


def wants_method(bundle: Bundle, method: str) -> None:
    """Raise VerificationError when the bundle was signed in another way."""
    if bundle.method != method:
        raise refusal("signature.wrong-method", bundle, f"signed by {bundle.method}, wanted a signature by {method}")


def check_signature(bundle: Bundle, verifier: Verifier) -> None:
    """Raise VerificationError unless the bundle's one signature is this key's.

    OMS pairs an EC key with a signature; another scheme would not verify elsewhere.
    """
    if not verifier.algorithm.startswith("ecdsa-"):
        raise refusal(
            "signature.wrong-key", bundle, f"the key is for {verifier.algorithm}, wanted an EC key (OMS v1.0)"
        )
    ((_, signature),) = bundle.envelope.signatures
    verifier.verify(signature, bundle.envelope.signed_bytes())


def refusal(rule: str, bundle: Bundle, detail: str) -> VerificationError:
    """Make the error for one reason against a signer."""
    return VerificationError(detail, [Finding(rule, bundle.claim.name, Severity.CRITICAL, detail)])


def _ask(rules: tuple[SignerRule, ...], bundle: Bundle, when: Moment) -> tuple[list[Signatory], list[Finding]]:
    met: list[Signatory] = []
    findings: list[Finding] = []
    for rule in rules:
        try:
            met.append(rule.check(bundle, when))
        except VerificationError as err:
            # A plug that raises without a finding has refused all the same.
            findings += err.findings or refusal("signature.refused", bundle, err.message).findings
    return met, findings
