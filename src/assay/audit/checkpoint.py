"""Signed tree heads: C2SP signed notes and checkpoints, and the Ed25519 key that makes them.

This key signs the log and nothing else: it is not a signing key of models, so a stolen one cannot
vouch for a model, and the other way round.

References:
    C2SP signed-note v1.0.0 (https://c2sp.org/signed-note@v1.0.0).
    C2SP tlog-checkpoint v1.0.0 (https://c2sp.org/tlog-checkpoint@v1.0.0).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from assay.errors import KeyFileError, VerificationError

MAX_NOTE_BYTES = 1_000_000
"""Longest note that is read."""

MAX_SIGNATURES = 100
"""Most signature lines that are read; signed-note asks for at least 16."""

_ED25519 = b"\x01"  # signed-note: assigned signature type
_ID_BYTES = 4
_KEY_BYTES = 32
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\u2014 "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise VerificationError("the note has malformed base64") from err
    if base64.b64encode(data).decode() != text:  # stray bits after the last byte: the same bytes, spelt twice
        raise VerificationError("the note has base64 that is not canonical")
    return data


def check_name(name: str) -> str:
    """Return a key name or origin that may stand in a note.

    Raises:
        ValueError: It is empty, or has a space, a plus or a control character (signed-note, "Format").
    """
    # isprintable: neither Unicode spaces other than U+0020, nor control characters, nor lone surrogates.
    if not name or "+" in name or " " in name or not name.isprintable():
        raise ValueError(f"{name!r} cannot name a log: use letters like example.org/log, no space and no plus")
    return name


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """Who may sign a log's checkpoints.

    Attributes:
        name: Key name; for our logs it is the origin.
        public: Ed25519 public key, 32 bytes (RFC 8032).
    """

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes: ``SHA-256(name || 0x0A || 0x01 || public key)[:4]``."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    @property
    def key_string(self) -> str:
        """``name+id+key`` on one line, as note verifiers are exchanged; public."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, key_string: str) -> NoteVerifier:
        """Return the verifier that a key string says.

        Raises:
            KeyFileError: It is not a key string of an Ed25519 key, or its id does not belong to it.
        """
        parts = key_string.strip().split("+", 2)
        try:
            name, key_id, encoded = parts
            key = _base64(encoded)
            found = cls(check_name(name), key[1:])
            good = key[:1] == _ED25519 and len(key) == 1 + _KEY_BYTES and found.key_id.hex() == key_id
        except (ValueError, VerificationError) as err:
            raise KeyFileError("found no log key; a key string reads NAME+ID+KEY on one line") from err
        if not good:
            raise KeyFileError(f"the log key of {name} is not an Ed25519 key, or its id does not belong to it")
        return found

    def verify(self, signature: bytes, text: bytes) -> None:
        """Return when the signature is this key's over the text.

        Raises:
            VerificationError: It is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError) as err:
            raise VerificationError(f"the signature of {self.name} is not over this note: it was edited") from err


class NoteKey:
    """The log's private key: one line ``PRIVATE+KEY+name+id+key`` in a file of mode 0600."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = NoteVerifier(check_name(name), self._private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, path: Path, name: str) -> NoteKey:
        """Make a key, write it to ``path`` (never over another file) and its key string to ``path`` + ``.pub``.

        Args:
            path: Where; the folder is made when missing.
            name: Key name: the origin of the log.

        Raises:
            KeyFileError: There is a file already, or it cannot be written.
            ValueError: The name cannot stand in a note.
        """
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        key = cls(name, seed)
        encoded = base64.b64encode(_ED25519 + seed).decode()
        line = f"{_PRIVATE}{name}+{key.verifier.key_id.hex()}+{encoded}\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(new, path)  # whole or not at all, and never over another process's key
            finally:
                new.unlink()
            path.with_name(path.name + ".pub").write_text(key.verifier.key_string + "\n", encoding="utf-8")
        except OSError as err:
            raise KeyFileError(f"the log key {path} cannot be made: {err.strerror or err}") from err
        return key

    @classmethod
    def read(cls, path: Path) -> NoteKey:
        """Return the key in a file.

        Raises:
            KeyFileError: It is missing, everybody may read it, or it is not such a key.
        """
        try:
            with path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                line = file.read(4096).strip()
        except (OSError, UnicodeDecodeError) as err:
            raise KeyFileError(f"the log key {path} cannot be read: {err}") from err
        if mode & 0o007:
            raise KeyFileError(f"the log key {path} has mode {mode:04o}, so everybody may use it: chmod 600 it")
        try:
            name, key_id, encoded = line.removeprefix(_PRIVATE).split("+", 2)
            data = _base64(encoded)
            key = cls(name, data[1:])
        except (ValueError, VerificationError) as err:
            raise KeyFileError(f"{path} is not a log key: it must read PRIVATE+KEY+NAME+ID+KEY on one line") from err
        if not line.startswith(_PRIVATE) or data[:1] != _ED25519:
            raise KeyFileError(f"{path} is not a private Ed25519 log key; found another kind of key")
        if key.verifier.key_id.hex() != key_id:
            raise KeyFileError(f"the log key {path} was edited: its id does not belong to it")
        return key

    def sign(self, text: str) -> str:
        """Return the signed note of a text.

        Args:
            text: Ends with a newline; no control characters but newlines.
        """
        if not text.endswith("\n") or _CONTROL.search(text):
            raise ValueError("a note's text ends with a newline and has no other control characters")
        signature = base64.b64encode(self.verifier.key_id + self._private.sign(text.encode())).decode()
        return f"{text}\n{_DASH}{self.verifier.name} {signature}\n"


