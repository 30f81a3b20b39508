"""No passphrase or PIN is ever in an output, an error with all its causes, a log, a repr or a child's arguments."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests import token_box
from tests.cloud import SECRET as AWS_SECRET
from tests.cloud import cloud
from tests.unit.cli.prompt import Answer, at, typed

from assay.errors import AssayError
from assay.keys import pkcs11_data
from assay.keys.base import SecretWanted
from assay.keys.pem import generate, load_private
from assay.keys.shelf import open_key
from assay.storage import sealed
from assay.storage.objects import Item
from assay.storage.sealed import SealedFile

PASSPHRASE = "tr0ub4dor-Passphrase"
BACKUP = "b4ckup-Passphrase"
SEAL = "s34l-Passphrase"
WRONG = "wr0ng-guess-of-it"
SECRETS = (PASSPHRASE, BACKUP, SEAL, WRONG, token_box.PIN, AWS_SECRET)


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that any library logs, down to the last detail; those that print the wire are told to be quiet."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    said = "\n".join(f"{one.name} {one.getMessage()}" for one in caplog.records if one.name.startswith("assay"))
    assert_no_secret(said)
    others = "\n".join(f"{one.name} {one.getMessage()}" for one in caplog.records)
    assert_no_secret(others)


def assert_no_secret(text: str | bytes) -> None:
    said = text if isinstance(text, str) else text.decode("utf-8", "replace")
    assert [secret for secret in SECRETS if secret in said] == []


@dataclass(frozen=True)
class Guess:
    """A way to use a secret, right or wrong."""

    act: Callable[[Path, str], object]
    right: str


def pem_key(folder: Path, secret: str) -> object:
    if not (folder / "key.pem").exists():
        generate(folder / "key.pem", passphrase=PASSPHRASE)
    return open_key(str(folder / "key.pem"), lambda _: secret).signer.sign(b"x")


def old_pem_key(folder: Path, secret: str) -> object:
    return load_private(_made(folder, "p384"), passphrase=secret).sign(b"x")


def token_key(folder: Path, secret: str) -> object:
    return open_key(_on_token(folder), lambda _: secret).signer.sign(b"x")


def token_key_with_pin_in_address(folder: Path, secret: str) -> object:
    return open_key(f"{_on_token(folder)}&pin-value={secret}", _nobody).signer.sign(b"x")


def token_key_with_pin_in_file(folder: Path, secret: str) -> object:
    (folder / "pin").write_text(secret)
    return open_key(f"{_on_token(folder)}&pin-source={folder / 'pin'}", _nobody).signer.sign(b"x")


def token_key_with_pin_in_bad_bytes(folder: Path, secret: str) -> object:
    (folder / "pin").write_bytes(secret.encode() + b"\xff")
    return open_key(f"{_on_token(folder)}&pin-source={folder / 'pin'}", _nobody)


def token_key_with_pin_misplaced(folder: Path, secret: str) -> object:
    return open_key(f"{_on_token(folder)}&pin-valeu={secret}", _nobody)


def token_data(folder: Path, secret: str) -> object:
    return pkcs11_data.write(_on_token(folder), lambda _: secret, b"digest")


def piv_key(folder: Path, secret: str) -> object:
    os.environ["PYKCS11LIB"] = str(token_box.MODULE)
    number = int.from_bytes(hashlib.sha256(str(folder).encode()).digest()[:3]) | 1
    _on_token(folder, identity=number.to_bytes(3))
    address = f"hsm:{number}?label={token_box.TOKEN.replace(' ', '+')}"
    return open_key(address, lambda _: secret).signer.sign(b"x")


def cloud_key(_: Path, secret: str) -> object:
    del secret  # it is boto3's, in the environment
    made = boto3.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    open_key(f"awskms:{made['KeyMetadata']['KeyId']}", _nobody).signer.sign(b"x")
    return open_key("awskms:12345678-1234-1234-1234-123456789012", _nobody)


def sealed_file(folder: Path, secret: str) -> object:
    if not (folder / "box").exists():
        SealedFile(folder / "box", lambda: SEAL).put_all([Item.of("a", b"x")])
    return SealedFile(folder / "box", lambda: secret).get("a")


def backup(folder: Path, secret: str) -> None:
    signer = load_private(_made(folder, "p256"), passphrase=PASSPHRASE)
    signer.backup(folder / "copy.pem", passphrase=secret)
    signer.backup(folder / "copy.pem", passphrase=secret)  # never overwritten


GUESSES = {
    "key file": Guess(pem_key, PASSPHRASE),
    "key file of another kind": Guess(old_pem_key, PASSPHRASE),
    "token": Guess(token_key, token_box.PIN),
    "token, PIN in the address": Guess(token_key_with_pin_in_address, token_box.PIN),
    "token, PIN in a file": Guess(token_key_with_pin_in_file, token_box.PIN),
    "token, PIN in a damaged file": Guess(token_key_with_pin_in_bad_bytes, token_box.PIN),
    "token, PIN under a misspelt name": Guess(token_key_with_pin_misplaced, token_box.PIN),
    "data on a token": Guess(token_data, token_box.PIN),
    "PIV card": Guess(piv_key, token_box.PIN),
    "key service": Guess(cloud_key, AWS_SECRET),
    "sealed file": Guess(sealed_file, SEAL),
    "backup": Guess(backup, BACKUP),
}


def _nobody(wanted: SecretWanted) -> str:
    raise AssertionError(wanted)


def _made(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.pem"
    if not path.exists():
        generate(path, passphrase=PASSPHRASE, kind=kind)
    return path


def _on_token(folder: Path, identity: bytes = b"\x01") -> str:
    token_box.box()
    if not (folder / "on-token").exists():
        token_box.make_key(folder.name, identity=identity)
        (folder / "on-token").touch()
    return token_box.address(folder.name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sealed, "_COST", 1 << 10)
    with cloud():
        yield


@pytest.mark.parametrize("how", ["right", "wrong", "empty"])
@pytest.mark.parametrize("name", GUESSES)
def test_no_secret_is_in_an_error_or_any_of_its_causes(
    name: str, how: str, tmp_path: Path, heard: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    guess = GUESSES[name]
    secret = {"right": guess.right, "wrong": WRONG, "empty": ""}[how]
    failed = ""
    try:
        guess.act(tmp_path, secret)
    except AssayError as err:
        failed = "".join(traceback.format_exception(err))
        chain: BaseException | None = err
        while chain is not None:
            failed += f"{chain!r} {chain.args!r} {vars(chain)}"
            chain = chain.__cause__ or chain.__context__
    assert how == "right" or failed or name == "key service"
    out, err_text = capfd.readouterr()
    assert_no_secret(failed + out + err_text)
    assert heard is not None


def test_no_secret_is_in_what_an_open_key_shows(tmp_path: Path) -> None:
    opened = [
        open_key(str(_made(tmp_path, "p256")), lambda _: PASSPHRASE),
        open_key(_on_token(tmp_path), lambda _: token_box.PIN),
        open_key(f"{_on_token(tmp_path)}&pin-value={token_box.PIN}", _nobody),
    ]
    place = SealedFile(tmp_path / "box", lambda: SEAL)
    place.put_all([Item.of("a", b"x")])
    for thing in (*opened, *(one.signer for one in opened), place):
        shown = f"{thing!r} {thing} {getattr(thing, '__dict__', '')}"
        assert_no_secret(shown)
    door = opened[1].signer._door  # type: ignore[attr-defined]  # the one object that must hold the PIN
    assert_no_secret(f"{door!r} {door}")


def test_a_key_in_memory_is_not_pickled_by_accident(tmp_path: Path) -> None:
    signer = load_private(_made(tmp_path, "p256"), passphrase=PASSPHRASE)
    with pytest.raises(TypeError):
        pickle.dumps(signer)
    raw = signer._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert raw.hex() not in repr(vars(signer))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "here"
    (folder / "models" / "loans").mkdir(parents=True)
    (folder / "models" / "loans" / "weights.bin").write_bytes(b"weights")
    with at(folder):
        yield folder


def setting(patch: pytest.MonkeyPatch, *, wrong: bool = False) -> None:
    for name, value in {"": PASSPHRASE, "BACKUP_": BACKUP, "SEAL_": SEAL}.items():
        patch.setenv(f"ASSAY_{name}PASSPHRASE", WRONG if wrong else value)
    patch.setenv("ASSAY_PIN", WRONG if wrong else token_box.PIN)


def commands(folder: Path) -> list[tuple[str, ...]]:
    token = _on_token(folder.parent)
    return [
        ("init", "--model", "models/loans"),
        ("keys", "new", "key.pem"),
        ("sign", "loans", "--key", ".assay/keys/first.pem", "--second-store", "sealed:box", "--record-in", token),
        ("verify", "loans", "--second-store", "sealed:box", "--record", token),
        ("sign", "loans", "--key", token),
        ("sign", "loans", "--key", f"{token}&pin-value={token_box.PIN}"),
        ("keys", "backup", "key.pem", "--out", "copy.pem"),
        ("keys", "list"),
        ("keys", "list", "."),
        ("restore", "loans", "--second-store", "sealed:box", "--to", "back"),
        ("log", "show"),
        ("approve", "loans", "--key", "key.pem"),
    ]


def test_no_secret_is_in_what_a_command_prints_or_leaves_on_disk(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch)
    said = [typed(*words) for words in commands(here)]
    assert [one.code for one in said[:4]] == [0, 0, 0, 0], said
    setting(monkeypatch, wrong=True)
    refused = [typed(*words, *as_json) for words in commands(here)[2:] for as_json in ((), ("--json",))]
    assert sum(one.code != 0 for one in refused) >= 10
    for one in (*said, *refused):
        assert isinstance(one, Answer)
        assert_no_secret(one.out + one.err)
        assert "Traceback" not in one.err
    written = [path for path in here.parent.rglob("*") if path.is_file()]
    assert any(path.name == "audit.db" for path in written)
    for path in written:
        assert_no_secret(path.read_bytes())
    with sqlite3.connect(here / ".assay" / "audit.db") as log:
        assert_no_secret("\n".join(log.iterdump()))


@pytest.mark.usefixtures("here")
def test_no_secret_is_in_the_arguments_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is started while a model is signed is started without them: nobody sees them in a list of processes."""
    setting(monkeypatch)
    started: list[str] = []
    sys.addaudithook(lambda event, args: started.append(f"{args[:2]}") if event == "subprocess.Popen" else None)
    assert typed("keys", "new", "key.pem").code == 0
    asked = subprocess.run(
        [sys.executable, "-m", "assay.cli.main", "sign", "models/loans", "--key", "key.pem"],
        env={**os.environ, "ASSAY_PASSPHRASE": PASSPHRASE}, capture_output=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert_no_secret("".join(started) + asked.stdout.decode() + asked.stderr.decode())
    assert_no_secret(Path("/proc/self/cmdline").read_bytes())


def test_a_fault_of_ours_shows_no_secret_either(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch)
    assert typed("keys", "new", "key.pem").code == 0

    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("assay.signing.sign.measure", fault)
    answer = typed("sign", "models/loans", "--key", "key.pem")
    assert answer.code == 3
    assert_no_secret(answer.out + answer.err)
    assert here.is_dir()


def test_a_secret_is_no_option_of_any_command() -> None:
    for words in (("sign",), ("verify",), ("keys", "new"), ("keys", "backup"), ("restore",), ("approve",)):
        answer = typed(*words, "--help")
        assert answer.code == 0
        for option in ("--passphrase", "--password", "--pin", "--secret"):
            assert option not in answer.out
