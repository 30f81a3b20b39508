"""Signatures of model_signing 0.2.0: read and verified as it made them, never written. Pure.

What it did otherwise than every later release is accepted only in a statement that names its
predicate. That name is in the signed payload, and what is signed begins with other letters, so a
signature of the present form cannot be turned into one of this form, nor the other way round.

References:
    OpenSSF Model Signing Specification v1.0, 5.1 and 11.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from assay.artifacts.manifest import FileDigest, Manifest
from assay.errors import VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Verifier
from assay.signing import canonical
from assay.signing.canonical import malformed
from assay.signing.serialization import NAMELESS, SINGLE, Read, refusing
from assay.signing.statement import Envelope, Statement

PREDICATE = "https://model_signing/Digests/v0.1"
REMARK = (
    "made by model_signing 0.2.0, which joined the signed bytes otherwise than the standard and hashed with SHA-256 "
    "whatever the key; sign it again"
)


def read(statement: Statement, *, what: str) -> Read:
    """Read the files, which are the subjects of such a statement.

    Raises:
        BundleError: The statement holds no such manifest.
    """
    canonical.record(statement.predicate, (), ("unused",), what=what)  # its files are not there
    subjects = statement.subjects
    single = [subject.name for subject in subjects] == [SINGLE]
    files = []
    with refusing(what):
        for subject in subjects:
            if set(subject.digest) != {"sha256"}:
                raise malformed(what, f"the digest of {subject.name[:80]!r} is not sha256")
            files.append(FileDigest(NAMELESS if single else subject.name, None, subject.digest["sha256"], ""))
        claim = Manifest(NAMELESS, tuple(files))  # it left nothing out but the signature itself
    return Read(claim, None, single, "sha256", {}, (REMARK,))


def check_signature(envelope: Envelope, signature: bytes, verifier: Verifier) -> None:
    """Return when the signature is this key's, as model_signing 0.2.0 signed.

    It began with ``DSSEV1`` where DSSE says ``DSSEv1``, put Python's way of writing bytes where their
    bytes belong, and took SHA-256 for keys on every curve.

    Raises:
        VerificationError: It is not; rule ``signature.bad``, or ``signature.wrong-key`` for no EC key.
    """
    key = serialization.load_pem_public_key(verifier.public_pem())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _refusal("wrong-key", verifier, f"the key is for {verifier.algorithm}, and model_signing 0.2.0 knew EC")
    kind = envelope.payload_type
    text = f"DSSEV1 {len(kind)} {kind} {len(envelope.payload)} {envelope.payload!r}"
    try:
        key.verify(signature, text.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as err:
        detail = f"the signature is not one of key {verifier.key_id[:16]} over these bytes (as model_signing 0.2.0)"
        raise _refusal("bad", verifier, detail) from err


def _refusal(rule: str, verifier: Verifier, detail: str) -> VerificationError:
    return VerificationError(detail, [Finding(f"signature.{rule}", verifier.key_id, Severity.CRITICAL, detail)])
