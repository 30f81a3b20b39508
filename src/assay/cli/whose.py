"""Whose signature counts, as the options of a command line say it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import ConfigError

if TYPE_CHECKING:
    from assay.signing.signers import SignerRule


def signer_rule(whose: Mapping[str, object]) -> SignerRule | None:
    """The rule that the options spell, None when they spell none.

    Raises:
        ConfigError: They contradict each other, or leave open whom an authority must have certified.
    """
    key, chain = whose["public_key"], whose["certificate_chain"]
    identities, anyone = whose["identities"], whose["any_identity"]
    if key is not None and chain is not None:
        raise ConfigError("give --public-key or --certificate-chain, not both: one says whose signature counts")
    if chain is None and (identities or anyone):
        raise ConfigError("--identity and --any-identity go with --certificate-chain, which says whose word counts")
    if isinstance(key, Path):
        from assay.keys.pem import read_public
        from assay.signing.signers import SignedByKey

        return SignedByKey(read_public(key))
    if not isinstance(chain, Path):
        return None
    if bool(identities) == bool(anyone):
        raise ConfigError(
            "an authority certifies many people: say whom to accept with --identity ID, or --any-identity, not both"
        )
    from assay.keys.x509 import read_certificates
    from assay.signing.certificate import SignedByCertificate

    anchors = read_certificates(chain)
    if anyone:
        return SignedByCertificate.of_any_identity(anchors)
    return SignedByCertificate(anchors, identities if isinstance(identities, tuple) else ())
