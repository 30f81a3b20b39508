"""Add a signature to one that is there, so that a policy can ask for several people's.

The first signature stays as it is: tools that know of one only verify that one (OMS v1.0 lets an
envelope have several and says nothing of them).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from assay.artifacts.compare import compare
from assay.artifacts.names import shown
from assay.errors import ArtifactError, KeyFileError
from assay.keys.base import Signer
from assay.signing import canonical, measuring
from assay.signing.bundle import WHAT, Bundle, check_scheme
from assay.signing.reading import parse
from assay.signing.sign import Log, Signed, default_signature
from assay.signing.store import read_bounded, write_whole
from assay.signing.verified import Case, name_of


def cosign(
    path: Path,
    signer: Signer,
    *,
    signature: Path | None = None,
    ignore: Sequence[Path | str] = (),
    log: Log | None = None,
    actor: str = "",
    now: datetime,
) -> Signed:
    """Add a signature over what was signed already, when the files still are just that.

    Who made the signature that is there is not asked: the co-signer vouches for the files, and
    whoever verifies says whose signatures count.

    Args:
        path: The model.
        signer: A key that has not signed it yet.
        signature: Where the signature is; ``PATH/model.sig``, or ``PATH.sig`` for a single file.
        ignore: Left out beside what the signature itself leaves out.
        log: Gets an entry ``model.cosigned`` after the signature is on disk.
        actor: Who signs, for the log; the key when empty.
        now: The time of the entry.

    Raises:
        VerificationError: The files are not those that were signed; BundleError when the signature is malformed.
        ArtifactError: There is no such model, or no signature to add to.
        KeyFileError: The key has signed it already, or is of a kind that signs no models.
        StorageError: The signature cannot be written.
    """
    place = default_signature(path) if signature is None else signature
    try:
        bundle = parse(read_bounded(place))
    except OSError as err:
        raise ArtifactError(f"{shown(str(place))}: there is no signature to add to; sign without --add first") from err
    check_scheme(signer)
    _refuse_twice(bundle, signer)
    case = Case(path, place, None, tuple(ignore), now, None, None)
    found = measuring.measured(case, bundle, thorough=True, report=None)
    found = measuring.relisted(case, bundle, found, None)
    claim, findings = measuring.claim_for(bundle, found)
    findings = [*findings, *compare(claim, found)]
    if findings:
        raise case.refuse(findings, name=name_of(bundle.about, claim))
    write_whole(place, add_signature(bundle, signer))
    signed = Signed(measuring.completed(claim, found), place, bundle.about)
    if log is not None:
        data = {"root": found.root, "signatures": len(bundle.signatures) + 1, "key_id": signer.key_id}
        name = name_of(bundle.about, claim)
        log.append("model.cosigned", name, data, actor=actor or f"key {signer.key_id[:16]}", now=now)
    return signed


def add_signature(bundle: Bundle, signer: Signer) -> bytes:
    """The same bundle with one more signature over the same payload. Pure.

    Raises:
        BundleError: The bundle has a form that holds one signature only.
    """
    if bundle.old:
        raise canonical.malformed(WHAT, "model_signing 0.2.0 made it, and that form holds one signature; sign it again")
    body = cast("dict[str, Any]", canonical.parse(bundle.raw, what=WHAT))  # parsed before, so its form is known
    added = signer.sign(bundle.envelope.signed_bytes())
    body["dsseEnvelope"]["signatures"].append({"keyid": signer.key_id, "sig": base64.b64encode(added).decode()})
    try:
        text = canonical.dumps(body)
    except ValueError as err:  # a number that only other JSON writers can write
        raise canonical.malformed(WHAT, str(err)) from err
    parse(text)  # what nobody could read again is never written
    return text


def _refuse_twice(bundle: Bundle, signer: Signer) -> None:
    known = {key_id for key_id, _ in bundle.signatures}
    if bundle.certificates:
        from assay.keys.base import key_id_of
        from assay.keys.x509 import certified_pem

        known.add(key_id_of(certified_pem(bundle.certificates[0])))
    if signer.key_id in known:
        raise KeyFileError(f"key {signer.key_id[:16]} has signed this model already; a second person signs with theirs")
