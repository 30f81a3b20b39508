"""What certificates and revocation lists have in common as files: read within bounds, and how they fail to parse."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from assay.errors import KeyFileError

# All that the parser raises for bytes that are no sound certificate or list; parts of one are parsed when asked for.
DAMAGED = (
    ValueError,
    KeyError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def read_bounded(path: Path, *, most: int, what: str) -> bytes:
    """Read a file of at most ``most`` bytes.

    Args:
        path: The file.
        most: Bytes.
        what: What it should hold, as a message says it: ``the certificates``.

    Raises:
        KeyFileError: Missing, unreadable, or larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else str(err)
        raise KeyFileError(f"{path}: cannot read {what} ({reason})") from err
    if len(data) > most:
        raise KeyFileError(f"{path}: found more than {most} bytes; wanted {what}")
    return data
