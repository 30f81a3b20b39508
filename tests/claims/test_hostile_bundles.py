"""A hostile signature ends in a refusal that says why, in bounded time and memory, and nothing is loaded.

The row of the threat table: empty model folder, empty resources, duplicate resource names, unknown fields
where the schema forbids them, huge or deeply nested JSON, wrong mediaType or payloadType, truncated base64.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.prompt import at, typed

from assay.artifacts.listing import Listing
from assay.errors import BundleError, VerificationError
from assay.keys.pem import PemSigner, generate, load_private, load_public
from assay.signing.cosigning import cosign
from assay.signing.moment import Moment
from assay.signing.reading import parse
from assay.signing.sign import sign
from assay.signing.signers import AtLeast, SignedByKey, signatory
from assay.signing.statement import PAYLOAD_TYPE, pae
from assay.storage.clock import from_text

NOW = from_text("2026-03-01T12:00:00.000000Z")
MEGABYTE = 1 << 20
PATIENCE_S = 60.0  # processor time; the slowest takes about 10 s where nothing else runs
# A small process between: a child's peak begins with that of the process that forked it.
MEASURED = """
import os, subprocess, sys
command = [sys.executable, "-m", "assay.cli.main", *sys.argv[1:]]
run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
text = run.stdout.read()
_, status, usage = os.wait4(run.pid, 0)
print(text)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss, end="")
"""
MEMORY_MB = 900  # a 64 MiB signature of the most values takes about 600
COMPAT = Path(__file__).parents[1] / "compat"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a key, and a model that it has signed."""
    folder = tmp_path_factory.mktemp("hostile")
    signer = generate(folder / "key.pem", passphrase=None)
    (folder / "model" / "sub").mkdir(parents=True)
    (folder / "model" / "weights.bin").write_bytes(b"weights")
    (folder / "model" / "sub" / "vocab.txt").write_bytes(b"vocab")
    sign(folder / "model", signer, now=NOW)
    with at(folder):
        yield folder


@pytest.fixture(scope="module")
def signer(here: Path) -> PemSigner:
    return load_private(here / "key.pem")


@pytest.fixture(scope="module")
def good(here: Path) -> bytes:
    return (here / "model" / "model.sig").read_bytes()


def refused(here: Path, text: bytes, *words: str) -> None:
    """Verify with this signature at the prompt: exit code 1, these words, no traceback, in no time."""
    (here / "hostile.sig").write_bytes(text)
    start = time.thread_time()
    typed("verify", "model", "--signature", "hostile.sig", "--public-key", "key.pub").refused(1, *words)
    assert time.thread_time() - start < 5


def test_the_untouched_signature_is_accepted(here: Path, good: bytes) -> None:
    # Without this, every refusal below could be for another reason.
    (here / "hostile.sig").write_bytes(good)
    assert typed("verify", "model", "--signature", "hostile.sig", "--public-key", "key.pub").code == 0


