"""Whose signature on a model counts. Rules are put together with :class:`AllOf` and :class:`AnyOf`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from assay.errors import VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Verifier
from assay.signing import older
from assay.signing.bundle import SCHEMES, Bundle
from assay.signing.moment import Moment
from assay.signing.trust import TrustStore

# Reasons that say no more than that somebody else signed.
_OTHERS = frozenset({"signature.wrong-key", "signature.wrong-method", "signature.too-few"})


@dataclass(frozen=True, slots=True)
class Signatory:
    """Who signed, as a rule found it.

    Attributes:
        identity: As the trust store names them, or the key when a key was all there was.
        key_id: Hex SHA-256 of the public PEM text; "" when nobody checked.
        findings: Worth knowing, no reason to refuse.
        position: Which signature of the bundle this is, from 0.
        others: Whoever else signed it, as far as the rule knows them.
        counts: Whether the rule was met by this one; False for a co-signer who is known and no more.
    """

    identity: str
    key_id: str
    findings: tuple[Finding, ...] = ()
    position: int = 0
    others: tuple[Signatory, ...] = ()
    counts: bool = True

    def each(self) -> tuple[Signatory, ...]:
        """Everybody the rule knows, this one first."""
        return (self, *self.others)


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

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when this key signed; raise VerificationError when not."""
        return _first(bundle, lambda alone: self._one(alone, when))

    def _one(self, bundle: Bundle, when: Moment) -> Signatory:
        del when  # a bare key has no times
        wanted = self._verifier.key_id
        wants_method(bundle, "key")
        if bundle.key_id != wanted:
            raise refusal("signature.wrong-key", bundle, f"signed with key {bundle.key_id[:16]}, wanted {wanted[:16]}")
        findings = check_signature(bundle, self._verifier)
        return Signatory(f"key {wanted[:16]}", wanted, findings)


class SignedBy:
    """Signed with trusted keys of enough of these identities.

    Args:
        trust: Whose keys count, and from when to when.
        identities: Whom to accept; never empty.
        at_least: How many of them must have signed; one person with two keys is one.
    """

    def __init__(self, trust: TrustStore, identities: Collection[str], *, at_least: int = 1) -> None:
        if isinstance(identities, str):  # its letters would each be an identity
            raise TypeError("SignedBy needs a collection of identities, not one text")
        if not identities:
            raise ValueError("SignedBy needs at least one identity")
        self._trust = trust
        self._identities = frozenset(identities)
        self._at_least = _checked(at_least, len(self._identities))

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when enough of them signed; raise VerificationError when not."""
        known: list[Signatory] = []  # co-signers in the trust store are known, whether they count or not
        counted: list[Signatory] = []
        findings: list[Finding] = []
        for position in range(len(bundle.signatures)):
            try:
                who = replace(self._one(bundle.alone(position), when), position=position)
            except VerificationError as err:
                findings += reasons(err, bundle)
                continue
            known.append(who)
            if who.identity in self._identities:
                counted.append(who)
        if not counted:
            findings += self._uncounted(known, bundle)
        elif len({who.identity for who in counted}) < self._at_least:
            findings.append(_too_few(bundle, counted, self._at_least))
        if findings:
            raise VerificationError("; ".join(one.detail for one in findings), findings)
        first = counted[0]
        others = (replace(who, counts=who in counted) for who in known if who is not first)
        return replace(first, others=tuple(others))

    def _one(self, bundle: Bundle, when: Moment) -> Signatory:
        wants_method(bundle, "key")
        key = self._trust.identify(bundle.key_id, when.of(bundle.envelope.signatures[0][1]))
        try:
            findings = check_signature(bundle, key.verifier())
        except VerificationError as err:
            if key.identity in self._identities:
                raise
            reason = self._uncounted([Signatory(key.identity, key.key_id)], bundle)
            raise VerificationError(err.message, (*err.findings, *reason)) from err
        return Signatory(key.identity, key.key_id, findings)

    def _uncounted(self, known: Sequence[Signatory], bundle: Bundle) -> tuple[Finding, ...]:
        if not known:  # then each signature has its own reason already
            return ()
        wanted = " or ".join(sorted(self._identities))
        found = " and ".join(sorted({who.identity for who in known}))
        return refusal("signature.wrong-identity", bundle, f"signed by {found}, wanted {wanted}").findings


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
        return _together(met)


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
        return _together(met)


class AtLeast:
    """So many different signers each meet one of the rules. The signer is who the first such rule says.

    One identity counts once however many keys it has, and one key once however many rules know it.

    Args:
        count: From 1 to the number of rules.
        rules: One for each signer who may count; never none.
    """

    def __init__(self, count: int, *rules: SignerRule) -> None:
        if not rules:
            raise ValueError("AtLeast needs at least one rule")
        self._count = _checked(count, len(rules))
        self._rules = rules

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when enough signed; raise VerificationError with every reason when not."""
        met, findings = _ask(self._rules, bundle, when)
        found = [who for one in met for who in one.each() if who.counts]
        if min(len({who.identity for who in found}), len({who.key_id for who in found})) < self._count:
            findings = [*findings, _too_few(bundle, found, self._count)] if found else findings
            raise VerificationError("; ".join(one.detail for one in findings), findings)
        return _together(met)


