"""Addresses of key services. Signing with them is in tests/shelves/test_keys_shelf.py."""

from __future__ import annotations

import sys
from pathlib import Path

import boto3
import pytest
from securesystemslib.signer import AzureSigner, GCPSigner, SSlibKey, VaultSigner
from tests.cloud import cloud

from assay.errors import KeyFileError
from assay.keys import kms
from assay.keys.base import SecretWanted
from assay.keys.kms import open_key, plain_address
from assay.keys.pem import generate, load_private


def nobody(wanted: SecretWanted) -> str:
    raise AssertionError(wanted)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("awskms:alias/a", "awskms:alias/a"),
        ("awskms:///alias/a", "awskms:alias/a"),
        ("awskms:///arn:aws:kms:eu-1:1:key/2", "awskms:arn:aws:kms:eu-1:1:key/2"),
        ("gcpkms://projects/p/cryptoKeys/k/versions/1", "gcpkms:projects/p/cryptoKeys/k/cryptoKeyVersions/1"),
        ("gcpkms:projects/p/cryptoKeys/k/cryptoKeyVersions/1", "gcpkms:projects/p/cryptoKeys/k/cryptoKeyVersions/1"),
        ("hashivault://release", "hv:release"),
        ("hv:release/3", "hv:release/3"),
        ("azurekms://v.vault.azure.net/keys/k", "azurekms://v.vault.azure.net/keys/k"),
        ("hsm:", "hsm:"),
        ("file2:/a/b.pem", "file2:/a/b.pem"),
    ],
)
def test_an_address_in_cosigns_spelling_is_taken(written: str, plain: str) -> None:
    assert plain_address(written) == plain


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("awskms:", "names no key"),
        ("awskms:///", "names no key"),
        ("azurekms://evil.example/keys/k", "vault.azure.net"),
        ("azurekms://v.vault.azure.net/secrets/k", "vault.azure.net"),
        ("azurekms://v.vault.azure.net", "vault.azure.net"),
        ("hsm:two", "number"),
        ("file2:/nowhere/key.pem", "cannot read"),
        ("file2:/nowhere/key.pem#public=/nowhere/key.pub", "cannot read"),
    ],
)
def test_an_address_that_names_nothing_is_our_error(address: str, words: str) -> None:
    with pytest.raises(KeyFileError, match=words):
        open_key(address, nobody)


@pytest.mark.parametrize(
    ("address", "package"),
    [
        ("gcpkms:projects/p/cryptoKeys/k/cryptoKeyVersions/1", "gcpkms"),
        ("azurekms://v.vault.azure.net/keys/k/1", "azurekms"),
        ("hv:release", "vault"),
    ],
)
def test_a_service_whose_library_is_missing_says_what_to_install(address: str, package: str) -> None:
    for name in ("google.cloud.kms", "azure.keyvault.keys", "hvac"):
        assert name not in sys.modules
    with pytest.raises(KeyFileError) as refused:
        open_key(address, nobody)
    assert f"pip install 'securesystemslib[{package}]'" in str(refused.value)


def test_a_given_public_key_saves_asking_for_it(tmp_path: Path) -> None:
    with cloud():
        client = boto3.client("kms")
        made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        public = tmp_path / "release.pub"
        public.write_bytes(open_key(f"awskms:{made}", nobody).signer.public_pem())
        signer = open_key(f"awskms:{made}#public={public}", nobody).signer
        assert signer.public_pem() == public.read_bytes()
        assert signer.sign(b"weights")
        other = generate(tmp_path / "other.pem", passphrase=None)
        (tmp_path / "other.pub").write_bytes(other.public_pem())
        with pytest.raises(KeyFileError, match="is not key"):
            open_key(f"awskms:{made}#public={tmp_path / 'other.pub'}", nobody).signer.sign(b"weights")


def test_a_curve_the_service_library_does_not_sign_with_is_our_error() -> None:
    with cloud():
        made = boto3.client("kms").create_key(KeySpec="ECC_NIST_P521", KeyUsage="SIGN_VERIFY")
        with pytest.raises(KeyFileError, match="Unsupported"):
            open_key(f"awskms:{made['KeyMetadata']['KeyId']}", nobody)


def test_a_key_whose_library_signs_with_a_prefix_of_its_own_is_refused(tmp_path: Path) -> None:
    generate(tmp_path / "key.pem", passphrase=None, kind="ml-dsa-65")
    with pytest.raises(KeyFileError, match="ml-dsa-65"):
        open_key(f"file2:{tmp_path / 'key.pem'}", nobody)


class Stub:
    """What a service's library answers, where neither it nor its service can be had here."""

    def __init__(self, address: str, pem: Path) -> None:
        self.address = address
        self.key = SSlibKey.from_crypto(load_private(pem)._key.public_key())
        self.asked: list[str] = []

    def import_(self, *name: str) -> tuple[str, SSlibKey]:
        self.asked.append(" ".join(name))
        return self.address, self.key


def test_only_the_newest_version_of_a_vault_key_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "key.pem", passphrase=None, kind="ed25519")
    stub = Stub("hv:release/3", tmp_path / "key.pem")
    monkeypatch.setattr(VaultSigner, "import_", stub.import_)
    for asked in ("hv:release", "hv:release/3"):
        assert kms._fetched(asked, str)[0] == "hv:release/3"
    assert stub.asked == ["release", "release"]
    with pytest.raises(KeyFileError, match=r"newest version is hv:release/3; for another, add #public=FILE"):
        kms._fetched("hv:release/2", str)


def test_a_google_key_is_asked_for_by_its_full_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "key.pem", passphrase=None)
    stub = Stub("gcpkms:projects/p/k/1", tmp_path / "key.pem")
    monkeypatch.setattr(GCPSigner, "import_", stub.import_)
    found, public = kms._fetched("gcpkms:projects/p/k/1", str)
    assert (found, stub.asked) == ("gcpkms:projects/p/k/1", ["projects/p/k/1"])
    assert public.key_id == load_private(tmp_path / "key.pem").key_id


def test_an_azure_key_is_asked_for_by_vault_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "key.pem", passphrase=None, kind="p521")
    stub = Stub("azurekms://v.vault.azure.net/keys/k/9", tmp_path / "key.pem")
    monkeypatch.setattr(AzureSigner, "import_", stub.import_)
    assert kms._fetched("azurekms://v.vault.azure.net/keys/k", str)[0] == "azurekms://v.vault.azure.net/keys/k/9"
    assert stub.asked == ["v k"]
    with pytest.raises(KeyFileError, match="newest version"):
        kms._fetched("azurekms://v.vault.azure.net/keys/k/8", str)
