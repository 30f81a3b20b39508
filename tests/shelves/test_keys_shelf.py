"""What every key promises, wherever it lives: one list of claims over every plug."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests import token_box
from tests.cloud import cloud as a_cloud

from assay.errors import AssayError, KeyFileError, MissingExtraError, VerificationError
from assay.keys.base import Opened, SecretWanted
from assay.keys.pem import generate, load_public
from assay.keys.shelf import PLUGS, kind_of, open_key
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

NOW = datetime(2026, 3, 2, tzinfo=UTC)
PASSPHRASE = "a passphrase of the tests"
AWS_SPECS = {"p256": "ECC_NIST_P256", "p384": "ECC_NIST_P384"}
# They need a service's own library and a service; their addresses are tested in tests/unit/keys/test_kms.py.
ELSEWHERE = {"gcpkms", "azurekms", "hv", "hashivault"}


@dataclass(frozen=True)
class Lived:
    """A key somewhere: its address, its secret, an address where there is none."""

    address: str
    secret: str
    nowhere: str

    def open(self, secret: str | None = None) -> Opened:
        def ask(wanted: SecretWanted) -> str:
            assert wanted.of
            return self.secret if secret is None else secret

        return open_key(self.address, ask)


def pem(folder: Path, kind: str) -> Lived:
    generate(folder / "key.pem", passphrase=PASSPHRASE, kind=kind)
    return Lived(str(folder / "key.pem"), PASSPHRASE, str(folder / "none.pem"))


def token(folder: Path, kind: str) -> Lived:
    token_box.box()
    token_box.make_key(folder.name, kind)
    return Lived(token_box.address(folder.name), token_box.PIN, token_box.address("nobody"))


def amazon(folder: Path, kind: str) -> Lived:
    del folder
    made = boto3.client("kms").create_key(KeySpec=AWS_SPECS[kind], KeyUsage="SIGN_VERIFY")
    return Lived(f"awskms:{made['KeyMetadata']['KeyId']}", "", "awskms:12345678-1234-1234-1234-123456789012")


def plain_file(folder: Path, kind: str) -> Lived:
    generate(folder / "plain.pem", passphrase=None, kind=kind)
    return Lived(f"file2:{folder / 'plain.pem'}", "", f"file2:{folder / 'none.pem'}")


def piv(folder: Path, kind: str) -> Lived:
    token_box.box()
    os.environ["PYKCS11LIB"] = str(token_box.MODULE)
    number = int.from_bytes(hashlib.sha256(str(folder).encode()).digest()[:3]) | 1
    token_box.make_key(folder.name, kind, identity=number.to_bytes(3))
    label = token_box.TOKEN.replace(" ", "+")
    return Lived(f"hsm:{number}?label={label}", token_box.PIN, f"hsm:9?label={label}")


# A new plug adds lines here: where a key is made, and of which kinds.
LIVING: dict[str, tuple[str, Callable[[Path, str], Lived], str]] = {
    **{f"pem {kind}": ("pem", pem, kind) for kind in ("p256", "p384", "p521", "ed25519", "ml-dsa-65")},
    **{f"pkcs11 {kind}": ("pkcs11", token, kind) for kind in ("p256", "p384", "p521", "ed25519")},
    **{f"awskms {kind}": ("awskms", amazon, kind) for kind in AWS_SPECS},
    **{f"file2 {kind}": ("file2", plain_file, kind) for kind in ("p256", "p384", "p521", "ed25519")},
    **{f"hsm {kind}": ("hsm", piv, kind) for kind in ("p256", "p384")},
}
WITH_SECRET = [name for name in LIVING if name.split()[0] in {"pem", "pkcs11", "hsm"}]
WORDS = {"p256": "ecdsa-p256-sha256", "p384": "ecdsa-p384-sha384", "p521": "ecdsa-p521-sha512"}


@pytest.fixture
def cloud() -> Iterator[None]:
    with a_cloud():
        yield


@pytest.fixture
def lived(request: pytest.FixtureRequest, tmp_path: Path, cloud: None) -> Lived:
    del cloud
    _, make, kind = LIVING[request.param]
    return make(tmp_path, kind)


every_key = pytest.mark.parametrize("lived", LIVING, indirect=True)


def test_every_plug_on_the_shelf_is_tested_here() -> None:
    assert {plug for plug, _, _ in LIVING.values()} == set(PLUGS) - ELSEWHERE


@every_key
def test_a_key_signs_what_its_public_half_verifies_and_nothing_else(lived: Lived) -> None:
    signer = lived.open().signer
    public = load_public(signer.public_pem())
    for data in (b"", b"weights", bytes(100_000)):
        signature = signer.sign(data)
        public.verify(signature, data)
        with pytest.raises(VerificationError):
            public.verify(signature, data + b"!")


@every_key
def test_a_key_is_named_by_its_public_half(lived: Lived) -> None:
    signer = lived.open().signer
    assert signer.key_id == hashlib.sha256(signer.public_pem()).hexdigest()
    assert signer.algorithm == load_public(signer.public_pem()).algorithm
    assert signer.key_id == lived.open().signer.key_id


@pytest.mark.parametrize("name", LIVING)
def test_a_key_says_the_scheme_of_its_kind(name: str, tmp_path: Path, cloud: None) -> None:
    del cloud
    _, make, kind = LIVING[name]
    assert make(tmp_path, kind).open().signer.algorithm == WORDS.get(kind, kind)


@every_key
def test_no_secret_is_in_what_a_key_shows_of_itself(lived: Lived) -> None:
    opened = lived.open()
    shown = f"{opened!r} {opened.signer!r} {opened.signer} {vars(opened.signer)}"
    assert not lived.secret or lived.secret not in shown
    assert opened.signer.key_id in shown


def test_a_service_that_signs_with_something_else_is_refused() -> None:
    with a_cloud(faithful=False):
        signer = amazon(Path(), "p256").open().signer
        with pytest.raises(KeyFileError, match="is not key"):
            signer.sign(b"weights")


@every_key
def test_a_key_that_is_not_there_is_our_error(lived: Lived) -> None:
    with pytest.raises(KeyFileError) as refused:
        Lived(lived.nowhere, lived.secret, "").open().signer.sign(b"weights")
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("lived", WITH_SECRET, indirect=True)
@pytest.mark.parametrize("wrong", ["not-the-one", "0", "x" * 200])
def test_a_wrong_secret_is_our_error_and_signs_nothing(lived: Lived, wrong: str) -> None:
    with pytest.raises(KeyFileError) as refused:
        lived.open(wrong).signer.sign(b"weights")
    assert lived.secret not in str(refused.value)
    assert wrong == "0" or wrong not in str(refused.value)
    lived.open().signer.sign(b"the right one still does")


@pytest.mark.parametrize("lived", [n for n in LIVING if n.split()[1] in WORDS], indirect=True)
def test_a_model_signed_by_an_ec_key_anywhere_verifies(lived: Lived, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    signer = lived.open().signer
    sign(model, signer, now=NOW)
    with verify(model, signers=SignedByKey(load_public(signer.public_pem())), now=NOW) as found:
        assert found.key_id == signer.key_id
    (model / "weights.bin").write_bytes(b"weightz")
    with pytest.raises(VerificationError):
        verify(model, signers=SignedByKey(load_public(signer.public_pem())), now=NOW)


@pytest.mark.parametrize(
    ("address", "package"), [("pkcs11:token=a;object=b", "pkcs11"), ("file2:k", "securesystemslib")]
)
def test_a_missing_package_is_named_with_what_brings_it(
    address: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'assay\[(pkcs11|kms)\]'"):
        open_key(address, lambda _: "")


@pytest.mark.parametrize(
    ("address", "plug"),
    [
        ("keys/a.pem", "pem"),
        ("pkcs11:object=a", "pkcs11"),
        ("awskms:///alias/a", "awskms"),
        ("s3://b/c", "pem"),
        ("", "pem"),
    ],
)
def test_an_address_says_which_plug_opens_it(address: str, plug: str) -> None:
    assert kind_of(address) == plug


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generate(tmp_path / "pkcs11:object=a", passphrase=None)
    assert kind_of("pkcs11:object=a") == "pem"


@pytest.mark.parametrize("kind", ["pkcs11", "file2"])
def test_a_key_of_a_kind_we_do_not_sign_with_is_refused(kind: str, tmp_path: Path) -> None:
    if kind == "pkcs11":
        token_box.box()
        token_box.make_key(tmp_path.name, "secp256k1")
        address = token_box.address(tmp_path.name)
    else:
        text = ec.generate_private_key(ec.SECP256K1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "odd.pem").write_bytes(text)
        address = f"file2:{tmp_path / 'odd.pem'}"
    with pytest.raises(AssayError, match="P-256"):
        open_key(address, lambda _: token_box.PIN)
