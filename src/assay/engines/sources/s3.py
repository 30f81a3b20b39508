"""Parquet and CSV objects of an S3 bucket, fetched once each.

An object is fetched when it is not here yet under its ETag, and forgotten when the bucket no longer lists it. Signing
in is boto3's business, from its environment.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from assay.engines.addresses import ARROW, S3, shown
from assay.engines.files import CSV, PARQUET, may_hold
from assay.errors import MissingExtraError, TableError

_MAGIC: Final = re.compile(r"[*?\[]")
_CLASS: Final = re.compile(r"\[[^\]]+\]")
_PART_BYTES: Final = 8 << 20
_WORDS: Final = {
    "NoCredentialsError": "no credentials were found in boto3's environment, profile or role",
    "PartialCredentialsError": "the credentials in boto3's environment are not whole",
    "EndpointConnectionError": "the service cannot be reached",
    "ProfileNotFound": "boto3 has no profile of the name in AWS_PROFILE",
}
"""What boto3 says by the names of its errors, without the values that its own words hold."""
_LOCK: Final = threading.Lock()
_HERE: Final[dict[str, dict[str, Path]]] = {}


def bring(address: str, *, since: datetime | None = None, until: datetime | None = None) -> tuple[str, ...]:
    """Fetch the objects of an address that are not here yet; their files, in the order of the keys.

    Args:
        address: ``s3://BUCKET/KEY``, a prefix as a folder, or a pattern (``s3://BUCKET/predictions/**/*.parquet``).
        since: Leave out recorded hours before this instant.
        until: Leave out recorded hours from this instant on.

    Raises:
        TableError: When there is no such object, or the bucket cannot be read.
        MissingExtraError: When boto3 is not installed.
    """
    bucket, _, key = address.removeprefix(S3).partition("/")
    if not bucket:
        raise TableError(f"{shown(address)} names no bucket: write s3://BUCKET/KEY")
    if "@" in bucket or (":" in bucket and not bucket.startswith("arn:")):  # boto3 would quote it, key and all
        raise TableError(f"{shown(address)} holds a key: who asks is said in boto3's environment, never in an address")
    pattern = _pattern(key, address)
    with _LOCK, _asking(address) as client:
        listed = dict(_listed(client, bucket, key, pattern))
        if not listed:
            raise TableError(f"found no CSV, Parquet or Arrow object for {shown(address)}")
        wanted = [one for one in listed if may_hold(f"/{one}", since, until)] or [list(listed)[-1]]
        known = _HERE.setdefault(address, {})
        marks = {one: hashlib.sha256(f"{bucket}\0{one}\0{tag}".encode()).hexdigest() for one, tag in listed.items()}
        for gone in known.keys() - set(marks.values()):
            known.pop(gone).unlink(missing_ok=True)
        return tuple(str(_fetched(client, bucket, one, marks[one], known)) for one in wanted)


def _fetched(client: Any, bucket: str, key: str, mark: str, known: dict[str, Path]) -> Path:  # noqa: ANN401 - boto3 makes its clients at run time
    if mark not in known:
        suffix = next(end for end in (*CSV, *PARQUET, *ARROW) if key.endswith(end))
        path = Path(_folder().name) / f"{mark}{suffix}"
        client.download_file(bucket, key, str(path.with_suffix(".part")), Config=_transfer())
        path.with_suffix(".part").replace(path)
        known[mark] = path
    return known[mark]


def _listed(client: Any, bucket: str, key: str, pattern: re.Pattern[str] | None) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - boto3 makes its clients at run time
    """The keys of tables and their ETags, sorted."""
    magic = _MAGIC.search(key)
    prefix = key[: magic.start()] if magic else key
    found: dict[str, str] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            name = item["Key"]
            inside = key in {name, ""} or name.startswith(key.rstrip("/") + "/")
            hidden = any(part.startswith(".") for part in name[len(prefix) :].split("/"))
            meant = bool(pattern.fullmatch(name)) if pattern else inside
            if meant and not hidden and name.endswith(PARQUET + CSV + ARROW):
                found[name] = item["ETag"]
    yield from sorted(found.items())


def _pattern(glob: str, address: str) -> re.Pattern[str] | None:
    """A pattern for keys: ``**/`` any folders, ``*`` and ``?`` within one, ``[…]`` as it is; None for a plain key."""
    if _MAGIC.search(glob) is None:
        return None
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", re.sub(r"(?:\*\*/)+", "**/", glob))
    words: Mapping[str, str] = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    try:
        return re.compile("".join(words.get(p) or (_class(p) if _CLASS.fullmatch(p) else re.escape(p)) for p in parts))
    except re.error as err:
        raise TableError(f"{shown(address)} is no pattern: {err.msg}") from err


def _class(characters: str) -> str:
    inside = characters[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where fetched objects lie until this process ends."""
    return tempfile.TemporaryDirectory(prefix="assay-s3-")


def _transfer() -> Any:  # noqa: ANN401 - boto3 has no types
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)


@contextmanager
def _asking(address: str) -> Iterator[Any]:
    """A client, and our error for one of boto3's. Its own words may hold keys of the caller."""
    try:
        import boto3
        from boto3.exceptions import Boto3Error
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as err:
        raise MissingExtraError("tables in S3", "s3") from err
    try:
        yield boto3.client("s3", config=Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 3}))
    except ClientError as err:
        said = err.response.get("Error", {}).get("Code", "")
        raise TableError(f"cannot read {shown(address)}: the service says {said or 'no'}") from err
    except (BotoCoreError, Boto3Error) as err:
        raise TableError(f"cannot read {shown(address)}: {_WORDS.get(type(err).__name__, type(err).__name__)}") from err
    except OSError as err:
        raise TableError(f"cannot keep {shown(address)} for reading: {err.strerror}") from err
