"""Read a model signature from bytes that somebody else wrote. Pure; nothing is verified here but the form."""

from __future__ import annotations

import base64

from assay.errors import KeyFileError
from assay.keys.pem import load_public
from assay.signing import canonical, older, serialization
from assay.signing.bundle import MEDIA_TYPE, WHAT, Bundle
from assay.signing.canonical import malformed
from assay.signing.statement import PAYLOAD_TYPE, Envelope, Statement, decode

_MEDIA_TYPES = {MEDIA_TYPE} | {f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3)}
_METHODS = {"publicKey": "key", "x509CertificateChain": "certificate", "certificate": "sigstore"}
_MAX_SIGNATURES = 64  # each costs a verification; nobody has so many signers
_MAX_TIMESTAMPS = 16
_KEY_INSIDE = "it names its key as model_signing did before 1.1.0"


def parse(data: bytes) -> Bundle:
    """Read a signature.

    Args:
        data: The file's bytes, at most 64 MiB: OMS v1.0 as we, model_signing 0.3 and later, or others
            write it, and what model_signing 0.2.0 wrote.

    Raises:
        BundleError: The bytes are no such bundle.
    """
    top = canonical.record(
        canonical.parse(data, what=WHAT), ("mediaType", "verificationMaterial", "dsseEnvelope"), what=WHAT
    )
    media_type = canonical.string(top["mediaType"], what=WHAT)
    if media_type not in _MEDIA_TYPES:
        raise malformed(WHAT, f"its media type is {media_type[:80]!r}, wanted {MEDIA_TYPE!r}")
    method, material, timestamps = _material(top["verificationMaterial"])
    envelope = Envelope.take(top["dsseEnvelope"])
    if envelope.payload_type != PAYLOAD_TYPE:
        raise malformed(WHAT, f"its payload type is {envelope.payload_type[:80]!r}, wanted {PAYLOAD_TYPE!r}")
    statement = Statement.parse(envelope.payload)
    old = statement.predicate_type == older.PREDICATE
    if not old and statement.predicate_type != serialization.PREDICATE:
        raise malformed(WHAT, f"it states {statement.predicate_type[:80]!r}, wanted {serialization.PREDICATE!r}")
    found = older.read(statement, what=WHAT) if old else serialization.read(statement, what=WHAT)
    key_id, public_pem, certificates = _signer_hints(method, material)
    _check_signatures(envelope, key_id, old=old)
    return Bundle(
        claim=found.claim,
        about=found.about,
        envelope=envelope,
        method=method,
        key_id=key_id,
        public_pem=public_pem,
        certificates=certificates,
        single=found.single,
        algorithm=found.algorithm,
        timestamps=timestamps,
        globals=found.globals,
        old=old,
        remarks=found.remarks if public_pem is None or old else (_KEY_INSIDE, *found.remarks),
        raw=data,
    )


def _check_signatures(envelope: Envelope, key_id: str, *, old: bool) -> None:
    """Co-signers name their keys, each another one: who signs twice is still one."""
    others = [name for name, _ in envelope.signatures[1:]]
    if len(others) >= _MAX_SIGNATURES:
        raise malformed(WHAT, f"it has {len(others) + 1} signatures, more than {_MAX_SIGNATURES}")
    if others and old:
        raise malformed(WHAT, f"it has {len(others) + 1} signatures, and model_signing 0.2.0 made one")
    for name in others:
        canonical.hexadecimal(name, 64, what=WHAT)
    named = [*others, *([key_id] if key_id else [])]
    if len(set(named)) != len(named):
        raise malformed(WHAT, "one key has signed it twice")


def _material(value: object) -> tuple[str, object, tuple[bytes, ...]]:
    material = canonical.record(value, (), (*_METHODS, "tlogEntries", "timestampVerificationData"), what=WHAT)
    found = [name for name in _METHODS if name in material]
    if len(found) != 1:
        raise malformed(WHAT, f"it holds {len(found)} kinds of key material, wanted one")
    entries = canonical.sequence(material.get("tlogEntries") or [], what=WHAT)
    if found[0] == "certificate" and not entries:
        raise malformed(WHAT, "a keyless signature needs an entry of a transparency log")
    return _METHODS[found[0]], material[found[0]], _timestamps(material.get("timestampVerificationData"))


def _timestamps(value: object) -> tuple[bytes, ...]:
    if value is None:  # protobuf writers say "none" as null
        return ()
    if not isinstance(value, dict):
        raise malformed(WHAT, "its timestamps are no object")
    entries = canonical.sequence(value.get("rfc3161Timestamps") or [], what=WHAT)
    if len(entries) > _MAX_TIMESTAMPS:
        raise malformed(WHAT, f"it has {len(entries)} timestamps, more than {_MAX_TIMESTAMPS}")
    tokens = []
    for one in entries:
        if not isinstance(one, dict):
            raise malformed(WHAT, "a timestamp is no object")
        tokens.append(decode(one.get("signedTimestamp"), what=WHAT))
    return tuple(tokens)


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
