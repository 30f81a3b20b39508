"""A SoftHSM with two tokens, and keys made in it by name; one for the whole test process.

The library reads its configuration once, when it is first used: whoever needs a token asks here first.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pkcs11
from asn1crypto.core import PrintableString
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
TOKEN, OTHER_TOKEN, PIN, SO_PIN = "assay tests", "other", "gh7-Rq2-pin", "so-pin-55"
CURVES = {"p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1"}


@cache
def box() -> Path:
    """Make the tokens; gives their folder."""
    folder = Path(tempfile.mkdtemp(prefix="assay-softhsm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(conf)
    for label in (TOKEN, OTHER_TOKEN):
        words = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN]
        subprocess.run(words, check=True, capture_output=True)
    return folder


def session(*, write: bool = True, pin: str | None = PIN) -> pkcs11.Session:
    """Open the first token as its owner, past assay."""
    box()
    (token,) = (
        slot.get_token()
        for slot in pkcs11.lib(str(MODULE)).get_slots(token_present=True)
        if slot.get_token().label == TOKEN
    )
    return token.open(rw=write, user_pin=pin)


def make_key(label: str, kind: str = "p256", *, identity: bytes = b"\x01") -> None:
    """Make a key pair on the first token."""
    with session() as opened:
        if kind == "ed25519":
            domain = opened.create_domain_parameters(
                KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: PrintableString("edwards25519").dump()}, local=True
            )
            how = Mechanism.EC_EDWARDS_KEY_PAIR_GEN
        else:
            params = encode_named_curve_parameters(CURVES.get(kind, kind))
            domain = opened.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: params}, local=True)
            how = Mechanism.EC_KEY_PAIR_GEN
        domain.generate_keypair(mechanism=how, store=True, label=label, id=identity)


def address(label: str, *, query: str = "", token: str = TOKEN) -> str:
    """The ``pkcs11:`` address of an object on a token."""
    box()
    more = f"&{query}" if query else ""
    return f"pkcs11:token={token.replace(' ', '%20')};object={label}?module-path={MODULE}{more}"
