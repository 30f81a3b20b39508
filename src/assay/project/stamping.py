"""Timestamps of the project's signatures: whom to ask, and whose word counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from assay.project.config import ProjectConfig

if TYPE_CHECKING:
    from assay.signing.timestamp import TimestampAuthorities


def authorities(config: ProjectConfig) -> TimestampAuthorities | None:
    """Whose timestamps count in this project; None when assay.toml names nobody.

    Raises:
        KeyFileError: A file that assay.toml names cannot be read.
    """
    if not config.timestamp_authorities:
        return None
    from assay.keys.revocation import read_revocations
    from assay.keys.x509 import read_certificates
    from assay.signing.timestamp import TimestampAuthorities

    anchors = [one for path in config.timestamp_authorities for one in read_certificates(path)]
    return TimestampAuthorities(anchors, revocations=[one for path in config.crls for one in read_revocations(path)])


def stamper(
    url: str | None, trusted: TimestampAuthorities | None, now: datetime
) -> Callable[[bytes], Sequence[bytes]] | None:
    """What asks for a timestamp of a signature just made; None when nobody is to be asked.

    Args:
        url: Where the authority takes requests.
        trusted: Whose timestamps count: another's is refused before anything is signed with it.
        now: The present.

    Raises:
        ConfigError: The address is none.
    """
    if url is None:
        return None
    from assay.signing.authority import check_url, request_token

    address = check_url(url)
    return lambda signature: [request_token(address, signature, now=now, authorities=trusted)]
