"""Signatures that list shards, BLAKE2b or BLAKE3 instead of SHA-256 of whole files."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assay.artifacts.listing import Listing
from assay.errors import ArtifactError, BundleError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing import bundle
from assay.signing.reading import parse
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.statement import PAYLOAD_TYPE, pae
from assay.signing.verify import verify

LISTINGS = [
    Listing("sha256", 100),
    Listing("blake2b", 100),
    Listing("blake3", 100),
    Listing("sha256", 1),
    Listing("sha256", 10**9),
    Listing("blake2b"),
    Listing("blake3"),
]
SHARDED = Listing("sha256", 100)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(250)))
    (folder / "sub" / "vocab.txt").write_text("one\ntwo\n")
    (folder / "sub" / "__init__.py").touch()
    return folder


@pytest.fixture
def rule(signer: PemSigner) -> SignedByKey:
    return SignedByKey(load_public(signer.public_pem()))


def resources(model: Path) -> list[dict[str, Any]]:
    body = json.loads((model / "model.sig").read_text())
    statement = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    found: list[dict[str, Any]] = statement["predicate"]["resources"]
    return found


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda one: f"{one.algorithm}-{one.shard_size}")
@pytest.mark.parametrize("hold", [False, True], ids=["streamed", "held"])
def test_what_is_signed_verifies_and_every_change_is_found(
    model: Path, signer: PemSigner, rule: SignedByKey, now: datetime, listing: Listing, *, hold: bool
) -> None:
    signed = sign(model, signer, listing=listing, now=now)
    with verify(model, signers=rule, now=now, hold=hold, digests="both") as verified:
        assert verified.root == signed.manifest.root
        assert {file.name for file in verified.manifest.files} == {
            "sub/__init__.py",
            "sub/vocab.txt",
            "weights.bin",
        }
    names = [one["name"] for one in resources(model)]
    assert names == sorted(names)
    for name, flip in (("weights.bin", 249), ("sub/vocab.txt", 0)):
        content = bytearray((model / name).read_bytes())
        content[flip] ^= 1
        (model / name).write_bytes(content)
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=rule, now=now, hold=hold)
    changed = [one.subject for one in caught.value.findings if one.rule == "artifact.changed"]
    assert changed == ["sub/vocab.txt", "weights.bin"]


def test_only_shards_say_which_files_have_no_byte(model: Path, signer: PemSigner, now: datetime) -> None:
    sign(model, signer, now=now)
    assert not [one for one in resources(model) if "empty" in one.get("annotations", {})]
    sign(model, signer, listing=SHARDED, now=now)
    assert [one["annotations"]["empty"] for one in resources(model) if "empty" in one.get("annotations", {})] == [
        ["sub/__init__.py"]
    ]
    (model / "sub" / "__init__.py").unlink()
    sign(model, signer, listing=SHARDED, now=now)
    assert not [one for one in resources(model) if "empty" in one.get("annotations", {})]


def test_a_file_is_listed_only_as_it_was_measured(model: Path, signer: PemSigner, now: datetime) -> None:
    sign(model, signer, listing=SHARDED, now=now)
    claim = parse((model / "model.sig").read_bytes()).claim
    assert parse(bundle.write(claim, signer, listing=SHARDED)).claim == claim
    for listing in (Listing("blake2b"), Listing("sha256", 50)):
        with pytest.raises(ArtifactError, match="has not been measured as it is to be listed"):
            bundle.write(claim, signer, listing=listing)


def test_an_empty_file_is_signed_by_name_where_shards_cannot_list_it(
    model: Path, signer: PemSigner, rule: SignedByKey, now: datetime
) -> None:
    sign(model, signer, listing=SHARDED, now=now)
    assert not [one for one in resources(model) if one["name"].startswith("sub/__init__")]
    (model / "added.py").touch()
    (model / "sub" / "__init__.py").write_text("import os")
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=rule, now=now)
    assert {(one.rule, one.subject) for one in caught.value.findings} == {
        ("artifact.extra", "added.py"),
        ("artifact.changed", "sub/__init__.py"),
        ("artifact.shard-changed", "sub/__init__.py:0:9"),
    }
    (model / "sub" / "__init__.py").unlink()
    (model / "added.py").unlink()
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=rule, now=now)
    assert [one.rule for one in caught.value.findings] == ["artifact.missing"]


def test_a_model_without_a_byte_cannot_be_signed_in_shards(tmp_path: Path, signer: PemSigner, now: datetime) -> None:
    (tmp_path / "a.py").touch()
    with pytest.raises(ArtifactError, match="holds no byte"):
        sign(tmp_path, signer, listing=SHARDED, now=now)


def test_a_single_file_in_shards(tmp_path: Path, signer: PemSigner, rule: SignedByKey, now: datetime) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(250))
    sign(path, signer, listing=SHARDED, now=now)
    renamed = path.rename(tmp_path / "other.bin")
    signature = tmp_path / "weights.bin.sig"
    assert verify(renamed, signature=signature, signers=rule, now=now).root
    renamed.write_bytes(bytes(249) + b"\1")
    with pytest.raises(VerificationError) as caught:
        verify(renamed, signature=signature, signers=rule, now=now)
    assert "other.bin:200:250" in [one.subject for one in caught.value.findings]


def test_payload_bytes_are_the_same_every_time(model: Path, signer: PemSigner, now: datetime) -> None:
    payloads = set()
    for _ in range(2):
        place = sign(model, signer, listing=SHARDED, now=now).bundle_path
        payloads.add(parse(place.read_bytes()).envelope.payload)
        place.unlink()
    assert len(payloads) == 1


def test_digests_that_were_not_measured_are_not_signed(model: Path, signer: PemSigner, now: datetime) -> None:
    manifest = sign(model, signer, now=now).manifest
    for listing in (SHARDED, Listing("blake2b")):
        with pytest.raises(ArtifactError, match="not been measured"):
            bundle.write(manifest, signer, listing=listing)


def test_callables_and_timestamps_come_back(model: Path, signer: PemSigner, now: datetime) -> None:
    place = sign(
        model, signer, callables={"weights.bin": ["b c", "a b"]}, stamp=lambda signature: [b"1" + signature], now=now
    ).bundle_path
    found = parse(place.read_bytes())
    assert found.globals == {"weights.bin": frozenset({"a b", "b c"})}
    assert found.timestamps == (b"1" + found.signatures[0][1],)
    listed = {one["name"]: one["annotations"].get("globals") for one in resources(model)}
    assert listed["weights.bin"] == ["a b", "b c"]


def rebuilt(place: Path, signer: PemSigner, change: Callable[[Any], object]) -> bytes:
    """A bundle whose statement was changed, its root made to fit, and then signed again by the right key."""
    body = json.loads(place.read_text())
    statement = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    change(statement)
    digests = b"".join(bytes.fromhex(one["digest"]) for one in statement["predicate"]["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()
    payload = json.dumps(statement).encode()
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    body["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    body["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return json.dumps(body).encode()


def on_resources(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Any], object]:
    return lambda statement: change(statement["predicate"]["resources"])


def on_serialization(**fields: object) -> Callable[[Any], object]:
    return lambda statement: statement["predicate"]["serialization"].update(fields)


# sub/vocab.txt:0:8, weights.bin:0:100, weights.bin:100:200, weights.bin:200:250
HOSTILE: dict[str, Callable[[Any], object]] = {
    "shard left out": on_resources(lambda found: found.pop(2)),
    "first shard left out": on_resources(lambda found: found.pop(1)),
    "shard twice": on_resources(lambda found: found.append(found[2])),
    "shard too long": on_resources(lambda found: found[3].update(name="weights.bin:200:301")),
    "shard of no bytes": on_resources(lambda found: found[0].update(name="sub/vocab.txt:0:0")),
    "shard of no bytes, as its size says": on_resources(
        lambda found: (found[3].update(name="weights.bin:200:200"), found[1]["annotations"].update(size=200))
    ),
    "shard too long, as its size says": on_resources(
        lambda found: (found[3].update(name="weights.bin:200:301"), found[1]["annotations"].update(size=301))
    ),
    "shard backwards": on_resources(lambda found: found[0].update(name="sub/vocab.txt:8:0")),
    "shards overlap": on_resources(lambda found: found[3].update(name="weights.bin:199:250")),
    "short shard in the middle": on_resources(lambda found: found[2].update(name="weights.bin:100:199")),
    "leading zero": on_resources(lambda found: found[0].update(name="sub/vocab.txt:0:08")),
    "huge number": on_resources(lambda found: found[0].update(name="sub/vocab.txt:0:" + "9" * 5000)),
    "no range": on_resources(lambda found: found[0].update(name="sub/vocab.txt")),
    "range and no name": on_resources(lambda found: found[0].update(name=":0:8")),
    "size says otherwise": on_resources(lambda found: found[1]["annotations"].update(size=251)),
    "shard size zero": on_serialization(shard_size=0),
    "shard size half": on_serialization(shard_size=100.5),
    "shard size negative": on_serialization(shard_size=-100),
    "shard size text": on_serialization(shard_size="100"),
    "shard size huge": on_serialization(shard_size=1e300),
    "shard size other": on_serialization(shard_size=50),
    "files with a shard size": on_serialization(method="files"),
    "too much left out": on_serialization(ignore_paths=[f"a{i}" for i in range(10_001)]),
    "other method": on_serialization(method="blocks"),
    "method no text": on_serialization(method=["shards"]),
    "algorithm of another size": on_resources(lambda found: found[0].update(algorithm="sha256-sharded-99")),
    "hash type no text": on_serialization(hash_type=["sha256"]),
    "hash type of another size": on_serialization(hash_type="sha256-sharded-99"),
    "empty no array": on_resources(lambda found: found[0]["annotations"].update(empty="a")),
    "empty no text": on_resources(lambda found: found[0]["annotations"].update(empty=[7])),
    "empty outside": on_resources(lambda found: found[0]["annotations"].update(empty=["../a"])),
    "empty also listed": on_resources(lambda found: found[0]["annotations"].update(empty=["weights.bin"])),
    "globals no array": on_resources(lambda found: found[0]["annotations"].update(globals="os system")),
    "globals no text": on_resources(lambda found: found[0]["annotations"].update(globals=[["os", "system"]])),
}


@pytest.mark.parametrize("flaw", HOSTILE)
def test_hostile_shards_are_refused_even_when_well_signed(
    model: Path, signer: PemSigner, now: datetime, flaw: str
) -> None:
    place = sign(model, signer, listing=SHARDED, now=now).bundle_path
    assert parse(rebuilt(place, signer, lambda _: None)).algorithm == "sha256"
    with pytest.raises(BundleError) as caught:
        parse(rebuilt(place, signer, HOSTILE[flaw]))
    assert [finding.rule for finding in caught.value.findings] == ["signature.malformed"]


def test_as_many_paths_as_are_allowed_may_be_left_out(model: Path, signer: PemSigner, now: datetime) -> None:
    place = sign(model, signer, listing=SHARDED, now=now).bundle_path
    most = on_serialization(ignore_paths=[f"a{i}" for i in range(10_000)])
    assert len(parse(rebuilt(place, signer, most)).claim.ignore) == 10_000


def test_only_the_first_shard_of_a_file_speaks_of_the_whole_file(model: Path, signer: PemSigner, now: datetime) -> None:
    place = sign(model, signer, listing=SHARDED, callables={"weights.bin": ["a b"]}, now=now).bundle_path
    signed = parse(place.read_bytes())
    more: dict[str, object] = {"globals": ["os system"], "tensors": "none"}
    found = parse(rebuilt(place, signer, on_resources(lambda shards: shards[2].update(annotations=more))))
    assert (found.claim, found.globals) == (signed.claim, signed.globals)


def test_a_usual_listing_needs_no_second_measuring(model: Path, signer: PemSigner, now: datetime) -> None:
    assert sign(model, signer, listing=Listing("blake3"), now=now).manifest.listing is None
    assert sign(model, signer, listing=Listing("blake2b"), now=now).manifest.listing == Listing("blake2b")


def test_how_model_signing_writes_shards_is_read(
    model: Path, signer: PemSigner, rule: SignedByKey, now: datetime
) -> None:
    (model / "sub" / "__init__.py").unlink()
    place = sign(model, signer, listing=SHARDED, now=now).bundle_path

    def quirks(statement: Any) -> None:  # noqa: ANN401 - it is any JSON
        statement["predicate"]["serialization"].update(shard_size=100.0, hash_type="sha256-sharded-100")
        for one in statement["predicate"]["resources"]:
            one["algorithm"] = "sha256-sharded-100"
            del one["annotations"]["sha256"], one["annotations"]["blake3"], one["annotations"]["size"]
            if not one["annotations"]:
                del one["annotations"]

    for one in resources(model):
        assert one["algorithm"] == "sha256"
    place.write_bytes(rebuilt(place, signer, lambda body: quirked(body, quirks)))
    assert verify(model, signers=rule, now=now).root
    (model / "weights.bin").write_bytes(bytes(range(249)))
    with pytest.raises(VerificationError):
        verify(model, signers=rule, now=now)


def quirked(body: Any, quirks: Callable[[Any], None]) -> None:  # noqa: ANN401 - it is any JSON
    for one in body["predicate"]["resources"]:
        one.setdefault("annotations", {"sha256": "", "blake3": "", "size": 0})
    quirks(body)


def test_two_digests_of_one_kind_must_be_one(model: Path, signer: PemSigner, now: datetime) -> None:
    place = sign(model, signer, listing=Listing("blake3"), now=now).bundle_path
    change = on_resources(lambda found: found[0]["annotations"].update(blake3="11" * 32))
    with pytest.raises(BundleError, match="two digests"):
        parse(rebuilt(place, signer, change))


def test_digests_of_different_bytes_in_one_signature_are_refused(
    model: Path, signer: PemSigner, rule: SignedByKey, now: datetime
) -> None:
    place = sign(model, signer, listing=SHARDED, now=now).bundle_path
    change = on_resources(lambda found: found[1]["annotations"].update(sha256="11" * 32))
    place.write_bytes(rebuilt(place, signer, change))
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=rule, now=now, digests="both")
    assert [one.rule for one in caught.value.findings] == ["artifact.digests-disagree"]


@pytest.mark.parametrize(
    "data",
    [
        [],
        "x",
        {"rfc3161Timestamps": "x"},
        {"rfc3161Timestamps": ["x"]},
        {"rfc3161Timestamps": [{}]},
        {"rfc3161Timestamps": [{"signedTimestamp": 7}]},
        {"rfc3161Timestamps": [{"signedTimestamp": "A"}]},
        {"rfc3161Timestamps": [{"signedTimestamp": ""}]},
        {"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}] * 17},
    ],
)
def test_odd_timestamps_are_refused(model: Path, signer: PemSigner, now: datetime, data: object) -> None:
    body = json.loads(sign(model, signer, now=now).bundle_path.read_text())
    body["verificationMaterial"]["timestampVerificationData"] = data
    with pytest.raises(BundleError):
        parse(json.dumps(body).encode())
    nothing: list[object] = [None, {}, {"rfc3161Timestamps": None}, {"rfc3161Timestamps": []}]
    for none in nothing:
        body["verificationMaterial"]["timestampVerificationData"] = none
        assert parse(json.dumps(body).encode()).timestamps == ()


@pytest.mark.parametrize("listing", [SHARDED, Listing("blake2b"), Listing("blake3")], ids=lambda one: one.algorithm)
def test_one_read_by_blake3_is_enough_where_that_is_signed_too(
    model: Path,
    signer: PemSigner,
    rule: SignedByKey,
    now: datetime,
    *,
    listing: Listing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed = sign(model, signer, listing=listing, now=now)
    both = verify(model, signers=rule, now=now, digests="both")
    assert both.checked == "both"
    monkeypatch.setattr("assay.signing.measuring.relist", lambda *_, **__: pytest.fail("the files were read again"))
    fast = verify(model, signers=rule, now=now)
    assert (fast.checked, fast.root) == ("blake3", signed.manifest.root)