def open_note(note: str, verifier: NoteVerifier) -> str:
    """Return the text of a note that the verifier's key signed.

    Signatures of other keys (witnesses) are ignored, as signed-note demands.

    Raises:
        VerificationError: The note is malformed, the key did not sign it, or signed another text.
    """
    if len(note) > MAX_NOTE_BYTES or _CONTROL.search(note):
        raise VerificationError("the note is too long, or has control characters")
    body, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not separator or lines.pop() != "" or not 1 <= len(lines) <= MAX_SIGNATURES:
        raise VerificationError("the note has no text, empty line and signature lines")
    text = body + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError as err:
        raise VerificationError("the note is not UTF-8") from err
    known = [
        signature
        for name, key_id, signature in map(_signature, lines)
        if (name, key_id) == (verifier.name, verifier.key_id)
    ]
    if not known:
        raise VerificationError(f"{verifier.name} ({verifier.key_id.hex()}) did not sign this note")
    for signature in known:
        verifier.verify(signature, data)
    return text


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    data = _base64(encoded)
    if not line.startswith(_DASH) or not space or len(data) <= _ID_BYTES:
        raise VerificationError("the note has a malformed signature line")
    try:
        check_name(name)
    except ValueError as err:
        raise VerificationError("the note has a malformed key name") from err
    return name, data[:_ID_BYTES], data[_ID_BYTES:]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to.

    Attributes:
        origin: Which log.
        size: Entries.
        root: RFC 6962 root of that many entries, 32 bytes.
        extensions: Further lines; kept, never obeyed.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the note text: origin, size, base64 root, extension lines."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Return the checkpoint that a note text says.

        Raises:
            VerificationError: The text is not a checkpoint.
        """
        lines = text.removesuffix("\n").split("\n")
        if not text.endswith("\n") or len(lines) < 3 or not all(lines) or not _SIZE.fullmatch(lines[1]):  # noqa: PLR2004
            raise VerificationError("the checkpoint's lines are not origin, size and root")
        origin, size, root, *extensions = lines
        digest = _base64(root)
        if len(digest) != hashlib.sha256().digest_size:
            raise VerificationError("the checkpoint's root is not a SHA-256 digest")
        return cls(origin, int(size), digest, tuple(extensions))

    @classmethod
    def open(cls, note: str, verifier: NoteVerifier) -> Checkpoint:
        """Return the checkpoint of a note that the log's key signed.

        Raises:
            VerificationError: The note or checkpoint is malformed, of another log, or not signed by its key.
        """
        found = cls.parse(open_note(note, verifier))
        if found.origin != verifier.name:  # tlog-checkpoint: the log's key name should match the origin line
            raise VerificationError(f"the checkpoint is of the log {found.origin}, not of {verifier.name}")
        return found
