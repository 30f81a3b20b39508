"""Addresses of tables that are no files here, and how they are shown: never with their password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

ELSEWHERE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|table:")
"""What a path begins with that no folder is put in front of: an address, whether anything here reads it or not."""
S3: Final = "s3://"
DATABASE: Final = re.compile(r"postgres(ql)?(\+psycopg)?://")
TABLE: Final = "table:"
ARROW: Final = (".arrow", ".feather", ".ipc", ".arrows")
"""Files of the Arrow IPC format, with or without a footer."""


def shown(address: str) -> str:
    """An address as errors and logs may show it: without user, password and options.

    A password may have been written with ``/``, ``#``, ``?`` or ``@`` in it, where these must be escaped: what stands
    before the last ``@`` is never shown, but for an object of a bucket, whose key may have one.

    Args:
        address: What a configuration says: a path, ``s3://BUCKET/KEY``, ``postgresql://USER:PASSWORD@HOST/BASE#TABLE``.
    """
    if not ELSEWHERE.match(address) or address.startswith(TABLE):
        return address
    scheme, _, rest = address.partition("://")
    if not address.startswith(S3) or ":" in rest.partition("/")[0]:  # no bucket has a colon in its name
        rest = rest.rpartition("@")[2]
    try:
        parts = urlsplit(f"x://{rest}")
    except ValueError:
        return f"{scheme}://…"
    host = parts.netloc.rpartition("@")[2]
    table = f"#{parts.fragment.partition('?')[0]}" if parts.fragment else ""
    return f"{scheme}://{host}{parts.path}{table}"
