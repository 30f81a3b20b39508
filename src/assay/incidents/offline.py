"""Verify an evidence bundle without assay, without a network and without trusting whoever made it.

    python verify.py BUNDLE.zip --key KEY [--trust trust.json]

Needs Python 3.11 and the package "cryptography". KEY is the log's public key string, or a file
that holds it, got from somewhere else than the bundle. What is checked, in this order:

1. the checkpoint carries a good signature of KEY;
2. every entry is in the log that the checkpoint commits to (RFC 6962 leaf hash and inclusion proof);
3. one of these entries names the digest of manifest.json, and that names the digest of every file;
4. every statement carries a good signature (DSSE) of a key in the trust store.

Run your own copy of this file on a bundle that you do not trust: the copy inside is the bundle's.
Exit code: 0 all good, 1 something is not what it should be (each is named), 2 wrong use.

References:
    C2SP signed-note v1.0.0 and tlog-checkpoint v1.0.0; RFC 6962 2.1; RFC 9162 2.1.3.2; DSSE v1.0.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

FORMAT = "assay-evidence/1"
UNSEALED = ("manifest.json", "checkpoint.txt", "proofs.json")  # bound otherwise, see the checks
MOST_BYTES = 256 * 1024 * 1024
MOST_FILES = 20_000
ECDSA: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
# What hostile bytes make the parsers below raise; all of it means: not a good bundle.
HOSTILE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    InvalidSignature,
    UnsupportedAlgorithm,
    zipfile.BadZipFile,
    zlib.error,
)


def sha256(data: bytes) -> bytes:
    """Hash some bytes."""
    return hashlib.sha256(data).digest()


def read(path: Path) -> dict[str, bytes]:
    """Read every file of the bundle into memory; nothing is unpacked to disk."""
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MOST_FILES:
            raise ValueError(f"the bundle has {len(members)} files, more than {MOST_FILES}")
        for member in members:
            if member.filename in files:  # two readers could see two different bundles
                raise ValueError(f"{member.filename} is in the bundle twice")
            with archive.open(member) as handle:
                files[member.filename] = handle.read(left + 1)  # the size in the header may lie
            left -= len(files[member.filename])
            if left < 0:
                raise ValueError(f"the bundle is larger than {MOST_BYTES} bytes")
    return files


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse JSON objects that say a name twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a JSON object says the same name twice")
    return found


def parse(data: bytes) -> Any:  # noqa: ANN401  # a parser's answer; each use below checks what it takes
    """Read JSON."""
    return json.loads(data.decode(), object_pairs_hook=unique)


def open_checkpoint(note: str, key: str) -> tuple[str, int, bytes]:
    """Check the note's signature and return origin, size and root hash."""
    name, key_id, encoded = key.strip().split("+", 2)
    material = base64.b64decode(encoded, validate=True)
    if material[:1] != b"\x01" or sha256(name.encode() + b"\n" + material)[:4].hex() != key_id:
        raise ValueError("the key string is not that of an Ed25519 log key")
    body, separator, tail = note.rpartition("\n\n")
    text = body + "\n"
    good = False
    for line in tail.split("\n"):
        signer, _, blob = line.removeprefix("\u2014 ").partition(" ")
        if not separator or signer != name:
            continue
        signature = base64.b64decode(blob, validate=True)
        if signature[:4].hex() == key_id:
            ed25519.Ed25519PublicKey.from_public_bytes(material[1:]).verify(signature[4:], text.encode())
            good = True
    if not good:
        raise ValueError(f"{name} did not sign it")
    origin, size, root = text.split("\n")[:3]
    if origin != name:
        raise ValueError(f"it is of the log {origin}, the key is of {name}")
    return origin, int(size), base64.b64decode(root, validate=True)


def check_inclusion(body: bytes, position: int, size: int, path: list[bytes], root: bytes) -> None:
    """Return when the entry is in the log at this position (RFC 9162 2.1.3.2)."""
    if not 0 <= position < size:
        raise ValueError(f"position {position} is not in a log of {size} entries")
    node, last, digest = position, size - 1, sha256(b"\x00" + body)
    for step in path:
        if last == 0:
            raise ValueError("its proof is too long")
        if node % 2 or node == last:
            digest = sha256(b"\x01" + step + digest)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            digest = sha256(b"\x01" + digest + step)
        node, last = node >> 1, last >> 1
    if last or digest != root:
        raise ValueError("its bytes are not what the log holds there")