class UnsafeTrustAnyone:
    """Takes any signature and does not check it: only says whether the files are those it lists.

    Whoever can write the model can write such a signature too. For looking at a model, never for loading one
    in production.
    """

    def check(self, bundle: Bundle, when: Moment) -> Signatory:  # noqa: ARG002 - there is nothing to judge
        """Return, with a warning."""
        detail = "the signature was not checked: anyone could have made it"
        warning = Finding("signature.unchecked", bundle.claim.name, Severity.WARNING, detail)
        others = tuple(Signatory("anyone", "", (), position) for position in range(1, len(bundle.signatures)))
        return Signatory("anyone", "", (warning,), others=others)


def signatory(rule: SignerRule, bundle: Bundle, when: Moment) -> Signatory:
    """Ask a rule who signed, and see to it that no signature of the bundle is left unchecked.

    A signature that nobody checked could be taken for one that somebody did.

    Raises:
        VerificationError: The rule is not met, or knows nothing of one of the signatures.
    """
    who = rule.check(bundle, when)
    checked = {one.position for one in who.each()}
    findings = [
        finding
        for position in range(len(bundle.signatures))
        if position not in checked
        for finding in _unchecked(rule, bundle, position, when)
    ]
    if findings:
        raise VerificationError("; ".join(one.detail for one in findings), findings)
    return who


def wants_method(bundle: Bundle, method: str) -> None:
    """Raise VerificationError when the bundle was signed in another way."""
    if bundle.method != method:
        raise refusal("signature.wrong-method", bundle, f"signed by {bundle.method}, wanted a signature by {method}")


def check_signature(bundle: Bundle, verifier: Verifier) -> tuple[Finding, ...]:
    """Check the one signature that a rule looks at.

    Returns:
        What is worth knowing about its scheme.

    Raises:
        VerificationError: It is not this key's, or of a scheme that OMS leaves no room for.
    """
    if verifier.algorithm not in SCHEMES:
        raise refusal(
            "signature.wrong-key", bundle, f"the key is for {verifier.algorithm}, wanted one of {', '.join(SCHEMES)}"
        )
    ((_, signature),) = bundle.envelope.signatures
    if bundle.old:
        older.check_signature(bundle.envelope, signature, verifier)
    else:
        verifier.verify(signature, bundle.envelope.signed_bytes())
    if verifier.algorithm.startswith("ecdsa-"):
        return ()
    detail = f"signed with {verifier.algorithm}, which model_signing does not read"
    return (Finding("signature.not-everywhere", bundle.claim.name, Severity.WARNING, detail),)


def refusal(rule: str, bundle: Bundle, detail: str) -> VerificationError:
    """Make the error for one reason against a signer."""
    return VerificationError(detail, [Finding(rule, bundle.claim.name, Severity.CRITICAL, detail)])


def reasons(err: VerificationError, bundle: Bundle) -> tuple[Finding, ...]:
    """Every reason of a refusal; a plug that raises without a finding has refused all the same."""
    return tuple(err.findings) or refusal("signature.refused", bundle, err.message).findings


def _ask(rules: tuple[SignerRule, ...], bundle: Bundle, when: Moment) -> tuple[list[Signatory], list[Finding]]:
    met: list[Signatory] = []
    findings: list[Finding] = []
    for rule in rules:
        try:
            met.append(rule.check(bundle, when))
        except VerificationError as err:
            findings += reasons(err, bundle)
    return met, findings


def _first(bundle: Bundle, check: Callable[[Bundle], Signatory]) -> Signatory:
    """Ask about each signature: the first that is met, or the reasons against all."""
    findings: list[Finding] = []
    for position in range(len(bundle.signatures)):
        try:
            return replace(check(bundle.alone(position)), position=position)
        except VerificationError as err:
            findings += reasons(err, bundle)
    raise VerificationError("; ".join(one.detail for one in findings), findings)


def _together(met: Sequence[Signatory]) -> Signatory:
    """The first, with whom the others found, each signature once."""
    first, *rest = (who for one in met for who in one.each())
    others: dict[int, Signatory] = {}
    for who in rest:
        if who.position != first.position and (who.position not in others or who.counts):
            others[who.position] = replace(who, findings=(), others=())
    findings: list[Finding] = []
    for finding in (finding for one in met for who in one.each() for finding in who.findings):
        if finding not in findings:
            findings.append(finding)
    return replace(first, findings=tuple(findings), others=tuple(others[position] for position in sorted(others)))


def _checked(count: int, most: int) -> int:
    if not 1 <= count <= most:
        raise ValueError(f"found {count} signers to ask for, wanted 1 to {most}")
    return count


def _too_few(bundle: Bundle, found: Sequence[Signatory], wanted: int) -> Finding:
    names = sorted({who.identity for who in found})
    detail = f"signed by {len(names)} who count ({', '.join(names)}), wanted {wanted}; add one with assay sign --add"
    return Finding("signature.too-few", bundle.claim.name, Severity.CRITICAL, detail)


def _unchecked(rule: SignerRule, bundle: Bundle, position: int, when: Moment) -> tuple[Finding, ...]:
    """Why one signature was not taken: what is wrong with it, or that nobody knows its key."""
    alone = bundle.alone(position)
    try:
        rule.check(alone, when)
    except VerificationError as err:
        wrong = tuple(finding for finding in reasons(err, bundle) if finding.rule not in _OTHERS)
        if wrong:
            return wrong
    detail = (
        f"signature {position + 1} is by key {alone.key_id[:16] or '(unnamed)'}, which nobody here was told to "
        "trust; name its key too"
    )
    return refusal("signature.unknown-cosigner", bundle, detail).findings
