"""Which digests a signature lists, as the options of a command line say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from assay.artifacts.listing import Listing

Command = TypeVar("Command", bound=Callable[..., object])


def listing_options(command: Command) -> Command:
    """Add the options that say which digests the signature lists."""
    for option in (
        click.option(
            "--shard-size",
            type=click.IntRange(min=1, max=2**53 - 1),
            metavar="BYTES",
            help="List digests of ranges of this many bytes instead of whole files; model_signing does not read it "
            "by itself.",
        ),
        click.option(
            "--hash-type",
            type=click.Choice(("sha256", "blake2b", "blake3")),
            default="sha256",
            show_default=True,
            help="Which digest the signature lists; SHA-256 and BLAKE3 of each file are signed in any case.",
        ),
    ):
        command = option(command)
    return command


def listing_of(hash_type: str, shard_size: int | None) -> Listing | None:
    """The listing that the options spell, None for the usual one."""
    if hash_type == "sha256" and shard_size is None:
        return None
    from assay.artifacts.listing import Listing

    return Listing(hash_type, shard_size or 0)
