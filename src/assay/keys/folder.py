"""The private keys that lie in a folder, as far as can be told without their passphrases."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assay.errors import KeyFileError
from assay.keys.pem import LOOSE_BITS, is_encrypted, label, load_private, load_public, read_public, read_text


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key lying in a folder, as far as can be told without its passphrase.

    Attributes:
        path: The file.
        key_id: Hex SHA-256 of its public PEM text; "" when the key is encrypted and has no public half beside it.
        algorithm: Signature scheme; "" likewise.
        encrypted: The file asks for a passphrase.
        loose_mode: Others than the owner may read it.
    """

    path: Path
    key_id: str
    algorithm: str
    encrypted: bool
    loose_mode: bool

    @property
    def state(self) -> str:
        """What a person must know of it, in words."""
        words = "encrypted" if self.encrypted else "NOT ENCRYPTED"
        return f"{words}, can be read by others" if self.loose_mode else words

    def as_json(self) -> dict[str, object]:
        """The fields as plain JSON values."""
        known = {"path": str(self.path), "key_id": self.key_id or None, "algorithm": self.algorithm or None}
        return {**known, "encrypted": self.encrypted, "loose_mode": self.loose_mode}


def files(place: Path) -> list[KeyFile]:
    """The private keys in a folder (not below it), or the one in a file.

    Raises:
        KeyFileError: A single file is no private key, or cannot be read.
    """
    if not place.is_dir():
        return [_key_file(place)]
    found = []
    for path in sorted(place.iterdir()):
        with suppress(KeyFileError):  # other things lie in folders too
            found.append(_key_file(path))
    return found


def _key_file(path: Path) -> KeyFile:
    text, mode = read_text(path)
    if b"PRIVATE KEY-----" not in text:
        raise KeyFileError(f"{path}: found {label(text)}; wanted a private key in PEM (BEGIN … PRIVATE KEY)")
    encrypted, public = is_encrypted(text), None
    if not encrypted:
        public = load_public(load_private(path).public_pem())
    elif path.with_suffix(".pub").is_file():
        public = read_public(path.with_suffix(".pub"))
    known = (public.key_id, public.algorithm) if public else ("", "")
    return KeyFile(path, *known, encrypted, bool(mode & LOOSE_BITS))
