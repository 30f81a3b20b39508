"""Model signatures as they lie on disk: OpenSSF Model Signing (OMS) v1.0. Pure: bytes in, bytes out.

A Sigstore bundle v0.3 holds a DSSE envelope, which holds an in-toto statement, which lists every file.
What we add lies in ``resources[].annotations``, where the specification leaves room, and so under the
signature: sizes, BLAKE3 digests, tensors, and in the first resource what
:class:`~assay.signing.about.About` says. Signatures are read by :mod:`assay.signing.reading`.

References:
    OpenSSF Model Signing Specification v1.0; Sigstore bundle v0.3.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assay.artifacts.listing import Listing
from assay.artifacts.manifest import Manifest
from assay.errors import ArtifactError, KeyFileError
from assay.keys.base import Signer
from assay.signing import canonical
from assay.signing.about import About
from assay.signing.serialization import statement_of
from assay.signing.statement import Envelope, seal

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
WHAT = "signature bundle"
# OMS v1.0 leaves the schemes to the Sigstore algorithm registry, which has these; docs/adr/0013.
SCHEMES = ("ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512", "ed25519", "ml-dsa-65")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A signature as read. Nothing in it is checked yet but its form.

    Attributes:
        claim: The manifest that was signed, files in listed order.
        about: What else was signed; None in other tools' bundles.
        envelope: One signature or more, and what they are over.
        method: ``key``, ``certificate`` or ``sigstore``: how the first signature says whose it is.
        key_id: Which key it says it is by; "" when it does not say. A hint, not a proof.
        public_pem: The key that older releases put in. A hint, not a proof.
        certificates: DER, the signer's own first; none for ``key``.
        single: The model is one file, whose name was not signed.
        algorithm: ``sha256``, ``blake2b`` or ``blake3``: what the listed digests are.
        timestamps: RFC 3161 tokens (DER) that came with it, unchecked.
        globals: The callables that each file may name, by file, as ``module name``; a file that is not in it
            was signed without saying. Part of what is signed.
        old: It has the form of model_signing 0.2.0, and is signed as that signed. Told from what is signed.
        remarks: What is old about its form, in sentences.
        raw: The bytes it was read from.
    """

    claim: Manifest
    about: About | None
    envelope: Envelope
    method: str
    key_id: str
    public_pem: bytes | None
    certificates: tuple[bytes, ...]
    single: bool
    algorithm: str
    timestamps: tuple[bytes, ...] = ()
    globals: Mapping[str, frozenset[str]] = field(default_factory=dict)
    old: bool = False
    remarks: tuple[str, ...] = ()
    raw: bytes = b""

    @property
    def signatures(self) -> tuple[tuple[str, bytes], ...]:
        """(key id, signature) of everybody who signed: the signer first, then the co-signers."""
        return ((self.key_id, self.envelope.signatures[0][1]), *self.envelope.signatures[1:])

    def alone(self, position: int) -> Bundle:
        """The same with one of the signatures only: what a rule about one signer looks at.

        Args:
            position: 0 for the signer, from 1 for the co-signers, who sign by key.
        """
        key_id, signature = self.signatures[position]
        envelope = replace(self.envelope, signatures=((key_id, signature),))
        if position == 0:
            return replace(self, envelope=envelope)
        return replace(self, envelope=envelope, method="key", key_id=key_id, public_pem=None, certificates=())


def write(
    manifest: Manifest,
    signer: Signer,
    *,
    about: About | None = None,
    single: bool = False,
    certificates: tuple[bytes, ...] = (),
    listing: Listing | None = None,
    callables: Mapping[str, Collection[str]] | None = None,
    stamp: Callable[[bytes], Sequence[bytes]] | None = None,
) -> bytes:
    """Sign a manifest.

    Args:
        manifest: As measured; the same manifest and ``about`` always give the same payload bytes.
        signer: A key of one of the schemes that OMS leaves room for; other tools read EC keys only.
        about: Name, version, expiry, companion statements.
        single: The model is one file, not a folder.
        certificates: DER, the signer's own first, to sign by certificate instead of by key.
        listing: Which digests to list; SHA-256 of whole files unless said otherwise. For shards and
            BLAKE2b the manifest must hold them, from :func:`~assay.artifacts.relist.relist`.
        callables: The callables that each file may name, by file, as ``module name``.
        stamp: Asks for RFC 3161 tokens (DER) over the signature it is given.

    Raises:
        KeyFileError: The key is of another kind, or the first certificate is not its own.
        ArtifactError: The manifest has findings, or lacks digests that are to be listed.
    """
    check_scheme(signer)
    if manifest.findings:
        raise ArtifactError(f"model {manifest.name} cannot be signed as it was measured", manifest.findings)
    if certificates:
        _check_certified(signer, certificates[0])
    statement = statement_of(manifest, listing or Listing(), about=about, single=single, callables=callables or {})
    envelope = seal(statement, signer)
    material = _material(signer, certificates)
    if stamp is not None:
        tokens = [{"signedTimestamp": base64.b64encode(token).decode()} for token in stamp(envelope.signatures[0][1])]
        material["timestampVerificationData"] = {"rfc3161Timestamps": tokens}
    return canonical.dumps(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {**material, "tlogEntries": []},
            "dsseEnvelope": envelope.as_json(),
        }
    )


def check_scheme(signer: Signer) -> None:
    """Raise KeyFileError unless models are signed with keys of this kind."""
    if signer.algorithm not in SCHEMES:
        raise KeyFileError(
            f"found a key for {signer.algorithm}; a model is signed with an EC key (OMS v1.0), Ed25519 or ML-DSA-65"
        )


def _check_certified(signer: Signer, certificate: bytes) -> None:
    from assay.keys.x509 import certified_pem  # half of this module's import time, for few signatures

    if certified_pem(certificate) != signer.public_pem():
        raise KeyFileError(
            "the first certificate is for another key than the one that signs; give the signer's own first"
        )


def _material(signer: Signer, certificates: tuple[bytes, ...]) -> dict[str, object]:
    if not certificates:
        return {"publicKey": {"hint": signer.key_id}}
    chain = [{"rawBytes": base64.b64encode(one).decode()} for one in certificates]
    return {"x509CertificateChain": {"certificates": chain}}
