from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.errors import ArtifactError, BundleError, KeyFileError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.pem import PemSigner, load_public
from assay.signing import bundle, reading
from assay.signing.about import About
from assay.signing.moment import Moment
from assay.signing.signers import SignedByKey
from assay.signing.statement import PAYLOAD_TYPE, pae

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PINNED = "45e697f32f43205e6f4ff2ef458f0ef33af1a7ccc4339644caa4b0421b314de2"
ONE, TWO = "11" * 32, "22" * 32
ABOUT = About("spam", 3, "2026-03-01T12:00:00.000000Z", "2027-03-01T12:00:00.000000Z", TWO, {"lineage": ONE})
MANIFEST = Manifest(
    name="model",
    files=(FileDigest("a-b", 8, ONE, TWO), FileDigest("a/b.safetensors", 12, TWO, ONE)),
    tensors=(TensorDigest("a/b.safetensors", "w", "F32", (1, 2), 4, 12, ONE, ONE),),
    ignore=(".git", "model.sig"),
)


def rebuilt(signer: PemSigner, change: Callable[[Any], object]) -> bytes:
    """A bundle whose statement was changed and then signed again by the right key."""
    body = json.loads(bundle.write(MANIFEST, signer, about=ABOUT))
    statement = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    changed = change(statement)
    payload = json.dumps(statement if changed is None else changed).encode()
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    body["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    body["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return json.dumps(body).encode()


def root_of(resources: list[dict[str, str]]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()


def relisted(resources: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Callable[[Any], None]:
    """Change the resources and make the root digest fit, so that only the change itself is wrong."""

    def change(statement: dict[str, Any]) -> None:
        found = resources(statement["predicate"]["resources"])
        statement["predicate"]["resources"] = found
        statement["subject"][0]["digest"]["sha256"] = root_of(found)

    return change


def test_what_is_written_is_read_back(signer: PemSigner) -> None:
    found = reading.parse(bundle.write(MANIFEST, signer, about=ABOUT))
    assert found.claim == MANIFEST
    assert found.about == ABOUT
    assert (found.method, found.key_id, found.single, found.algorithm) == ("key", signer.key_id, False, "sha256")


def test_payload_bytes_are_the_same_every_time(signer: PemSigner, stranger: PemSigner) -> None:
    texts = [bundle.write(MANIFEST, who, about=ABOUT) for who in (signer, signer, stranger)]
    payloads = {reading.parse(text).envelope.payload for text in texts}
    assert len(payloads) == 1
    # Pinned: other bytes for the same model would break everybody who compares.
    assert hashlib.sha256(payloads.pop()).hexdigest() == PINNED


def test_a_single_file_is_signed_under_the_name_every_release_reads(signer: PemSigner) -> None:
    single = Manifest("m.bin", (FileDigest("m.bin", 8, ONE, TWO),))
    text = bundle.write(single, signer, single=True)
    payload = json.loads(reading.parse(text).envelope.payload)
    assert [one["name"] for one in payload["predicate"]["resources"]] == ["."]
    found = reading.parse(text)
    assert found.single
    assert found.claim == single


def test_a_key_of_a_scheme_that_has_no_place_there_signs_no_model(signer: PemSigner) -> None:
    class Odd:
        key_id, algorithm = signer.key_id, "rsa-2048"
        public_pem, sign = signer.public_pem, signer.sign

    with pytest.raises(KeyFileError, match="EC key"):
        bundle.write(MANIFEST, Odd())


def test_a_manifest_with_findings_or_without_sha256_is_never_signed(signer: PemSigner) -> None:
    bad = replace(MANIFEST, findings=(Finding("artifact.link", "x", Severity.ERROR, "x is a link"),))
    with pytest.raises(ArtifactError):
        bundle.write(bad, signer)
    with pytest.raises(ArtifactError):
        bundle.write(Manifest("m", (FileDigest("a", 1, "", ONE),)), signer)


def test_what_other_tools_write_is_read(signer: PemSigner) -> None:
    def strip(statement: dict[str, Any]) -> None:
        for one in statement["predicate"]["resources"]:
            del one["annotations"]
            one["note"] = {"unknown": "fields are allowed here"}

    found = reading.parse(rebuilt(signer, strip))
    assert found.about is None
    assert [(one.size, one.blake3) for one in found.claim.files] == [(None, ""), (None, "")]


def test_resources_in_another_order_are_read_with_their_own_root(signer: PemSigner) -> None:
    # model_signing sorts by path parts, the specification by code point.
    found = reading.parse(rebuilt(signer, relisted(lambda resources: resources[::-1])))
    assert [one.name for one in found.claim.files] == ["a/b.safetensors", "a-b"]


def test_files_without_a_byte_are_said_apart_by_shards_only(signer: PemSigner) -> None:
    assert reading.parse(rebuilt(signer, annotate(0, empty=["x"]))).claim == MANIFEST


def test_as_many_timestamps_as_are_allowed_are_read(signer: PemSigner) -> None:
    assert len(reading.parse(bundle.write(MANIFEST, signer, stamp=lambda _: [b"token"] * 16)).timestamps) == 16
    with pytest.raises(BundleError, match="17 timestamps, more than 16"):
        reading.parse(bundle.write(MANIFEST, signer, stamp=lambda _: [b"token"] * 17))


def test_blake3_digests_are_read_as_such(signer: PemSigner) -> None:
    def swap(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"]["hash_type"] = "blake3"
        for one in statement["predicate"]["resources"]:
            one["algorithm"] = "blake3"
            del one["annotations"]

    found = reading.parse(rebuilt(signer, swap))
    assert found.algorithm == "blake3"
    assert [(one.sha256, one.blake3) for one in found.claim.files] == [("", ONE), ("", TWO)]


def test_paths_outside_the_model_are_nothing_to_leave_out(signer: PemSigner) -> None:
    def odd(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"]["ignore_paths"] = ["/etc", "../x", "..", "./sub//y/", "sub/y"]

    assert reading.parse(rebuilt(signer, odd)).claim.ignore == ("sub/y",)


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_the_raw_key_of_older_releases_is_read(signer: PemSigner, form: Encoding) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    body = json.loads(bundle.write(MANIFEST, signer))
    raw = key.public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
    body["verificationMaterial"] = {
        "publicKey": {"rawBytes": base64.b64encode(raw).decode(), "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    }
    body["dsseEnvelope"]["signatures"][0]["keyid"] = None
    found = reading.parse(json.dumps(body).encode())
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert found.key_id == hashlib.sha256(pem).hexdigest()


def change_first(**fields: object) -> Callable[[Any], None]:
    return relisted(lambda found: [{**found[0], **fields}, *found[1:]])


def annotate(position: int, **fields: object) -> Callable[[Any], None]:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["resources"][position]["annotations"].update(fields)

    return change


def serialize(**fields: object) -> Callable[[Any], None]:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"].update(fields)

    return change


def tensor(**fields: object) -> Callable[[Any], None]:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["resources"][1]["annotations"]["tensors"][0].update(fields)

    return change


def about(**fields: object) -> Callable[[Any], None]:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["resources"][0]["annotations"]["assay"].update(fields)

    return change


def two_blake3(statement: dict[str, Any]) -> None:
    statement["predicate"]["serialization"]["hash_type"] = "blake3"
    for one in statement["predicate"]["resources"]:
        one["algorithm"] = "blake3"


HOSTILE: dict[str, Callable[[Any], object]] = {
    "other predicate": lambda body: {**body, "predicateType": "https://model_signing/Digests/v0.1"},
    "predicate of nobody": lambda body: {**body, "predicateType": "https://example.org/v1"},
    "two subjects": lambda body: {
        **body,
        "subject": [*body["subject"], {"name": "other", "digest": body["subject"][0]["digest"]}],
    },
    "extra statement field": lambda body: {**body, "more": 1},
    "extra predicate field": lambda body: {**body, "predicate": {**body["predicate"], "more": 1}},
    "extra serialization field": serialize(more=1),
    "no resources": relisted(lambda _: []),
    "resources no array": lambda body: {**body, "predicate": {**body["predicate"], "resources": {}}},
    "resource no object": lambda body: {**body, "predicate": {**body["predicate"], "resources": ["a"]}},
    "duplicate resources": relisted(lambda found: [found[0], found[0]]),
    "names equal but for case": relisted(lambda found: [found[0], {**found[0], "name": "A-B"}]),
    "dot dot": change_first(name="../a"),
    "absolute": change_first(name="/a"),
    "newline": change_first(name="a\nb"),
    "shard name": change_first(name="a:0:8"),
    "dot among several": change_first(name="."),
    "empty name": change_first(name=""),
    "name no string": change_first(name=7),
    "other algorithm": change_first(algorithm="sha256-sharded-1000000000"),
    "short digest": change_first(digest="11"),
    "upper-case digest": change_first(digest="AB" * 32),
    "digest no string": lambda body: body["predicate"]["resources"][0].update(digest=7),
    "wrong root": lambda body: body["subject"][0]["digest"].update(sha256=ONE),
    "root under another name": lambda body: body["subject"][0].update(
        digest={"sha512": body["subject"][0]["digest"]["sha256"]}
    ),
    "shards": serialize(method="shards", shard_size=1_000_000),
    "shards of no bytes": serialize(method="shards", shard_size=0),
    "digests in shards of no bytes": serialize(hash_type="sha256-sharded-0"),
    "other method": serialize(method="trees"),
    "shard size alone": serialize(shard_size=1_000_000),
    "blake2b": serialize(hash_type="blake2b"),
    "hash type no string": serialize(hash_type=["sha256"]),
    "symlinks maybe": serialize(allow_symlinks="false"),
    "everything ignored": serialize(ignore_paths=["a/.."]),
    "ignore no array": serialize(ignore_paths="a"),
    "ignore no string": serialize(ignore_paths=[7]),
    "annotations no object": lambda body: body["predicate"]["resources"][0].update(annotations=[]),
    "negative size": annotate(0, size=-1),
    "size true": annotate(0, size=True),
    "size too big": annotate(0, size=2**60),
    "blake3 too short": annotate(0, blake3="11"),
    "two BLAKE3 digests": two_blake3,
    "tensors no array": annotate(1, tensors={}),
    "tensor no object": annotate(1, tensors=[7]),
    "tensor twice": lambda body: body["predicate"]["resources"][1]["annotations"].update(
        tensors=body["predicate"]["resources"][1]["annotations"]["tensors"] * 2
    ),
    "tensor backwards": tensor(start=12, end=4),
    "tensor shape no array": tensor(shape=4),
    "tensor shape negative": tensor(shape=[-1]),
    "tensor with more": tensor(more=1),
    "tensor digest": tensor(blake3="zz"),
    "about no object": annotate(0, assay=[]),
    "about with more": about(more=1),
    "about without name": about(name=""),
    "about name hidden": about(name="spam\u202e"),
    "about version": about(version=-1),
    "about version text": about(version="3"),
    "about created": about(created="yesterday"),
    "about expires": about(expires="never"),
    "about expires number": about(expires=7),
    "about previous": about(previous_root="11"),
    "about statements": about(statements={"lineage": 7}),
    "about statements list": about(statements=[]),
}


@pytest.mark.parametrize("flaw", HOSTILE)
def test_a_hostile_statement_is_refused_even_when_well_signed(signer: PemSigner, flaw: str) -> None:
    with pytest.raises(BundleError) as caught:
        reading.parse(rebuilt(signer, HOSTILE[flaw]))
    assert [finding.rule for finding in caught.value.findings] == ["signature.malformed"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: {**body, "mediaType": "application/json"},
        lambda body: {**body, "mediaType": None},
        lambda body: {**body, "more": 1},
        lambda body: {key: body[key] for key in ("mediaType", "verificationMaterial")},
        lambda body: {key: body[key] for key in ("mediaType", "dsseEnvelope")},
        lambda body: {**body, "verificationMaterial": []},
        lambda body: {**body, "verificationMaterial": {}},
        lambda body: {**body, "verificationMaterial": {"publicKey": {}}},
        lambda body: {**body, "verificationMaterial": {"publicKey": []}},
        lambda body: {**body, "verificationMaterial": {"publicKey": {"hint": "xyz"}}},
        lambda body: {**body, "verificationMaterial": {"publicKey": {"hint": 7}}},
        lambda body: {**body, "verificationMaterial": {"publicKey": {"rawBytes": "AAAA"}}},
        lambda body: {**body, "verificationMaterial": {"publicKey": {"hint": "11" * 32}, "tlogEntries": 7}},
        lambda body: {**body, "verificationMaterial": {"publicKey": {"hint": "11" * 32}, "more": 1}},
        lambda body: {**body, "verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}},
        lambda body: {**body, "verificationMaterial": {"x509CertificateChain": {"certificates": []}}},
        lambda body: {**body, "verificationMaterial": {"x509CertificateChain": {"certificates": ["AAAA"]}}},
        lambda body: {**body, "verificationMaterial": {"x509CertificateChain": {"certificates": [{}]}}},
        lambda body: {
            **body,
            "verificationMaterial": {**body["verificationMaterial"], "x509CertificateChain": {"certificates": []}},
        },
        lambda body: {**body, "dsseEnvelope": {**body["dsseEnvelope"], "payloadType": "text/plain"}},
        lambda body: {
            **body,
            "dsseEnvelope": {**body["dsseEnvelope"], "signatures": body["dsseEnvelope"]["signatures"] * 2},
        },
        lambda _: [],
    ],
)
def test_a_hostile_bundle_is_refused(signer: PemSigner, spoil: Callable[[Any], object]) -> None:
    body = json.loads(bundle.write(MANIFEST, signer, about=ABOUT))
    with pytest.raises(BundleError):
        reading.parse(json.dumps(spoil(body)).encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_bundle_or_our_error(data: bytes) -> None:
    with pytest.raises(BundleError):
        reading.parse(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside a JSON value."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@given(data=st.data(), junk=JSON)
def test_junk_anywhere_in_a_bundle_or_its_statement_is_our_error_or_nothing(
    signer: PemSigner, data: st.DataObject, junk: object
) -> None:
    def put(body: Any) -> object:  # noqa: ANN401 - it is any JSON
        path = data.draw(st.sampled_from(places(body)))
        if not path:
            return junk if junk is not None else []
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = junk
        return None

    statement_spoiled = rebuilt(signer, put)
    body = json.loads(bundle.write(MANIFEST, signer, about=ABOUT))
    whole = put(body)
    for text in (statement_spoiled, json.dumps(body if whole is None else whole).encode()):
        try:
            found = reading.parse(text)
        except BundleError as err:
            assert err.findings  # noqa: PT017 - both ends are right
        else:
            assert found.claim.files


@given(cut=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_cut_or_flipped_bundle_never_vouches_for_anything_else(signer: PemSigner, cut: int, bit: int) -> None:
    text = bundle.write(MANIFEST, signer, about=ABOUT)
    place = cut % len(text)
    flipped = text[:place] + bytes([text[place] ^ (1 << bit)]) + text[place + 1 :]
    for spoiled in (text[:place], flipped):
        try:
            found = reading.parse(spoiled)
            SignedByKey(load_public(signer.public_pem())).check(found, Moment(NOW))
        except VerificationError as err:
            assert err.findings  # noqa: PT017 - both ends are right
        else:
            assert (found.claim, found.about) == (MANIFEST, ABOUT)


def test_an_about_nobody_can_read_cannot_be_made() -> None:
    for bad in ({"name": " "}, {"version": -1}, {"created": "now"}, {"expires": "2026"}):
        with pytest.raises(ValueError, match="found"):
            replace(ABOUT, **bad)