def check_signature(envelope: Mapping[str, Any], keys: Mapping[str, Mapping[str, Any]]) -> str:
    """Return when a statement is signed by a key of the trust store; says what it is and whose."""
    (signature,) = envelope["signatures"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    known = keys.get(signature.get("keyid") or "")
    if known is None:
        raise ValueError(f"signed with a key that the trust store does not know ({str(signature.get('keyid'))[:16]})")
    pem = known["public_pem"].encode()
    if hashlib.sha256(pem).hexdigest() != known["key_id"]:
        raise ValueError(f"the trust store lists the key of {known['identity']} under another's id")
    key = serialization.load_pem_public_key(pem)
    blob = base64.b64decode(signature["sig"], validate=True)
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(blob, signed)
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ECDSA:
        key.verify(blob, signed, ec.ECDSA(ECDSA[key.curve.name]))
    else:
        raise ValueError("signed with a kind of key that is not accepted")
    said = parse(payload)["predicateType"]
    limits = [f"{word} {known[word]}" for word in ("since", "until", "revoked") if known.get(word)]
    return f"{said}, signed by {known['identity']}{f' (key {chr(44).join(limits)})' if limits else ''}"


class Examination:
    """Collects what was found, good and bad."""

    def __init__(self) -> None:
        self.good: list[str] = []
        self.bad: list[str] = []

    def refuse(self, what: str, why: object) -> None:
        """Note something that is not what it should be."""
        text = "the signature is not over these bytes" if isinstance(why, InvalidSignature) else str(why)
        self.bad.append(f"{what}: {text or type(why).__name__}")

    def run(self, files: Mapping[str, bytes], key: str, trust: bytes | None) -> None:
        """Do all four checks; a bad one does not keep the others from being tried."""
        self.entries(files, key)
        self.seal(files)
        self.statements(files, files.get("trust.json", b"") if trust is None else trust)

    def entries(self, files: Mapping[str, bytes], key: str) -> None:
        """Checks 1 and 2."""
        try:
            origin, size, root = open_checkpoint(files["checkpoint.txt"].decode(), key)
            proofs = {int(proof["position"]): proof for proof in parse(files["proofs.json"])}
        except HOSTILE as err:
            self.refuse("checkpoint.txt", err)
            return
        self.good.append(f"checkpoint of {origin}, {size} entries, root {root.hex()}")
        names = [name for name in files if name.startswith("entries/")]
        if not names:
            self.refuse("entries", "there are none")
        for name in sorted(names):
            try:
                position = int(name.removeprefix("entries/").removesuffix(".json"))
                proof = proofs[position]
                if proof["size"] != size:
                    raise ValueError(f"its proof is for a log of {proof['size']} entries")
                path = [bytes.fromhex(step) for step in proof["path"]]
                check_inclusion(files[name], position, size, path, root)
            except HOSTILE as err:
                self.refuse(name, err)
                continue
            said = parse(files[name])
            self.good.append(f"entry {position}: {said['time']} {said['kind']} {said['subject']} by {said['actor']}")

    def seal(self, files: Mapping[str, bytes]) -> None:
        """Check 3."""
        try:
            manifest = parse(files["manifest.json"])
            digest = sha256(files["manifest.json"]).hex()
            if manifest["format"] != FORMAT:
                raise ValueError(f"the format is {manifest['format']!r}, this program knows {FORMAT}")
            wanted = {str(name): str(known) for name, known in manifest["files"].items()}
            sealing = [name for name, body in files.items() if name.startswith("entries/") and _seals(body, digest)]
        except HOSTILE as err:
            self.refuse("manifest.json", err)
            return
        if not sealing:
            self.refuse("manifest.json", "no entry of the log names its digest: it was edited after the export")
        for name in sorted(wanted.keys() | (files.keys() - set(UNSEALED) - set(sealing))):
            if name not in files:
                self.refuse(name, "it is missing")
            elif name not in wanted:
                self.refuse(name, "it was added after the export")
            elif sha256(files[name]).hex() != wanted[name]:
                self.refuse(name, "it was edited after the export")
        self.good.append(f"manifest of {len(wanted)} files, digest {digest}")

    def statements(self, files: Mapping[str, bytes], trust: bytes) -> None:
        """Check 4."""
        names = sorted(name for name in files if name.startswith("statements/"))
        try:
            keys = {str(known["key_id"]): known for known in parse(trust)["keys"]} if names else {}
        except HOSTILE as err:
            self.refuse("trust.json", err)
            return
        for name in names:
            try:
                self.good.append(f"{name}: {check_signature(parse(files[name]), keys)}")
            except HOSTILE as err:
                self.refuse(name, err)
        unvouched = sum(name.startswith("unvouched/") for name in files)
        if unvouched:
            self.good.append(f"{unvouched} statements in unvouched/ are as exported; no trusted key signed them")
        if names:
            self.good.append(f"trust store digest {sha256(trust).hex()}")


def _seals(body: bytes, digest: str) -> bool:
    said = parse(body)
    return bool(said["kind"] == "incident.exported" and said["data"].get("manifest") == digest)


def main(arguments: list[str] | None = None) -> int:
    """Examine the bundle named on the command line."""
    parser = argparse.ArgumentParser(description="Verify an assay evidence bundle offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", required=True, help="the log's public key string, or a file that holds it")
    parser.add_argument("--trust", type=Path, help="your own trust store, instead of the bundle's")
    given = parser.parse_args(arguments)
    found = Examination()
    try:
        key = given.key if "+" in given.key else Path(given.key).read_text(encoding="utf-8")
        trust = given.trust.read_bytes() if given.trust else None
    except (OSError, ValueError) as err:
        print(f"cannot read: {err}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        found.run(read(given.bundle), key, trust)
    except HOSTILE as err:
        found.refuse(given.bundle.name, err)
    for line in [f"good  {good}" for good in found.good] + [f"BAD   {bad}" for bad in found.bad]:
        print("".join(char if char.isprintable() else "?" for char in line))  # noqa: T201
    print("the bundle is not what was exported" if found.bad else "the bundle is good")  # noqa: T201
    return 1 if found.bad else 0


if __name__ == "__main__":
    sys.exit(main())
