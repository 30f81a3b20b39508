"""Put the certificates of a time-stamp response into the order that strict readers want. Pure.

A set is sorted in DER. The certificates of a CMS message need not be DER (RFC 5652, section 5.1), and authorities
built on OpenSSL write the signer's first and those above it after it. They lie outside of what is signed, so their
order says nothing, and a response must not be called damaged for it.

References:
    RFC 3161, section 2.4.2 (the response); RFC 5652, section 5.1 (what it holds); X.690, section 11.6 (the order).
"""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE, SET, NUMBER, NAME, FIRST = 0x30, 0x31, 0x02, 0x06, 0xA0
SHORT = 0x80  # lengths from here on say how many bytes the length itself has
LONGEST = 4  # bytes of a length: no response has more than that


def in_order(token: bytes) -> bytes:
    """Return the response with its certificates sorted.

    Args:
        token: Any bytes; those that are no time-stamp response come back as they are, for the parser to refuse.
    """
    try:
        certificates = _certificates(token)
        if certificates is None:
            return token
        start, end = certificates
        found = [token[at:stop] for _, at, _, stop in _parts(token, start, end)]
    except ValueError:
        return token
    return token[:start] + b"".join(sorted(found)) + token[end:]


def _certificates(token: bytes) -> tuple[int, int] | None:
    """Where the certificates begin and end; None when the response brings none."""
    start, end = _inside(token, (0, len(token)), (), SEQUENCE)  # the response
    start, end = _inside(token, (start, end), (SEQUENCE,), SEQUENCE)  # behind its status: the token
    start, end = _inside(token, (start, end), (NAME,), FIRST)  # behind its type
    start, end = _inside(token, (start, end), (), SEQUENCE)  # the signed data
    try:
        return _inside(token, (start, end), (NUMBER, SET, SEQUENCE), FIRST)
    except ValueError:
        return None


def _inside(data: bytes, where: tuple[int, int], before: tuple[int, ...], wanted: int) -> tuple[int, int]:
    """Where the content of a part begins and ends, which follows parts of the kinds ``before``."""
    parts = _parts(data, *where)
    for kind in before:
        if next(parts, (None,))[0] != kind:
            raise ValueError(kind)
    tag, _, content, end = next(parts, (None, 0, 0, 0))
    if tag != wanted:
        raise ValueError(wanted)
    return content, end


def _parts(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each part between two places: its kind, where it begins, where its content begins, and where both end."""
    while at < end:
        content = at + 2
        if content > end:
            raise ValueError(end)
        length = data[at + 1]
        if length >= SHORT:
            size = length - SHORT
            if not 1 <= size <= LONGEST:
                raise ValueError(size)
            content += size
            length = int.from_bytes(data[at + 2 : content], "big")
        if content + length > end:
            raise ValueError(length)
        yield data[at], at, content, content + length
        at = content + length
