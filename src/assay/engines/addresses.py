"""Addresses of tables that are no files here, and how they are shown: never with their password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

ELSEWHERE: Final = re.compile(r"(s3|postgres(ql)?(\+psycopg)?)://|table:")
"""What a path begins with that no folder is put in front of."""
S3: Final = "s3://"
DATABASE: Final = re.compile(r"postgres(ql)?(\+psycopg)?://")
TABLE: Final = "table:"
ARROW: Final = (".arrow", ".feather", ".ipc", ".arrows")
"""Files of the Arrow IPC format, with or without a footer."""


def shown(address: str) -> str:
    """An address as errors and logs may show it: without user, password and options.

    Args:
        address: What a configuration says: a path, ``s3://BUCKET/KEY``, ``postgresql://USER:PASSWORD@HOST/BASE#TABLE``.
    """
    if not ELSEWHERE.match(address) or address.startswith(TABLE):
        return address
    scheme, _, rest = address.partition("://")
    try:
        parts = urlsplit(f"x://{rest}")
    except ValueError:
        return f"{scheme}://…"
    host = parts.netloc.rpartition("@")[2]
    table = f"#{parts.fragment}" if parts.fragment else ""
    return f"{scheme}://{host}{parts.path}{table}"
