"""What a signer recorded that a model's pickles import: known because somebody vouched for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assay.errors import VerificationError
from assay.findings import Finding, Severity
from assay.signing import reading
from assay.signing.moment import Moment
from assay.signing.signers import SignerRule
from assay.signing.store import read_bounded


@dataclass(frozen=True, slots=True)
class Vouched:
    """The signed globals of a model.

    Attributes:
        signer: Who signed, as the trust store or certificate names them.
        globals: ``module name`` by file; empty for every file that was signed and imports nothing.
        said: Whether the signature says anything about globals; those of other tools do not.
    """

    signer: str
    globals: Mapping[str, frozenset[str]]
    said: bool


def read_vouched(signature: Path, signers: SignerRule, now: datetime) -> Vouched:
    """Read the signed globals, once the right person's signature over them holds.

    The model's bytes are not compared here: a model trained anew is held against what was signed before.

    Args:
        signature: Where the signature lies.
        signers: Whose signature counts.
        now: The moment that keys and certificates are judged at, timezone-aware.

    Raises:
        VerificationError: It is missing, malformed, or not by the right person.
    """
    try:
        bundle = reading.parse(read_bounded(signature))
    except OSError as err:
        detail = f"the signature {signature} cannot be read ({err.strerror or err})"
        raise VerificationError(detail, [Finding("signature.missing", "", Severity.CRITICAL, detail)]) from err
    who = signers.check(bundle, Moment(now))
    listed = {file.name: bundle.globals.get(file.name, frozenset()) for file in bundle.claim.files}
    return Vouched(who.identity, listed, bool(bundle.globals))
