"""Ask a timestamp authority over the network to say that it has seen a signature.

References:
    RFC 3161, section 3.4: time-stamp protocol via HTTP.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime

from assay.errors import ConfigError, MissingExtraError, TimestampError, VerificationError
from assay.signing.timestamp import TimestampAuthorities, check_imprint, parse

TIMEOUT_S = 15.0
MAX_BYTES = 1024 * 1024  # an answer with its chain has 2 to 10 KiB


def check_url(url: str) -> str:
    """Return the address of an authority when we would ask there.

    Raises:
        ConfigError: It is no http or https address.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isascii() and url.isprintable()
        _ = parts.port
    except ValueError:
        fine = False
    if not fine or " " in url:
        raise ConfigError(f"found the timestamp authority {url!r}; wanted an address that begins with http(s)://")
    return url


def request_token(
    url: str,
    signature: bytes,
    *,
    now: datetime,
    authorities: TimestampAuthorities | None = None,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """Have a signature stamped.

    Args:
        url: Where the authority takes requests, http or https. What is sent is a digest and a random number.
        signature: The bytes to stamp.
        now: The present, timezone-aware.
        authorities: Whose timestamps count: one that does not is refused at once, not when it is needed.
        timeout_s: For all of it, in seconds.

    Returns:
        DER of the time-stamp response.

    Raises:
        TimestampError: Nobody answers in time, or the answer is no timestamp of this signature.
        VerificationError: The authority is none of those that count.
        MissingExtraError: rfc3161-client is not installed.
    """
    try:
        from rfc3161_client import TimestampRequestBuilder
        from rfc3161_client.base import HashAlgorithm
    except ImportError as err:
        raise MissingExtraError("a timestamp", "timestamp") from err

    check_url(url)
    request = TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm.SHA256).build()
    token = _ask(url, request.as_bytes(), timeout_s)
    try:
        answer = parse(token)
        check_imprint(answer, signature)
        nonce = answer.tst_info.nonce
    except (VerificationError, ValueError) as err:
        raise TimestampError(f"{url}: {err}") from err
    if nonce != request.nonce:  # RFC 3161 2.4.2: else an old answer could be handed out again
        raise TimestampError(f"{url}: the answer is to another request than ours")
    if authorities is not None:
        authorities.check(token, signature, now)
    return token


def _ask(url: str, body: bytes, timeout_s: float) -> bytes:
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - http and https only, checked
    end = time.monotonic() + timeout_s
    try:
        with _opener().open(request, timeout=timeout_s) as answer:
            found = b""
            while part := answer.read1(65536):
                found += part
                if len(found) > MAX_BYTES:
                    raise TimestampError(f"{url}: found more than {MAX_BYTES} bytes; wanted a timestamp")
                if time.monotonic() > end:  # a few bytes now and then would never time out by themselves
                    raise TimeoutError(f"no whole answer in {timeout_s:g} s")
    except urllib.error.HTTPError as err:
        raise TimestampError(f"{url}: the timestamp authority answered {err.code} {err.reason}") from err
    except (OSError, http.client.HTTPException, ssl.SSLError, ValueError) as err:
        reason = err.reason if isinstance(err, urllib.error.URLError) else err
        raise TimestampError(f"{url}: the timestamp authority cannot be asked ({reason}); nothing was signed") from err
    return found


def _opener() -> urllib.request.OpenerDirector:
    """An opener of http and https that follows no redirection: an answer from elsewhere was not asked for."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