def with_statement(good: bytes, signer: PemSigner, change: Callable[[Any], object]) -> bytes:
    """Change the statement, make its root digest fit, and sign it again with the right key."""
    body = json.loads(good)
    statement = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    change(statement)
    listed = statement["predicate"].get("resources")
    if isinstance(listed, list) and all(isinstance(one, dict) for one in listed):
        joined = b"".join(bytes.fromhex(one["digest"]) for one in listed)
        statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(joined).hexdigest()
    payload = json.dumps(statement).encode()
    body["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    body["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return json.dumps(body).encode()


SIGNED_FLAWS: dict[str, tuple[Callable[[Any], object], str]] = {
    "empty_resources": (lambda body: body["predicate"].update(resources=[]), "at least one file"),
    "duplicate_resource_names": (
        lambda body: body["predicate"]["resources"].append(body["predicate"]["resources"][0]),
        "twice",
    ),
    "names_equal_but_for_case": (
        lambda body: body["predicate"]["resources"].append(
            {**body["predicate"]["resources"][0], "name": "WEIGHTS.bin"}
        ),
        "one name",
    ),
    "unknown_field_in_statement": (lambda body: body.update(more=1), "'more' does not belong"),
    "unknown_field_in_predicate": (lambda body: body["predicate"].update(more=1), "'more' does not belong"),
    "unknown_field_in_serialization": (
        lambda body: body["predicate"]["serialization"].update(more=1),
        "'more' does not belong",
    ),
    "wrong_statement_type": (lambda body: body.update(_type="https://in-toto.io/Statement/v0.1"), "wanted"),
    "wrong_predicate_type": (lambda body: body.update(predicateType="https://slsa.dev/provenance/v1"), "wanted"),
    "no_subject": (lambda body: body.update(subject=body["subject"] * 2), "once"),
    "path_upwards": (lambda body: body["predicate"]["resources"][0].update(name="../model/weights.bin"), "'..'"),
    "path_from_the_root": (lambda body: body["predicate"]["resources"][0].update(name="/etc/passwd"), "empty"),
    "everything_left_out": (
        lambda body: body["predicate"]["serialization"].update(ignore_paths=["."]),
        "leaves the whole model out",
    ),
    "too_much_left_out": (
        lambda body: body["predicate"]["serialization"].update(ignore_paths=[f"a{i}" for i in range(10_001)]),
        "more than 10000",
    ),
}


@pytest.mark.parametrize("flaw", SIGNED_FLAWS)
def test_a_statement_is_refused_although_the_right_key_signed_it(
    here: Path, signer: PemSigner, good: bytes, flaw: str
) -> None:
    change, words = SIGNED_FLAWS[flaw]
    refused(here, with_statement(good, signer, change), "signature.malformed", words)


def envelope(**fields: object) -> Callable[[Any], object]:
    return lambda body: body["dsseEnvelope"].update(fields)


BUNDLE_FLAWS: dict[str, tuple[Callable[[Any], object], str]] = {
    "unknown_field_in_bundle": (lambda body: body.update(more=1), "'more' does not belong"),
    "unknown_field_in_envelope": (envelope(more=1), "'more' does not belong"),
    "unknown_field_in_signature": (
        lambda body: body["dsseEnvelope"]["signatures"][0].update(more=1),
        "'more' does not belong",
    ),
    "unknown_field_in_material": (lambda body: body["verificationMaterial"].update(more=1), "'more' does not belong"),
    "wrong_media_type": (lambda body: body.update(mediaType="application/json"), "media type"),
    "later_media_type": (
        lambda body: body.update(mediaType="application/vnd.dev.sigstore.bundle.v9+json"),
        "media type",
    ),
    "wrong_payload_type": (envelope(payloadType="application/json"), "payload type"),
    "no_signature": (envelope(signatures=[]), "no signature"),
    "empty_payload": (envelope(payload=""), "not empty"),
    "truncated_base64": (
        lambda body: envelope(payload=body["dsseEnvelope"]["payload"][:-3])(body),
        "cut short",
    ),
    "base64_with_other_letters": (
        lambda body: envelope(payload="!" + body["dsseEnvelope"]["payload"][1:])(body),
        "not base64",
    ),
    "truncated_signature_base64": (
        lambda body: body["dsseEnvelope"]["signatures"][0].update(sig="MEU"),
        "cut short",
    ),
    "empty_signature": (lambda body: body["dsseEnvelope"]["signatures"][0].update(sig=""), "not empty"),
    "two_kinds_of_key": (
        lambda body: body["verificationMaterial"].update(x509CertificateChain={"certificates": []}),
        "2 kinds",
    ),
    "no_key": (lambda body: body.update(verificationMaterial={}), "0 kinds"),
}


@pytest.mark.parametrize("flaw", BUNDLE_FLAWS)
def test_a_bundle_is_refused(here: Path, good: bytes, flaw: str) -> None:
    change, words = BUNDLE_FLAWS[flaw]
    body = json.loads(good)
    change(body)
    refused(here, json.dumps(body).encode(), "signature.malformed", words)


TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda good: good[: len(good) // 2],
    "trailing": lambda good: good + b"{}",
    "nothing_but_nulls": lambda _: bytes(1000),
    "byte_order_mark": lambda good: b"\xef\xbb\xbf" + good,
    "utf16": lambda good: good.decode().encode("utf-16"),
    "not_utf8": lambda good: good.replace(b"mediaType", b"media\xffype"),
    "half_a_surrogate_pair": lambda good: good.replace(b'"mediaType"', b'"\\ud800": 1, "mediaType"'),
    "field_twice": lambda good: good.replace(b'{"dsseEnvelope"', b'{"mediaType": "x", "dsseEnvelope"'),
    "not_a_number": lambda good: good.replace(b'"tlogEntries":[]', b'"tlogEntries":[NaN]'),
    "number_of_ten_thousand_digits": lambda _: b"[" + b"9" * 10_000 + b"]",
    "nested_a_hundred_deep": lambda _: b"[" * 100 + b"]" * 100,
    "nested_a_hundred_thousand_deep": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "objects_nested_a_hundred_thousand_deep": lambda _: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("flaw", TEXTS)
def test_text_that_is_no_plain_json_is_refused(here: Path, good: bytes, flaw: str) -> None:
    text = TEXTS[flaw](good)
    assert text != good
    refused(here, text, "signature.malformed")


def test_an_empty_model_folder_is_neither_signed_nor_verified(here: Path, good: bytes) -> None:
    (here / "empty").mkdir()
    (here / "empty" / "only a folder").mkdir()
    typed("sign", "empty", "--key", "key.pem").refused(2, "empty")
    assert not (here / "empty" / "model.sig").exists()
    (here / "empty" / "model.sig").write_bytes(good)
    answer = typed("verify", "empty", "--public-key", "key.pub")
    assert answer.code != 0
    assert "Traceback" not in answer.err


def listing(entries: list[dict[str, object]], **serialization: object) -> bytes:
    """A bundle that nobody has signed, with a root that fits."""
    root = hashlib.sha256(b"".join(bytes.fromhex(str(one["digest"])) for one in entries)).hexdigest()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": entries,
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [],
                **serialization,
            },
        },
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "11" * 32}},
            "dsseEnvelope": {
                "payload": payload,
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": "AAAA", "keyid": ""}],
            },
        }
    ).encode()


