"""Whose signature counts, as the options of a command line say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from assay.errors import ConfigError

if TYPE_CHECKING:
    from cryptography import x509

    from assay.signing.signers import SignerRule
    from assay.signing.timestamp import TimestampAuthorities

Command = TypeVar("Command", bound=Callable[..., object])


def whose_options(command: Command) -> Command:
    """Add the options that say whose signature counts."""
    for option in (
        click.option("--any-identity", is_flag=True, help="Accept whomever the authorities certified."),
        click.option(
            "--identity",
            "identities",
            multiple=True,
            help="Whom they must have certified: mail, URI or host; repeatable.",
        ),
        click.option(
            "--certificate-chain",
            type=click.Path(path_type=Path),
            help="Certificates (PEM) of the authorities that count.",
        ),
        click.option("--public-key", type=click.Path(path_type=Path), help="The one key (PEM) whose signature counts."),
    ):
        command = option(command)
    return command


def time_options(command: Command) -> Command:
    """Add the options that say at what time, and with which revocations, a signature is judged."""
    for option in (
        click.option(
            "--timestamp-authority",
            "timestamp_authorities",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Certificates (PEM) of a timestamp authority that counts: who signed is judged at the time it "
            "says; repeatable.",
        ),
        click.option(
            "--crl",
            "crls",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Certificates taken back (CRL, PEM or DER); repeatable.",
        ),
    ):
        command = option(command)
    return command


def timestamp_authorities(whose: Mapping[str, object]) -> TimestampAuthorities | None:
    """Whose timestamps count, None when the options name nobody.

    Raises:
        KeyFileError: A file cannot be read.
    """
    files = _paths(whose, "timestamp_authorities")
    if not files:
        return None
    from assay.keys.x509 import read_certificates
    from assay.signing.timestamp import TimestampAuthorities

    anchors = [one for path in files for one in read_certificates(path)]
    return TimestampAuthorities(anchors, revocations=_revocations(whose))


def _revocations(whose: Mapping[str, object]) -> list[x509.CertificateRevocationList]:
    from assay.keys.revocation import read_revocations

    return [one for path in _paths(whose, "crls") for one in read_revocations(path)]


def _paths(whose: Mapping[str, object], option: str) -> tuple[Path, ...]:
    found = whose.get(option)
    return tuple(one for one in found if isinstance(one, Path)) if isinstance(found, tuple) else ()


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
    if _paths(whose, "crls") and chain is None and not _paths(whose, "timestamp_authorities"):
        raise ConfigError("--crl goes with --certificate-chain or --timestamp-authority: a bare key has no certificate")
    if isinstance(key, Path):
        from assay.keys.pem import read_public
        from assay.signing.signers import SignedByKey

        return SignedByKey(read_public(key))
    if not isinstance(chain, Path):
        if _paths(whose, "timestamp_authorities"):
            raise ConfigError(
                "--timestamp-authority goes with --public-key or --certificate-chain; a model of the project takes "
                "timestamp_authorities of assay.toml"
            )
        return None
    if bool(identities) == bool(anyone):
        raise ConfigError(
            "an authority certifies many people: say whom to accept with --identity ID, or --any-identity, not both"
        )
    from assay.keys.x509 import read_certificates
    from assay.signing.certificate import SignedByCertificate

    anchors = read_certificates(chain)
    if anyone:
        return SignedByCertificate.of_any_identity(anchors, revocations=_revocations(whose))
    named = identities if isinstance(identities, tuple) else ()
    return SignedByCertificate(anchors, named, revocations=_revocations(whose))
