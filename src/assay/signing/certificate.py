"""The rule for models signed by certificate instead of by a bare key."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Self

from cryptography import x509

from assay.errors import VerificationError
from assay.findings import Finding, Severity
from assay.keys.x509 import check_chain
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.signers import Signatory, check_signature, refusal, wants_method


class SignedByCertificate:
    """Signed with a certificate that a trusted authority gave to one of these identities.

    Args:
        anchors: Certificates of the authorities to trust; never empty.
        identities: Mail address, URI or host name in the certificate; never empty. An authority
            certifies many people: for accepting any of them say so with :meth:`of_any_identity`.
        revocations: Lists of certificates taken back; when there are any, the signer's must be covered by one.
    """

    def __init__(
        self,
        anchors: Sequence[x509.Certificate],
        identities: Collection[str],
        *,
        revocations: Sequence[x509.CertificateRevocationList] = (),
    ) -> None:
        if isinstance(identities, str):
            raise TypeError("SignedByCertificate needs a collection of identities, not one text")
        if not anchors or not identities:
            raise ValueError("SignedByCertificate needs at least one authority and one identity")
        self._anchors = tuple(anchors)
        self._revocations = tuple(revocations)
        self._identities: frozenset[str] | None = frozenset(identities)

    @classmethod
    def of_any_identity(
        cls,
        anchors: Sequence[x509.Certificate],
        *,
        revocations: Sequence[x509.CertificateRevocationList] = (),
    ) -> Self:
        """Accept whomever these authorities certified; says so in a warning."""
        rule = cls(anchors, ("anyone",), revocations=revocations)
        rule._identities = None
        return rule

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Return when one of them signed; raise VerificationError when not."""
        bundle = bundle.alone(0)  # who adds a signature to it does so by key
        wants_method(bundle, "certificate")
        when = when.of(bundle.envelope.signatures[0][1])
        holder = check_chain(
            bundle.certificates, self._anchors, now=when.now, signed=when.signed, revocations=self._revocations
        )
        findings: list[Finding] = []
        warnings = holder.findings
        try:
            warnings += check_signature(bundle, holder.verifier)
        except VerificationError as err:
            findings += err.findings
        shown = ", ".join(holder.names) or "nobody by name"
        if self._identities is None:
            detail = f"anyone certified by the given authorities is accepted; this is {shown}"
            warnings += (Finding("signature.any-identity", bundle.claim.name, Severity.WARNING, detail),)
            identity = shown
        else:
            identity = next((name for name in holder.names if name in self._identities), "")
            if not identity:
                wanted = " or ".join(sorted(self._identities))
                detail = f"signed by {shown}, wanted {wanted}"
                findings += refusal("signature.wrong-identity", bundle, detail).findings
        if findings:
            raise VerificationError("; ".join(one.detail for one in findings), findings)
        return Signatory(identity, holder.verifier.key_id, warnings)
