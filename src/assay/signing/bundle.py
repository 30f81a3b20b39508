"""Model signatures as they lie on disk: OpenSSF Model Signing (OMS) v1.0. Pure: bytes in, bytes out.

A Sigstore bundle v0.3 holds a DSSE envelope, which holds an in-toto statement, which lists every file.
What we add lies in ``resources[].annotations``, where the specification leaves room, and so under the
signature: sizes, BLAKE3 digests, tensors, and in the first resource what :class:`About` says.

References:
    OpenSSF Model Signing Specification v1.0; Sigstore bundle v0.3.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.errors import ArtifactError, AssayError, KeyFileError
from assay.keys.base import Signer
from assay.keys.pem import load_public
from assay.signing import canonical
from assay.signing.canonical import malformed
from assay.signing.statement import PAYLOAD_TYPE, Envelope, Statement, Subject, decode, seal
from assay.storage.clock import from_text

PREDICATE = "https://model_signing/signature/v1.0"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MEDIA_TYPES = {MEDIA_TYPE} | {f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3)}
_METHODS = {"publicKey": "key", "x509CertificateChain": "certificate", "certificate": "sigstore"}
_HASHES = ("sha256", "blake3")
_ABOUT = ("name", "version", "created", "expires", "previous_root", "statements")
_TENSOR = ("name", "dtype", "shape", "start", "end", "blake3")
# How every released model_signing names a model that is one file; the specification says its base name, which
# those releases do not verify. Both are read.
SINGLE = "."
WHAT = "signature bundle"


@dataclass(frozen=True, slots=True)
class About:
    """What a signature says about the model beside its bytes.

    Attributes:
        name: The model's name, the same for all its versions; rollback is told by it.
        version: Rises by at least one with each signed version; from 0.
        created: Stored UTC text, the signer's own claim.
        expires: Stored UTC text; refused from then on, None for never.
        previous_root: Root digest of the version before, None for the first.
        statements: Digests of companion statements by kind, so that none can be taken away unseen.
    """

    name: str
    version: int
    created: str
    expires: str | None = None
    previous_root: str | None = None
    statements: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"found the model name {self.name!r}, wanted one that people can read")
        if not 0 <= self.version < 2**53:
            raise ValueError(f"found version {self.version}, wanted a whole number from 0")
        for time in (self.created, self.expires):
            if time is not None:
                _check_time(time)

    def as_json(self) -> dict[str, object]:
        """The fields as plain JSON values."""
        return {
            "name": self.name,
            "version": self.version,
            "created": self.created,
            "expires": self.expires,
            "previous_root": self.previous_root,
            "statements": dict(self.statements),
        }


@dataclass(frozen=True, slots=True)
class Bundle:
    """A signature as read. Nothing in it is checked yet but its form.

    Attributes:
        claim: The manifest that was signed, files in listed order.
        about: What else was signed; None in other tools' bundles.
        envelope: Exactly one signature and what it is over.
        method: ``key``, ``certificate`` or ``sigstore``.
        key_id: Which key it says it is by; "" when it does not say. A hint, not a proof.
        public_pem: The key that older releases put in. A hint, not a proof.
        certificates: DER, the signer's own first; none for ``key``.
        single: The model is one file, whose name was not signed.
        algorithm: ``sha256`` or ``blake3``: what the listed digests are.
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


