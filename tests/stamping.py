"""A real timestamp authority for tests: ``openssl ts`` behind an HTTP server of this process."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.authority import Authority, pem

# Without `certs`: with it OpenSSL writes the certificates unsorted, see tests/unit/signing/test_unordered.py.
CONFIG = """\
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha1, sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
ess_cert_id_alg = sha256
"""


@dataclass
class Stamper:
    """The authority: where it is, whom to trust, and the answer it gives."""

    folder: Path
    authority: Authority
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    url: str = ""
    answer: Callable[[BaseHTTPRequestHandler, bytes], None] = field(default=lambda _handler, _query: None)

    @property
    def root(self) -> x509.Certificate:
        return self.authority.certificate

    def stamp(self, query: bytes) -> bytes:
        """The response to a DER request."""
        command = ["openssl", "ts", "-reply", "-config", str(self.folder / "tsa.conf"), "-queryfile", "/dev/stdin"]
        return subprocess.run(command, input=query, check=True, capture_output=True).stdout

    def reply(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        send(handler, self.stamp(query))


def send(handler: BaseHTTPRequestHandler, body: bytes, *, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/timestamp-reply")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def stamper(
    folder: Path,
    *,
    purposes: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.TIME_STAMPING,),
    critical: bool = True,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Stamper:
    """Make an authority in a folder; not serving yet."""
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC)
    root, key = long_lived("tsa root"), ec.generate_private_key(ec.SECP256R1())
    certificate = root.leaf(
        key=key,
        extended=purposes,
        critical=critical,
        start=start or today - timedelta(days=1),
        end=end or today + timedelta(days=365),
        names=(),
    )
    pem(folder / "tsa.pem", certificate)
    pem(folder / "root.pem", root.certificate)
    (folder / "tsa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "serial").write_text("01\n")
    (folder / "tsa.conf").write_text(CONFIG.format(folder=folder))
    return Stamper(folder, root, certificate, key)


def long_lived(name: str) -> Authority:
    """An authority valid about the real present, which ``openssl ts`` writes."""
    return Authority.root(name, at=datetime.now(UTC), days=3650)


@contextmanager
def serving(found: Stamper) -> Iterator[Stamper]:
    """Let an authority answer over HTTP; set ``answer`` for a server that answers otherwise."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            found.answer(self, query)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    found.answer = found.reply
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/tsa"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
