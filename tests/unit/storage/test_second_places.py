"""Places that keep files apart: one list of claims over folder, bucket and sealed file, then what each adds."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cloud import cloud

from assay.errors import AssayError, ConfigError, KeyFileError, MissingExtraError, StorageError
from assay.storage import sealed
from assay.storage.objects import CHUNK_BYTES, FolderObjects, Item, Objects
from assay.storage.s3 import S3Objects
from assay.storage.sealed import SealedFile

NOW = datetime.now(UTC)  # locks are judged by moto's own clock
WORD = "correct horse"
BIG = bytes(range(256)) * 4096 * 9  # 9 MiB: several pieces, and more than one part of an upload


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "_COST", 1 << 10)  # the cost is for guessers; nothing here depends on it


def bucket(name: str = "assay-kept", *, lock: bool = False) -> S3Objects:
    place = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place, ObjectLockEnabledForBucket=lock)
    return S3Objects(f"s3://{name}/models/", now=NOW)


PLACES: dict[str, Callable[[Path], Objects]] = {
    "folder": lambda folder: FolderObjects(folder / "kept"),
    "bucket": lambda _: bucket(),
    "locked bucket": lambda _: bucket("assay-locked", lock=True),
    "sealed file": lambda folder: SealedFile(folder / "kept.sealed", lambda: WORD),
}


@pytest.fixture(params=PLACES)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    with cloud():
        yield PLACES[request.param](tmp_path)


ITEMS = {"a/1/files/big.bin": BIG, "a/1/files/empty": b"", "a/1/model.sig": b"{}", "ab/2/x": b"x"}


def keep(objects: Objects, items: dict[str, bytes] = ITEMS) -> None:
    objects.put_all([Item.of(name, content) for name, content in items.items()])


def test_what_is_put_comes_back(objects: Objects) -> None:
    assert objects.names() == []
    keep(objects)
    assert objects.names() == sorted(ITEMS)
    assert objects.names("a") == [name for name in sorted(ITEMS) if name.startswith("a/")]
    for name, content in ITEMS.items():
        assert objects.get(name) == content
        assert objects.get(name, most_bytes=len(content)) == content


def test_a_walk_gives_each_object_of_a_folder_in_pieces(objects: Objects) -> None:
    keep(objects)
    found = {}
    for name, pieces in objects.walk("a/1/files"):
        parts = list(pieces)
        assert all(0 < len(part) <= CHUNK_BYTES for part in parts)
        found[name] = b"".join(parts)
    assert found == {name: content for name, content in ITEMS.items() if name.startswith("a/1/files/")}


def test_an_object_that_was_not_read_is_passed_over(objects: Objects) -> None:
    keep(objects)
    assert [name for name, _ in objects.walk("a")] == [name for name in sorted(ITEMS) if name.startswith("a/")]


def test_a_place_that_is_ready_is_still_empty(objects: Objects) -> None:
    objects.ready()
    assert objects.names() == []
    keep(objects)
    objects.ready()
    assert objects.names() == sorted(ITEMS)


def test_a_place_that_cannot_be_written_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for place in (FolderObjects(tmp_path / "file" / "x"), SealedFile(tmp_path / "no" / "box", lambda: WORD)):
        with pytest.raises(StorageError, match="written"):
            place.ready()
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(StorageError, match="cannot be written by this user"):
        FolderObjects(tmp_path / "kept").ready()


def test_a_bucket_without_lock_is_not_ready_for_one() -> None:
    with cloud():
        bucket()
        with pytest.raises(StorageError, match="no object lock"):
            S3Objects("s3://assay-kept/models?retain=30d", now=NOW).ready()


def test_what_is_not_there_is_our_error(objects: Objects) -> None:
    keep(objects)
    for name in ("a/1", "a/1/files/none", "b"):
        with pytest.raises(StorageError):
            objects.get(name)
    assert list(objects.walk("nobody")) == []


def test_an_object_larger_than_asked_for_is_not_read(objects: Objects) -> None:
    keep(objects)
    with pytest.raises(StorageError, match="at most 100"):
        objects.get("a/1/files/big.bin", most_bytes=100)


def test_an_item_of_another_size_than_it_said_is_refused(objects: Objects) -> None:
    with pytest.raises(StorageError, match="changed while it was read"):
        objects.put_all([Item("a/x", 5, lambda: io.BytesIO(b"four"))])


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "", "."])
def test_a_name_that_leads_elsewhere_is_never_put(objects: Objects, name: str) -> None:
    with pytest.raises(StorageError, match="cannot name an object"):
        keep(objects, {name: b"x"})


def test_no_place_shows_a_secret(objects: Objects) -> None:
    keep(objects)
    assert WORD not in f"{objects!r} {objects.place}"


# --- the bucket


def test_in_a_locked_bucket_the_first_version_outlasts_overwriting_and_deleting() -> None:
    with cloud():
        bucket("assay-worm", lock=True)
        kept = S3Objects("s3://assay-worm/models?retain=30d", now=NOW)
        keep(kept, {"a/1/model.sig": b"the first"})
        client, key = boto3.client("s3"), "models/a/1/model.sig"
        client.put_object(Bucket="assay-worm", Key=key, Body=b"another")
        assert kept.get("a/1/model.sig") == b"the first"
        client.delete_object(Bucket="assay-worm", Key=key)  # puts a marker over it
        again = S3Objects("s3://assay-worm/models", now=NOW)
        assert again.names() == ["a/1/model.sig"]
        assert again.get("a/1/model.sig") == b"the first"
        first = client.list_object_versions(Bucket="assay-worm")["Versions"][-1]["VersionId"]  # newest first
        locked = client.head_object(Bucket="assay-worm", Key=key, VersionId=first)
        assert locked["ObjectLockMode"] == "COMPLIANCE"  # the other mode lets some people delete
        assert abs(locked["ObjectLockRetainUntilDate"] - NOW - timedelta(days=30)) < timedelta(minutes=1)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket="assay-worm", Key=key, VersionId=first)


def test_a_lock_that_the_bucket_cannot_keep_is_refused() -> None:
    with cloud():
        bucket()
        with pytest.raises(StorageError, match="no object lock"):
            keep(S3Objects("s3://assay-kept/models?retain=30d", now=NOW))


@pytest.mark.parametrize(
    "address", ["s3://", "s3:///prefix", "s3://b/p?keep=1d", "s3://b/p?retain=soon", "s3://b/../p", "s3://b/p?retain="]
)
def test_an_address_that_is_none_is_our_error(address: str) -> None:
    with pytest.raises(AssayError):
        S3Objects(address, now=NOW)


def test_a_bucket_that_is_not_there_and_one_that_refuses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloud(), pytest.raises(StorageError, match="no bucket assay-none"):
        S3Objects("s3://assay-none/x", now=NOW).names()
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match="EndpointConnectionError"):
        S3Objects("s3://assay-none/x", now=NOW).names()


def test_without_boto3_it_is_said_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    monkeypatch.setitem(__import__("sys").modules, "boto3.exceptions", None)
    with pytest.raises(MissingExtraError, match=r"assay\[s3\]"):
        S3Objects("s3://b/x", now=NOW).names()


# --- the sealed file


def test_a_sealed_file_opens_with_its_passphrase_only_and_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    keep(SealedFile(path, lambda: WORD), {"a/1/secret-name": b"secret bytes"})
    raw = path.read_bytes()
    assert b"secret" not in raw
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError, match="passphrase is wrong") as refused:
        SealedFile(path, lambda: "wrong").names()
    assert "wrong horse" not in str(refused.value)


def test_the_same_content_is_never_sealed_alike(tmp_path: Path) -> None:
    for name in ("one", "two"):
        keep(SealedFile(tmp_path / name, lambda: WORD), {"a": b"x"})
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


def test_somebody_elses_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    keep(SealedFile(path, lambda: WORD), {"a": b"x"})
    before = path.read_bytes()
    with pytest.raises(KeyFileError):
        keep(SealedFile(path, lambda: "another"), {"a": b"y"})
    path.with_name("letter").write_text("Dear Anna")
    with pytest.raises(StorageError, match="no file sealed by assay"):
        keep(SealedFile(path.with_name("letter"), lambda: WORD), {"a": b"y"})
    assert path.read_bytes() == before
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["kept", "letter"]


SIZES = (CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 0)


@pytest.mark.parametrize("size", SIZES)
def test_every_length_around_a_piece_comes_back(tmp_path: Path, size: int) -> None:
    for less in (0, 40):  # the table shifts the content by some bytes
        objects = SealedFile(tmp_path / f"{size}-{less}", lambda: WORD)
        content = b"\x07" * max(size - less, 0)
        keep(objects, {"a": content})
        assert objects.get("a") == content


def test_an_object_that_begins_with_a_piece_comes_back(tmp_path: Path) -> None:
    objects = SealedFile(tmp_path / "kept", lambda: WORD)
    sizes = CHUNK_BYTES - 8 - len(json.dumps([["a", 1 << 20], ["b", 3]])), 3  # the table's length and itself go first
    keep(objects, {"a": b"x" * (sizes[0] + 1), "b": b"yyy"})
    assert objects.get("b") == b"yyy"
    keep(objects, {"a": b"x" * sizes[0], "b": b"yyy"})
    assert objects.get("b") == b"yyy"


def test_a_sealed_file_that_was_cut_exchanged_or_flipped_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    keep(SealedFile(path, lambda: WORD), {"a": b"y" * (3 * CHUNK_BYTES)})
    raw = path.read_bytes()
    head, step = len(sealed.MARK) + 16, CHUNK_BYTES + 16
    pieces = [raw[at : at + step] for at in range(head, len(raw), step)]
    assert len(pieces) == 4
    spoilt = {
        "cut at a piece": raw[: head + 2 * step],
        "cut in a piece": raw[:-5],
        "nothing but a head": raw[:head],
        "pieces exchanged": raw[:head] + pieces[1] + pieces[0] + pieces[2] + pieces[3],
        "a piece doubled": raw[:head] + pieces[0] + pieces[0] + b"".join(pieces[1:]),
        "a piece left out": raw[:head] + pieces[0] + b"".join(pieces[2:]),
        "something added": raw + b"x",
        **{f"bit {at} flipped": raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in (0, 25, 60, step + head, -1)},
    }
    for what, data in spoilt.items():
        path.write_bytes(data)
        with pytest.raises((StorageError, KeyFileError)):
            raise AssertionError(f"{what}: {len(SealedFile(path, lambda: WORD).get('a'))}")


@pytest.mark.parametrize(
    "table",
    [b"", b"[", b"{}", b"[[1,2]]", b'[["a"]]', b'[["a",-1]]', b'[["a",true]]', b'[["../a",1]]', b'[["a",1],["a",1]]',
     b'[["a",99]]', b"[" * 5000],
)  # fmt: skip
def test_a_table_that_is_odd_is_our_error(tmp_path: Path, table: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "_plain", lambda _: iter([len(table).to_bytes(8), table, b"x"]))
    objects = SealedFile(tmp_path / "kept", lambda: WORD)
    objects.put_all([])
    with pytest.raises(StorageError):
        objects.get("a")


def test_more_than_the_table_says_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = json.dumps([["a", 1]]).encode()
    monkeypatch.setattr(sealed, "_plain", lambda _: iter([len(table).to_bytes(8), table, b"xyz"]))
    objects = SealedFile(tmp_path / "kept", lambda: WORD)
    objects.put_all([])
    with pytest.raises(StorageError, match="more than its table"):
        objects.get("a")


@settings(max_examples=60)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_sealed_file_or_our_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "kept"
    for raw in (data, sealed.MARK + data):
        path.write_bytes(raw)
        with pytest.raises((StorageError, KeyFileError)):
            SealedFile(path, lambda: WORD).names()


def test_the_cost_of_a_guess_is_fixed_and_high(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (sealed._COST, sealed._BLOCK, sealed._LANES) == (1 << 17, 8, 1)  # OWASP's first choice for scrypt


def test_a_missing_sealed_file_keeps_nothing_and_asks_nobody(tmp_path: Path) -> None:
    def nobody() -> str:
        raise AssertionError

    assert SealedFile(tmp_path / "none", nobody).names() == []
    with pytest.raises(StorageError, match="none"):
        SealedFile(tmp_path / "none", nobody).get("a")


def test_an_address_needs_a_bucket() -> None:
    with pytest.raises(ConfigError, match="names no bucket"):
        S3Objects("s3://", now=NOW)