def write(
    manifest: Manifest,
    signer: Signer,
    *,
    about: About | None = None,
    single: bool = False,
    certificates: tuple[bytes, ...] = (),
) -> bytes:
    """Sign a manifest.

    Args:
        manifest: As measured; the same manifest and ``about`` always give the same payload bytes.
        signer: An EC key: OMS knows no other for signing with keys.
        about: Name, version, expiry, companion statements.
        single: The model is one file, not a folder.
        certificates: DER, the signer's own first, to sign by certificate instead of by key.

    Raises:
        KeyFileError: The key is no EC key, or the first certificate is not its own.
        ArtifactError: The manifest has findings, or lacks SHA-256 digests.
    """
    if not signer.algorithm.startswith("ecdsa-"):
        raise KeyFileError(f"found a key for {signer.algorithm}; a model is signed with an EC key (OMS v1.0)")
    if manifest.findings or not all(file.sha256 for file in manifest.files):
        raise ArtifactError(f"model {manifest.name} cannot be signed as it was measured", manifest.findings)
    if certificates:
        _check_certified(signer, certificates[0])
    resources = [
        _resource(file, manifest, None if position else about, single=single)
        for position, file in enumerate(manifest.files)
    ]
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": sorted(manifest.ignore),
    }
    statement = Statement(
        (Subject(manifest.name, {"sha256": manifest.root}),),
        PREDICATE,
        {"resources": resources, "serialization": serialization},
    )
    return canonical.dumps(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {**_material(signer, certificates), "tlogEntries": []},
            "dsseEnvelope": seal(statement, signer).as_json(),
        }
    )


def parse(data: bytes) -> Bundle:
    """Read a signature.

    Args:
        data: The file's bytes, at most 64 MiB. Written by us or by model_signing 0.3.1 and later with
            whole-file digests; shards and BLAKE2b are not read.

    Raises:
        BundleError: The bytes are no such bundle.
    """
    top = canonical.record(
        canonical.parse(data, what=WHAT), ("mediaType", "verificationMaterial", "dsseEnvelope"), what=WHAT
    )
    media_type = canonical.string(top["mediaType"], what=WHAT)
    if media_type not in _MEDIA_TYPES:
        raise malformed(WHAT, f"its media type is {media_type[:80]!r}, wanted {MEDIA_TYPE!r}")
    method, material = _read_material(top["verificationMaterial"])
    envelope = Envelope.take(top["dsseEnvelope"])
    if envelope.payload_type != PAYLOAD_TYPE:
        raise malformed(WHAT, f"its payload type is {envelope.payload_type[:80]!r}, wanted {PAYLOAD_TYPE!r}")
    if len(envelope.signatures) != 1:
        # Sigstore bundle v0.3: exactly one. One that is never checked could be taken for one that was.
        raise malformed(WHAT, f"it has {len(envelope.signatures)} signatures, wanted exactly one")
    statement = Statement.parse(envelope.payload)
    if statement.predicate_type != PREDICATE:
        raise malformed(WHAT, f"it states {statement.predicate_type[:80]!r}, wanted {PREDICATE!r}")
    claim, about, single, algorithm = _read_statement(statement)
    key_id, public_pem, certificates = _signer_hints(method, material)
    return Bundle(claim, about, envelope, method, key_id, public_pem, certificates, single, algorithm)


def _check_certified(signer: Signer, certificate: bytes) -> None:
    from assay.keys.x509 import certified_pem  # half of this module's import time, for few signatures

    if certified_pem(certificate) != signer.public_pem():
        raise KeyFileError(
            "the first certificate is for another key than the one that signs; give the signer's own first"
        )


def _check_time(text: str) -> None:
    try:
        from_text(text)
    except AssayError as err:
        raise ValueError(err.message) from err


def _resource(file: FileDigest, manifest: Manifest, about: About | None, *, single: bool) -> dict[str, object]:
    annotations: dict[str, object] = {"size": file.size, "blake3": file.blake3}
    tensors = [
        {
            "name": one.name,
            "dtype": one.dtype,
            "shape": list(one.shape),
            "start": one.start,
            "end": one.end,
            "blake3": one.blake3,
        }
        for one in manifest.by_file.get(file.name, {}).values()
    ]
    if tensors:
        annotations["tensors"] = tensors
    if about is not None:
        annotations["assay"] = about.as_json()
    return {
        "name": SINGLE if single else file.name,
        "algorithm": "sha256",
        "digest": file.sha256,
        "annotations": annotations,
    }


