"""A model's root digest on paper: as hex, as words a person can type, and read back. Pure.

The words are those of BIP39: 256 bits and an 8-bit checksum in 24 words out of 2,048, which differ in
their first four letters. Eleven bits a word, and a mistyped one is noticed in 255 cases of 256 by the
checksum alone; the digest decides in every case.

References:
    Bitcoin Improvement Proposal 39 (wordlist "english").
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from assay.artifacts.files import DEFAULT_IGNORES
from assay.artifacts.names import shown
from assay.errors import ConfigError, MissingExtraError, VerificationError
from assay.findings import Finding, Severity
from assay.signing.sign import SIGNATURE

MARK = "assay-record-1"
WORDS = 24
_DIGITS = 64
# Half the digest: 128 bits, which nobody can make another model for. Fewer digits are no proof.
LEAST_DIGITS = 32
_PRINTED = re.compile(rf"{MARK}[ :]([0-9a-f]{{{_DIGITS}}})\b", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+")
_MOST_TYPOS = 3  # words; more that differ are another model, not a slip of the pen
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down about a signed model.

    Attributes:
        root: Root digest, SHA-256 in hex.
        name: The model's name.
        version: Its version; None when the signature says none.
        created: When it was signed, stored UTC text.
        key_id: Key that signed; "" when unknown.
        ignored: What the signature leaves out: whoever checks must leave out the same.
    """

    root: str
    name: str
    version: int | None
    created: str
    key_id: str
    ignored: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The record as a token keeps it."""
        fields = {"name": self.name, "version": self.version, "created": self.created, "key_id": self.key_id}
        return json.dumps({"record": f"{MARK} {self.root}", **fields}, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A root digest as a person gave it.

    Attributes:
        digits: Hex digits, from the left; all 64 unless fewer were typed.
        words: The words, when words were typed.
        sound: The words' checksum holds; True without words.
    """

    digits: str
    words: tuple[str, ...] = ()
    sound: bool = True


def left_out(ignore: Iterable[str]) -> tuple[str, ...]:
    """What whoever checks a record must leave out too: what verification leaves out anyway is not said."""
    return tuple(sorted(set(ignore) - {*DEFAULT_IGNORES, SIGNATURE}))


def grouped(digits: str, size: int = 4) -> list[str]:
    """Hex digits in groups, as they are easiest to compare."""
    return [digits[at : at + size] for at in range(0, len(digits), size)]


def words_of(root: str) -> tuple[str, ...]:
    """The 24 words of a root digest.

    Raises:
        MissingExtraError: The package with the list of words is not installed.
    """
    listed = _wordlist()
    raw = bytes.fromhex(root)
    bits = int.from_bytes(raw + hashlib.sha256(raw).digest()[:1])
    return tuple(listed[(bits >> (11 * (WORDS - 1 - at))) & 2047] for at in range(WORDS))


def read(text: str) -> Wanted:
    """Read a record: a page or token entry of ours, 24 words, or hex digits in any grouping.

    Raises:
        ConfigError: It is none of these; every word that is not in the list is named, with its place.
        MissingExtraError: Words were given and the package with their list is not installed.
    """
    if len(text) > _MAX_BYTES:
        raise ConfigError(f"a record has {len(text)} characters; wanted at most {_MAX_BYTES}")
    printed = {found.lower() for found in _PRINTED.findall(text)}
    if len(printed) > 1:
        raise ConfigError("the file holds records of more than one model; give one")
    if printed:
        return Wanted(printed.pop())
    plain = re.sub(r"[\s:·-]+", "", text.strip().lower().removeprefix("sha256:"))
    if _HEX.fullmatch(plain) and re.search(r"[0-9]", plain):
        if not LEAST_DIGITS <= len(plain) <= _DIGITS:
            wanted = f"wanted {_DIGITS}, or at least the first {LEAST_DIGITS}"
            raise ConfigError(f"a record has {len(plain)} hexadecimal digits; {wanted}: fewer prove nothing")
        return Wanted(plain)
    return _from_words(tuple(re.findall(r"[^\W\d_]+", text.lower())))


def check(wanted: Wanted, root: str, *, name: str) -> None:
    """Hold a record against the root digest of the model that is here.

    Args:
        wanted: From :func:`read`.
        root: SHA-256 root digest, as measured.
        name: The model, for the finding.

    Raises:
        VerificationError: They differ: rule ``record.mismatch``; or words were mistyped: ``record.mistyped``,
            naming them when all the others fit.
    """
    if wanted.sound:
        if len(wanted.digits) >= LEAST_DIGITS and root.startswith(wanted.digits):
            return
        detail = f"the model here has root {root}, the record says {wanted.digits}: it is not the recorded model"
        raise _against("record.mismatch", name, detail)
    here = words_of(root)
    differing = [at for at in range(WORDS) if wanted.words[at] != here[at]]
    detail = "the words' checksum fails: at least one is mistyped"
    if 0 < len(differing) <= _MOST_TYPOS:
        named = ", ".join(f"word {at + 1} ({wanted.words[at]!r})" for at in differing)
        detail += f"; all others are this model's, so look again at {named}"
    else:
        detail += ", and the others are not this model's either: look at all of them again"
    raise _against("record.mistyped", name, detail)


def _from_words(words: tuple[str, ...]) -> Wanted:
    listed = _wordlist()
    unknown = [(at + 1, word) for at, word in enumerate(words) if word not in _places()]
    if unknown and len(words) >= WORDS // 2:
        named = "; ".join(f"word {at} ({shown(word)[:24]}) is not in the list{_near(word)}" for at, word in unknown[:5])
        raise ConfigError(f"the record is mistyped: {named}")
    if len(words) != WORDS:
        kinds = f"{WORDS} words, {_DIGITS} hexadecimal digits, or a page printed by assay record"
        raise ConfigError(f"found {len(words)} words in the record; wanted {kinds}")
    bits = 0
    for word in words:
        bits = (bits << 11) | _places()[word]
    raw = (bits >> 8).to_bytes(32)
    assert len(listed) == 1 << 11  # noqa: S101 - the list of BIP39
    return Wanted(raw.hex(), words, hashlib.sha256(raw).digest()[0] == bits & 0xFF)


@cache
def _wordlist() -> tuple[str, ...]:
    try:
        from mnemonic import Mnemonic
    except ImportError as err:
        raise MissingExtraError("a record in words", "record") from err
    return tuple(Mnemonic("english").wordlist)


@cache
def _places() -> dict[str, int]:
    return {word: at for at, word in enumerate(_wordlist())}


def _near(word: str) -> str:
    close = difflib.get_close_matches(word, _wordlist(), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _against(rule: str, name: str, detail: str) -> VerificationError:
    return VerificationError(detail, [Finding(rule, shown(name), Severity.CRITICAL, detail)])
