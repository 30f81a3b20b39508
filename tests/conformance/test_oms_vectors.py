"""The vectors and schemas of the OpenSSF Model Signing specification v1.0 (Apache-2.0)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from assay.artifacts.listing import Listing
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.errors import BundleError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing import bundle, reading
from assay.signing.about import About
from assay.signing.cosigning import add_signature
from assay.signing.moment import Moment
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.sigstore import PublicInstance, SignedBySigstore
from assay.storage.clock import utc_text

OMS = Path(__file__).parents[3] / "shared" / "vectors" / "oms"
VECTORS = OMS / "test-vectors" / "v1.0"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not OMS.is_dir(), reason="the specification's vectors are not beside the checkout")


def vectors(kind: str) -> list[Path]:
    return sorted((VECTORS / kind).glob("*.json"))


def schema(name: str) -> Draft202012Validator:
    schemas = {path.name: json.loads(path.read_text()) for path in (OMS / "schemas" / "v1.0").glob("*.json")}
    registry: Registry[object] = Registry().with_resources(
        (body["$id"], Resource.from_contents(body)) for body in schemas.values()
    )
    return Draft202012Validator(schemas[f"{name}.schema.json"], registry=registry)


@pytest.mark.parametrize("path", vectors("valid"), ids=lambda path: path.name)
def test_valid_vectors_parse(path: Path) -> None:
    found = reading.parse(path.read_bytes())
    assert found.method == path.name.removesuffix(".bundle.json")
    assert [file.name for file in found.claim.files] == ["signme-1", "signme-2"]
    assert found.about is None


@pytest.mark.parametrize("path", vectors("invalid") + vectors("invalid-payload"), ids=lambda path: path.name)
def test_invalid_vectors_are_refused(path: Path) -> None:
    with pytest.raises(BundleError):
        reading.parse(path.read_bytes())


def test_there_are_as_many_vectors_as_there_should_be() -> None:
    # A folder that came empty would make the tests above pass by testing nothing.
    assert [len(vectors(kind)) for kind in ("valid", "invalid", "invalid-payload")] == [3, 4, 1]


def test_a_vector_signed_by_another_key_is_refused() -> None:
    key = PemSigner(ec.generate_private_key(ec.SECP384R1()), encrypted=False, loose_mode=False)
    found = reading.parse((VECTORS / "valid" / "key.bundle.json").read_bytes())
    with pytest.raises(VerificationError):
        SignedByKey(load_public(key.public_pem())).check(found, Moment(NOW))


def fits_every_schema(text: bytes) -> list[str]:
    """Hold a signature against the four schemas; the names of its resources."""
    body = json.loads(text)
    schema("bundle").validate(body)
    schema("envelope").validate(body["dsseEnvelope"])
    statement = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    schema("statement").validate(statement)
    schema("predicate").validate(statement["predicate"])
    return [one["name"] for one in statement["predicate"]["resources"]]


SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
COSIGNER = PemSigner(ec.generate_private_key(ec.SECP384R1()), encrypted=False, loose_mode=False)


@pytest.mark.parametrize("full", [False, True])
def test_what_we_write_fits_every_schema(*, full: bool) -> None:
    manifest = Manifest(
        "model",
        (FileDigest("a.bin", 4, "11" * 32, "22" * 32), FileDigest("b.safetensors", 12, "33" * 32, "44" * 32)),
        (TensorDigest("b.safetensors", "w", "F32", (1,), 8, 12, "55" * 32),) if full else (),
        (".git", "model.sig") if full else (),
    )
    about = About("spam", 1, utc_text(NOW), utc_text(NOW), "66" * 32, {"lineage": "77" * 32}) if full else None
    text = bundle.write(
        manifest,
        SIGNER,
        about=about,
        callables={"a.bin": ["os system"]} if full else None,
        stamp=(lambda signature: [signature, b"another token"]) if full else None,
    )
    if full:
        text = add_signature(reading.parse(text), COSIGNER)
        assert len(reading.parse(text).signatures) == 2
    names = fits_every_schema(text)
    assert names == sorted(names)


@pytest.mark.parametrize("algorithm", ["sha256", "blake2b", "blake3"])
@pytest.mark.parametrize("shard_size", [0, 3])
def test_every_listing_we_write_fits_every_schema(tmp_path: Path, algorithm: str, shard_size: int) -> None:
    for name, content in (("b", b"12345"), ("a", b"1234567"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
    place = sign(tmp_path, SIGNER, listing=Listing(algorithm, shard_size), now=NOW).bundle_path
    names = fits_every_schema(place.read_bytes())
    assert names == (["a:0:3", "a:3:6", "a:6:7", "b:0:3", "b:3:5"] if shard_size else ["a", "b", "empty"])


def test_the_vector_of_sigstore_is_checked_and_not_only_read() -> None:
    found = reading.parse((VECTORS / "valid" / "sigstore.bundle.json").read_bytes())
    rule = SignedBySigstore("nobody@example.org", "https://id.example.org", PublicInstance())
    with pytest.raises(VerificationError) as caught:
        rule.check(found, Moment(NOW))
    assert caught.value.findings[0].rule in {"signature.wrong-identity", "signature.sigstore"}


def test_the_schemas_refuse_what_is_not_theirs() -> None:
    # Without this, a registry that resolves nothing would let anything pass.
    assert not schema("bundle").is_valid({"mediaType": "x"})
    assert not schema("statement").is_valid({"_type": "x"})