def _material(signer: Signer, certificates: tuple[bytes, ...]) -> dict[str, object]:
    if not certificates:
        return {"publicKey": {"hint": signer.key_id}}
    chain = [{"rawBytes": base64.b64encode(one).decode()} for one in certificates]
    return {"x509CertificateChain": {"certificates": chain}}


def _read_material(value: object) -> tuple[str, object]:
    material = canonical.record(value, (), (*_METHODS, "tlogEntries", "timestampVerificationData"), what=WHAT)
    found = [name for name in _METHODS if name in material]
    if len(found) != 1:
        raise malformed(WHAT, f"it holds {len(found)} kinds of key material, wanted one")
    entries = canonical.sequence(material.get("tlogEntries") or [], what=WHAT)
    if found[0] == "certificate" and not entries:
        raise malformed(WHAT, "a keyless signature needs an entry of a transparency log")
    return _METHODS[found[0]], material[found[0]]


def _signer_hints(method: str, material: object) -> tuple[str, bytes | None, tuple[bytes, ...]]:
    if not isinstance(material, dict):
        raise malformed(WHAT, "its key material is no object")
    if method == "key":
        # OMS 11: releases before 1.1.0 put the key itself in, later ones its digest.
        if material.get("hint"):
            return canonical.hexadecimal(material["hint"], 64, what=WHAT), None, ()
        if "rawBytes" not in material:
            raise malformed(WHAT, "it names no key")
        return _raw_key(decode(material["rawBytes"], what=WHAT))
    chain = canonical.sequence(material.get("certificates"), what=WHAT) if method == "certificate" else [material]
    if not chain:
        raise malformed(WHAT, "its certificate chain is empty")
    ders = []
    for one in chain:
        if not isinstance(one, dict):
            raise malformed(WHAT, "a certificate is no object")
        ders.append(decode(one.get("rawBytes"), what=WHAT))
    return "", None, tuple(ders)


def _raw_key(raw: bytes) -> tuple[str, bytes | None, tuple[bytes, ...]]:
    pem = raw
    if not raw.startswith(b"-----"):
        pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(raw) + b"-----END PUBLIC KEY-----\n"
    try:
        key = load_public(pem)
    except KeyFileError as err:
        raise malformed(WHAT, f"its public key cannot be read ({err.message})") from err
    return key.key_id, key.public_pem(), ()


def _read_statement(statement: Statement) -> tuple[Manifest, About | None, bool, str]:
    predicate = canonical.record(statement.predicate, ("resources", "serialization"), what=WHAT)
    algorithm, ignore = _serialization(predicate["serialization"])
    resources = canonical.sequence(predicate["resources"], what=WHAT)
    if len(statement.subjects) != 1 or not resources:
        raise malformed(WHAT, "it must be about one model with at least one file")
    subject = statement.subjects[0]
    single = len(resources) == 1 and isinstance(resources[0], dict) and resources[0].get("name") == SINGLE
    files: list[FileDigest] = []
    tensors: list[TensorDigest] = []
    about: About | None = None
    try:
        for position, value in enumerate(resources):
            file, annotations = _file(value, algorithm, subject.name if single else None)
            files.append(file)
            tensors += _tensors(file.name, annotations)
            if position == 0 and "assay" in annotations:
                about = _about(annotations["assay"])
        claim = Manifest(subject.name, tuple(files), tuple(tensors), ignore)
    except (ArtifactError, ValueError) as err:  # duplicate names, odd names, digests of the wrong length
        raise malformed(WHAT, err.message if isinstance(err, ArtifactError) else str(err)) from err
    listed = b"".join(bytes.fromhex(file.sha256 if algorithm == "sha256" else file.blake3) for file in files)
    root = hashlib.sha256(listed).hexdigest()  # OMS: in listed order, whatever the hash type
    if subject.digest.get("sha256") != root:
        raise malformed(WHAT, "its root digest is not that of the files it lists")
    return claim, about, single, algorithm