def entry(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "digest": "22" * 32, "algorithm": "sha256", **more}


TENSOR = {"dtype": "F32", "shape": [1], "start": 0, "end": 1, "blake3": "22" * 32}
HUGE: dict[str, Callable[[], bytes]] = {
    "more_than_64_megabytes": lambda: b" " * (65 * MEGABYTE),
    "thirty_million_arrays_deep": lambda: b"[" * (30 * MEGABYTE),
    "ten_million_objects_deep": lambda: b'{"a":' * (10 * MEGABYTE),
    "four_million_values": lambda: b"[" + b"0," * 3_900_000 + b"0]",
    "two_million_fields": lambda: b"{" + b",".join(b'"%d":0' % i for i in range(2_000_000)) + b"}",
    "sixty_megabytes_of_one_string": lambda: b'["' + b"\\u0041" * (10 * MEGABYTE) + b'"]',
    "a_hundred_thousand_files": lambda: listing([entry(f"f{i}") for i in range(100_000)]),
    "a_hundred_thousand_equal_files": lambda: listing([entry("f") for _ in range(100_000)]),
    "a_hundred_thousand_shards_of_one_byte": lambda: listing(
        [entry(f"weights.bin:{i}:{i + 1}") for i in range(100_000)], method="shards", shard_size=1
    ),
    "a_hundred_thousand_tensors": lambda: listing(
        [entry("weights.bin", annotations={"tensors": [{"name": f"t{i}", **TENSOR} for i in range(100_000)]})]
    ),
    "sixty_folders_deep_twenty_thousand_times": lambda: listing([entry("b/" * 60 + str(i)) for i in range(20_000)]),
}


