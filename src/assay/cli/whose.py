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
        click.option(
            "--trust-config",
            type=click.Path(path_type=Path),
            help="Trust configuration (JSON) of another Sigstore instance than the public one.",
        ),
        click.option(
            "--identity-issuer",
            metavar="URL",
            help="The provider that must have vouched for the one --identity, for signatures of Sigstore.",
        ),
        click.option(
            "--at-least", type=click.IntRange(min=1), metavar="K", help="How many of the keys must have signed; 1."
        ),
        click.option(
            "--public-key",
            "public_keys",
            multiple=True,
            type=click.Path(path_type=Path),
            help="A key (PEM) whose signature counts; repeatable, for models that several have signed.",
        ),
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
    keys, chain, issuer = _paths(whose, "public_keys"), whose["certificate_chain"], whose.get("identity_issuer")
    _check_together(whose)
    rules: list[SignerRule] = []
    if isinstance(chain, Path):
        rules.append(_by_certificate(whose, chain))
    if isinstance(issuer, str):
        rules.append(_by_sigstore(whose, issuer))
    if keys:
        from assay.keys.pem import read_public
        from assay.signing.signers import SignedByKey

        rules += [SignedByKey(read_public(key)) for key in keys]
    wanted = whose.get("at_least")
    if len(rules) <= 1 and wanted in {None, 1}:
        return rules[0] if rules else None
    count = wanted if isinstance(wanted, int) else 1
    if count > len(rules):
        raise ConfigError(f"--at-least {count} can never be met: {len(rules)} signers are named")
    from assay.signing.signers import AtLeast

    return AtLeast(count, *rules)


def _check_together(whose: Mapping[str, object]) -> None:
    """Raise ConfigError for options that contradict each other, or that mean nothing without another."""
    chain, issuer = whose["certificate_chain"] is not None, whose.get("identity_issuer") is not None
    keys, stamped = bool(_paths(whose, "public_keys")), bool(_paths(whose, "timestamp_authorities"))
    if chain and issuer:
        raise ConfigError("give --certificate-chain or --identity-issuer, not both: one says whose word counts")
    if keys and (chain or issuer) and whose.get("at_least") is None:
        raise ConfigError(
            "give --public-key or --certificate-chain (or --identity-issuer), not both: one says whose signature "
            "counts; for a model that several have signed say how many with --at-least"
        )
    if not chain and not issuer and (whose["identities"] or whose["any_identity"]):
        raise ConfigError(
            "--identity and --any-identity go with --certificate-chain, which says whose word counts; --identity also "
            "with --identity-issuer"
        )
    if whose.get("trust_config") is not None and not issuer:
        raise ConfigError("--trust-config goes with --identity-issuer, for signatures of Sigstore")
    if whose.get("at_least") is not None and not (keys or chain or issuer):
        raise ConfigError("--at-least counts signers: name them with --public-key")
    if _paths(whose, "crls") and not chain and not stamped:
        raise ConfigError("--crl goes with --certificate-chain or --timestamp-authority: a bare key has no certificate")
    if stamped and not (keys or chain or issuer):
        raise ConfigError(
            "--timestamp-authority goes with --public-key or --certificate-chain; a model of the project takes "
            "timestamp_authorities of assay.toml"
        )


def _by_certificate(whose: Mapping[str, object], chain: Path) -> SignerRule:
    identities, anyone = whose["identities"], whose["any_identity"]
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


def _by_sigstore(whose: Mapping[str, object], issuer: str) -> SignerRule:
    identities, config = whose["identities"], whose.get("trust_config")
    if whose["any_identity"] or not isinstance(identities, tuple) or not identities or not issuer:
        raise ConfigError("anybody can sign through Sigstore: say who with --identity ID beside --identity-issuer URL")
    from assay.signing.signers import AnyOf
    from assay.signing.sigstore import PublicInstance, SignedBySigstore, TrustConfig

    authorities = TrustConfig(config) if isinstance(config, Path) else PublicInstance()
    return AnyOf(*(SignedBySigstore(identity, issuer, authorities) for identity in identities))