def _serialization(value: object) -> tuple[str, tuple[str, ...]]:
    found = canonical.record(
        value, ("method", "hash_type", "allow_symlinks"), ("ignore_paths", "shard_size"), what=WHAT
    )
    if found["method"] != "files" or "shard_size" in found:
        raise malformed(WHAT, f"it signs {str(found['method'])[:40]!r}; only whole files are read here")
    algorithm = found["hash_type"]
    if algorithm not in _HASHES:
        raise malformed(WHAT, f"its digests are {str(algorithm)[:40]!r}; only {' and '.join(_HASHES)} are read here")
    if not isinstance(found["allow_symlinks"], bool):
        raise malformed(WHAT, "allow_symlinks is neither true nor false")
    names = [canonical.string(one, what=WHAT) for one in canonical.sequence(found.get("ignore_paths", []), what=WHAT)]
    inside = [posixpath.normpath(name) for name in names]
    if "." in inside:
        raise malformed(WHAT, "it leaves the whole model out")
    # Names outside the model are nothing to leave out; some releases list the signature's own path there.
    kept = {name for name in inside if not name.startswith(("/", "../")) and name != ".."}
    return str(algorithm), tuple(sorted(kept))


def _file(value: object, algorithm: str, single: str | None) -> tuple[FileDigest, dict[str, object]]:
    # A resource is an in-toto descriptor: fields we do not know are allowed there and not obeyed.
    if not isinstance(value, dict):
        raise malformed(WHAT, "a resource is no object")
    name = canonical.string(value.get("name"), what=WHAT)
    if value.get("algorithm") != algorithm:
        raise malformed(WHAT, f"the digest of {name[:80]!r} is not {algorithm} as the rest")
    digest = canonical.hexadecimal(value.get("digest"), 64, what=WHAT)
    annotations = value.get("annotations", {})
    if not isinstance(annotations, dict):
        raise malformed(WHAT, f"the annotations of {name[:80]!r} are no object")
    size = canonical.whole(annotations["size"], what=WHAT) if "size" in annotations else None
    other = canonical.hexadecimal(annotations["blake3"], 64, what=WHAT) if "blake3" in annotations else ""
    if algorithm == "blake3" and other not in {"", digest}:
        raise malformed(WHAT, f"it gives {name[:80]!r} two BLAKE3 digests")
    sha256, blake3 = (digest, other) if algorithm == "sha256" else ("", digest)
    return FileDigest(single or name, size, sha256, blake3), annotations


def _tensors(file: str, annotations: Mapping[str, object]) -> list[TensorDigest]:
    found: list[TensorDigest] = []
    for value in canonical.sequence(annotations.get("tensors", []), what=WHAT):
        one = canonical.record(value, _TENSOR, what=WHAT)
        found.append(
            TensorDigest(
                file=file,
                name=canonical.string(one["name"], what=WHAT, empty=True),  # safetensors lets a tensor have no name
                dtype=canonical.string(one["dtype"], what=WHAT),
                shape=tuple(canonical.whole(size, what=WHAT) for size in canonical.sequence(one["shape"], what=WHAT)),
                start=canonical.whole(one["start"], what=WHAT),
                end=canonical.whole(one["end"], what=WHAT),
                blake3=canonical.hexadecimal(one["blake3"], 64, what=WHAT),
            )
        )
    return found


def _about(value: object) -> About:
    found = canonical.record(value, _ABOUT, what=WHAT)
    expires, previous = found["expires"], found["previous_root"]
    return About(
        name=canonical.string(found["name"], what=WHAT),
        version=canonical.whole(found["version"], what=WHAT),
        created=canonical.string(found["created"], what=WHAT),
        expires=None if expires is None else canonical.string(expires, what=WHAT),
        previous_root=None if previous is None else canonical.hexadecimal(previous, 64, what=WHAT),
        statements=canonical.strings(found["statements"], what=WHAT),
    )