@pytest.mark.parametrize("flaw", HUGE)
def test_a_huge_signature_is_refused_in_bounded_time_and_memory(here: Path, tmp_path: Path, flaw: str) -> None:
    place = tmp_path / "hostile.sig"
    place.write_bytes(HUGE[flaw]())
    words = ["verify", "model", "--signature", str(place), "--public-key", "key.pub"]
    run = subprocess.run([sys.executable, "-c", MEASURED, *words], cwd=here, capture_output=True, text=True, check=True)
    text, _, measured = run.stdout.rpartition("\n")
    code, seconds, kilobytes = (float(one) for one in measured.split())
    assert code == 1, text[-500:]
    assert "refused" in text
    assert "Traceback" not in text
    assert len(text) < MEGABYTE
    assert seconds < PATIENCE_S
    assert kilobytes < MEMORY_MB * 1024


def kinds(folder: Path) -> dict[str, tuple[bytes, SignedByKey | AtLeast | None]]:
    """A real signature of each kind, and the rule that accepts it."""
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(300))
    one, two = (
        generate(folder.parent / "one.pem", passphrase=None),
        generate(folder.parent / "two.pem", passphrase=None),
    )
    first, second = SignedByKey(load_public(one.public_pem())), SignedByKey(load_public(two.public_pem()))
    made: dict[str, tuple[bytes, SignedByKey | AtLeast | None]] = {}
    for name, listing in (("files", None), ("shards", Listing("sha256", 100)), ("blake2b", Listing("blake2b"))):
        place = sign(folder, one, listing=listing, now=NOW).bundle_path
        made[name] = (place.read_bytes(), first)
    cosign(folder, two, now=NOW)
    made["cosigned"] = ((folder / "model.sig").read_bytes(), AtLeast(2, first, second))
    for release in ("0.2.0", "0.3.1", "1.1.1"):
        for way in ("key-p384", "shards", "certificate", "single"):
            path = COMPAT / "assets" / release / f"{way}.sig"
            if path.exists():
                made[f"{release}-{way}"] = (path.read_bytes(), None)
    for path in sorted((COMPAT / "reference").glob("*/model.sig")):
        made[path.parent.name] = (path.read_bytes(), None)
    return made


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, SignedByKey | AtLeast | None]]:
    return kinds(tmp_path_factory.mktemp("kinds") / "model")


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("A" * 64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@cache
def opened(text: bytes) -> tuple[Any, Any]:
    body = json.loads(text)
    return body, json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))


@given(data=st.data())
def test_no_mutation_of_a_real_signature_vouches_or_breaks(
    real: dict[str, tuple[bytes, SignedByKey | AtLeast | None]], data: st.DataObject
) -> None:
    text, rule = real[data.draw(st.sampled_from(sorted(real)))]
    body, statement = (json.loads(json.dumps(one)) for one in opened(text))
    target = data.draw(st.sampled_from(["body", "statement", "bytes"]))
    if target == "bytes":
        at_byte = data.draw(st.integers(0, len(text) - 1))
        spoiled = text[:at_byte] + data.draw(st.binary(max_size=3)) + text[at_byte + data.draw(st.integers(0, 3)) :]
    else:
        chosen = body if target == "body" else statement
        path = data.draw(st.sampled_from([place for place in places(chosen) if place]))
        inner = chosen
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = data.draw(JUNK)
        if target == "statement":
            body["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        spoiled = json.dumps(body).encode()
    try:
        found = parse(spoiled)
    except BundleError as err:
        assert err.findings  # noqa: PT017 - both ends are right
        return
    if rule is None:
        return
    try:
        signatory(rule, found, Moment(NOW))
    except VerificationError as err:
        assert err.findings  # noqa: PT017 - both ends are right
    else:
        assert found.envelope.payload == parse(text).envelope.payload
