"""Keep files in an S3 bucket, locked against deletion where the bucket locks its objects.

In a bucket with object lock every object has versions, and a locked version outlasts whatever is put
over it or deletes it. Nothing here is ever put twice under one name, so the oldest version of a name
is the one that was kept; that one is read, whatever came later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from assay.errors import ConfigError, MissingExtraError, StorageError
from assay.storage.clock import parse_span
from assay.storage.objects import CHUNK_BYTES, Item, checked_name, too_large, wrong_size

PREFIX = "s3://"
_PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 4  # 32 MiB of a file in memory at a time
_NO_LOCK = "ObjectLockConfigurationNotFoundError"
_NO_BUCKET = ("NoSuchBucket", "404")


class S3Objects:
    """Objects in a bucket. Signing in is boto3's business, from its environment.

    Args:
        address: ``s3://BUCKET/PREFIX``, with ``?retain=365d`` to lock each object for so long (compliance mode:
            until then nobody deletes it, not even the owner of the account).
        now: When a lock begins.

    Raises:
        ConfigError: The address is malformed.
    """

    def __init__(self, address: str, *, now: datetime) -> None:
        plain, _, query = address.partition("?")
        self._bucket, _, prefix = plain.removeprefix(PREFIX).partition("/")
        self._prefix = f"{checked_name(prefix.strip('/'))}/" if prefix.strip("/") else ""
        self._until = now + _retained(address, query) if query else None
        if not self._bucket:
            raise ConfigError(f"{address}: names no bucket; wanted s3://BUCKET/PREFIX")
        self._address = plain

    @property
    def place(self) -> str:
        """The bucket and prefix."""
        return self._address

    def ready(self) -> None:
        """See that the bucket answers, and locks where that was asked for."""
        if self._until is not None and not self.locks:
            raise StorageError(f"{self.place} has no object lock, so ?retain= cannot be kept; make the bucket with it")
        with self._asking("its objects"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def put_all(self, items: Sequence[Item]) -> None:
        """Keep files, in this order, each locked where that was asked for.

        Raises:
            StorageError: The bucket refuses, or has no object lock and one was asked for; an item was not of its size.
        """
        from boto3.s3.transfer import TransferConfig

        self.ready()
        lock = {} if self._until is None else {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": self._until}
        config = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )
        for item in items:
            with self._asking(item.name), item.open() as content:
                counted = _Counted(content)
                self._client.upload_fileobj(counted, self._bucket, self._key(item.name), ExtraArgs=lock, Config=config)
            if counted.count != item.size:
                raise wrong_size(item)

    def names(self, under: str = "") -> list[str]:
        """The names of what is kept, sorted by code point; in a bucket with lock also of what was deleted."""
        return sorted(self._versions(under))

    def get(self, name: str, *, most_bytes: int | None = None) -> bytes:
        """The bytes of one object."""
        with self._asking(name):
            answer = self._client.get_object(**self._named(name, self._versions(name, exact=True)))
            if most_bytes is not None and answer["ContentLength"] > most_bytes:
                raise too_large(name, answer["ContentLength"], most_bytes)
            return bytes(answer["Body"].read())

    def walk(self, under: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Every object in a folder with its bytes in pieces."""
        versions = self._versions(under)
        for name in sorted(versions):
            with self._asking(name):
                answer = self._client.get_object(**self._named(name, versions))
            yield name, self._pieces(name, answer["Body"])

    @cached_property
    def locks(self) -> bool:
        """Whether the bucket has object lock."""
        from botocore.exceptions import ClientError

        with self._asking("its lock"):
            try:
                found = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as err:
                if _code(err) == _NO_LOCK:
                    return False
                raise
        return bool(found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        with self._asking("the service"):
            import boto3

            return boto3.client("s3")

    def _pieces(self, name: str, body: Any) -> Iterator[bytes]:  # noqa: ANN401 - the same
        while True:
            with self._asking(name):
                piece = bytes(body.read(CHUNK_BYTES))
            if not piece:
                return
            yield piece

    def _versions(self, under: str, *, exact: bool = False) -> dict[str, str | None]:
        """The oldest version of every name, None where the bucket has no lock and so the only one counts."""
        prefix = self._key(under) + ("" if exact else "/") if under else self._prefix
        found: dict[str, str | None] = {}
        with self._asking(under or "its objects"):
            if not self.locks:
                for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                    found.update({self._name(one["Key"]): None for one in page.get("Contents", ())})
            else:
                oldest: dict[str, datetime] = {}
                pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
                for one in (one for page in pages for one in page.get("Versions", ())):
                    name = self._name(one["Key"])
                    # Of one name, newer versions are listed first: of equal times the later in the list is older.
                    if name not in oldest or one["LastModified"] <= oldest[name]:
                        oldest[name], found[name] = one["LastModified"], one["VersionId"]
        return {name: version for name, version in found.items() if not exact or name == under}

    def _named(self, name: str, versions: dict[str, str | None]) -> dict[str, str]:
        if name not in versions:
            raise StorageError(f"{self.place} has no object {name}")
        version = versions[name]
        which = {"Bucket": self._bucket, "Key": self._key(name)}
        return which if version is None else {**which, "VersionId": version}

    def _key(self, name: str) -> str:
        return f"{self._prefix}{checked_name(name)}"

    def _name(self, key: str) -> str:
        return key.removeprefix(self._prefix)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            from boto3.exceptions import Boto3Error
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as err:
            raise MissingExtraError("a second store in S3", "s3") from err
        try:
            yield
        except ClientError as err:
            code = _code(err)
            said = f"there is no bucket {self._bucket}" if code in _NO_BUCKET else code
            raise StorageError(f"{self.place}: {what} cannot be read or written ({said})") from err
        except (BotoCoreError, Boto3Error, OSError) as err:
            said = " ".join(f"{type(err).__name__} {err}".split())[:200]
            raise StorageError(f"{self.place}: {what} cannot be read or written ({said})") from err


class _Counted:
    """Reads on, and counts; without ``seek``, so that every byte passes here once."""

    def __init__(self, content: Any) -> None:  # noqa: ANN401 - whatever reads
        self._content = content
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        piece: bytes = self._content.read(size)
        self.count += len(piece)
        return piece


def _code(err: Any) -> str:  # noqa: ANN401 - botocore has no types
    return str(err.response.get("Error", {}).get("Code", "unknown"))


def _retained(address: str, query: str) -> timedelta:
    name, _, value = query.partition("=")
    if name != "retain":
        raise ConfigError(f"{address}: knows only ?retain=SPAN after the prefix")
    return parse_span(value)
