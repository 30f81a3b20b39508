"""One question to a model behind an API, and its answer: bounded in time and size, from nobody but who was asked.

References:
    RFC 9110 (HTTP semantics), RFC 8259 (JSON).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from assay.errors import AnswerError, ConfigError

METHODS = ("POST", "PUT", "GET")
MAX_BYTES = 1024 * 1024
TIMEOUT_S = 30.0
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_FINE = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers, and how long and how much it may.

    Attributes:
        url: ``https://…``; ``http://`` on this machine only, unless ``plain_http``.
        method: ``POST``, ``PUT`` or ``GET``.
        headers: Names of headers, each with the environment variable that holds its whole value.
        timeout_s: For one whole question, in seconds.
        max_bytes: Most bytes of one answer.
        plain_http: Ask without encryption over a network: whoever is in between may answer instead.
    """

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = TIMEOUT_S
    max_bytes: int = MAX_BYTES
    plain_http: bool = False

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if self.method not in METHODS:
            raise ConfigError(f"found the method {self.method!r}; wanted {', '.join(METHODS)}")
        for name, variable in self.headers.items():
            if not _HEADER.fullmatch(name) or not _VARIABLE.fullmatch(variable):
                # The wrong value may be the secret itself, pasted here: it is not repeated.
                raise ConfigError(f"header {name[:40]!a} must name an environment variable that holds its value")
        if not 0 < self.timeout_s <= 600 or not 0 < self.max_bytes <= 64 * MAX_BYTES:  # noqa: PLR2004
            raise ConfigError("timeout_s is above 0 and at most 600; max_bytes above 0 and at most 64 MiB")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            if not self.plain_http:
                raise ConfigError(f"{self.place} is asked without encryption: write https://, or plain_http = true")
            if self.headers:
                raise ConfigError(f"{self.place} is asked without encryption: no header goes there")

    @property
    def place(self) -> str:
        """Host and path, for messages: without a query, which may hold a secret."""
        parts = _split(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def ask(self, body: object = None, query: Mapping[str, str] | None = None) -> object:
        """Ask once; nothing is asked again by itself.

        Args:
            body: Sent as JSON; None sends none.
            query: Joined to the address.

        Returns:
            The JSON that was answered.

        Raises:
            AnswerError: Nobody answers in time, or it is no plain JSON with status 200, from this very address.
        """
        raw = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **self._secret_headers()}
        if raw is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self._parsed(self._sent(raw, headers, query or {}))
        except TimeoutError as err:
            raise AnswerError(f"{self.place} gave no whole answer in {self.timeout_s:g} s") from err
        except ssl.SSLError as err:
            raise AnswerError(f"{self.place}: its certificate or connection does not hold ({err.reason})") from err
        except (OSError, http.client.HTTPException) as err:
            # The exception's own words may hold what the server sent: its kind is enough.
            said = err.strerror if isinstance(err, OSError) and err.strerror else type(err).__name__
            raise AnswerError(f"{self.place} cannot be asked ({said})") from err

    def _secret_headers(self) -> dict[str, str]:
        found = {}
        for name, variable in self.headers.items():
            value = os.environ.get(variable, "")
            if not _VALUE.fullmatch(value):  # http.client would put the value into its own error
                why = "is not set" if not value else "holds characters that no header has"
                raise AnswerError(f"{self.place} is asked with the header {name}, but ${variable} {why}")
            found[name] = value
        return found

    def _sent(self, raw: bytes | None, headers: Mapping[str, str], query: Mapping[str, str]) -> bytes:
        parts = _split(self.url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        plain = socket.create_connection((host, port), timeout=self.timeout_s)
        late = threading.Event()
        asked = [plain]

        def end() -> None:
            late.set()
            _shut(asked[-1])

        # A timeout of the socket counts from byte to byte: a server that drips would never be late.
        clock = threading.Timer(self.timeout_s, end)
        clock.daemon = True
        clock.start()
        connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        try:
            if secure:
                context = ssl.create_default_context()
                asked.append(context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False))
                asked[-1].do_handshake()  # type: ignore[attr-defined]  # the one that was just wrapped
            connection.sock = asked[-1]
            target = urllib.parse.urlencode({**dict(urllib.parse.parse_qsl(parts.query)), **query})
            path = (parts.path or "/") + (f"?{target}" if target else "")
            default = port == (443 if secure else 80)
            named = host if ":" not in host else f"[{host}]"
            connection.request(
                self.method,
                path,
                body=raw,
                headers={"Host": named if default else f"{named}:{port}", **headers, "Connection": "close"},
            )
            found = self._read(connection.getresponse())
        except (AnswerError, OSError, http.client.HTTPException) as err:
            if late.is_set():
                raise TimeoutError from err
            raise
        finally:
            clock.cancel()
            connection.close()
            for one in asked:
                one.close()
        if late.is_set():  # what was read may have been cut short by us
            raise TimeoutError
        return found

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        if 300 <= answer.status < 400:  # noqa: PLR2004
            raise AnswerError(f"{self.place} sends elsewhere ({answer.status}): no redirection is followed")
        if answer.status != _FINE:
            raise AnswerError(f"{self.place} answered with status {answer.status}")
        if answer.getheader("Content-Encoding", "identity").lower() != "identity":
            raise AnswerError(f"{self.place} answered compressed, which was not asked for")
        found = answer.read(self.max_bytes + 1)
        if len(found) > self.max_bytes:
            raise AnswerError(f"{self.place} answered with more than {self.max_bytes:,} bytes")
        if answer.length:  # announced and never sent; a read with a limit does not tell
            raise http.client.IncompleteRead(b"", answer.length)
        return found

    def _parsed(self, raw: bytes) -> object:
        try:
            found: object = json.loads(raw.decode(), parse_constant=_no_constant)
            if b"\\u" in raw:
                json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair could not be kept
        except (ValueError, RecursionError) as err:
            raise AnswerError(f"{self.place} answered {len(raw):,} bytes that are no plain JSON") from err
        return found


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isascii() and url.isprintable()
        _ = parts.port
    except ValueError:
        fine = False
    if not fine or " " in url or "@" in parts.netloc or parts.fragment:
        raise ConfigError("the url is no address that begins with https://, without a name, password or fragment in it")
    return parts


def _shut(plain: socket.socket) -> None:
    with suppress(OSError):  # it ended by itself
        socket.socket.shutdown(plain, socket.SHUT_RDWR)  # not SSLSocket's: the reader still needs its state


def _no_constant(word: str) -> float:
    raise ValueError(word)
