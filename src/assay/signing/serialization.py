"""The manifest as a signature says it: resources with their digests, and how they were listed. Pure.

References:
    OpenSSF Model Signing Specification v1.0, 5.2, 6.3 to 6.5.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from assay.artifacts.listing import ALGORITHMS, Listed, Listing
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.errors import ArtifactError
from assay.formats.base import OPAQUE
from assay.signing import canonical
from assay.signing.about import About
from assay.signing.canonical import malformed
from assay.signing.statement import Statement, Subject

PREDICATE = "https://model_signing/signature/v1.0"
# How every released model_signing names a model that is one file; the specification says its base name, which
# those releases do not verify. Both are read.
SINGLE = "."
NAMELESS = "model"  # stands for the name where an old release signed none
_REPOSITORY = (".git", ".gitattributes", ".github", ".gitignore")  # OMS 6.2: left out unless said otherwise
_UNSAID = "it does not say what was left out of the model, as before model_signing 1.1.0; .git and the like are"
_MAX_IGNORED = 10_000  # each is looked up on disk
_TENSOR = ("name", "dtype", "shape", "start", "end", "blake3")
# OMS 6.3.2: the last two numbers are the range, whatever else the name holds.
_SHARD = re.compile(r"(?P<name>.+):(?P<start>0|[1-9][0-9]{0,15}):(?P<end>[1-9][0-9]{0,15})\Z", re.DOTALL)
_EMPTY = {
    "sha256": hashlib.sha256().hexdigest(),
    "blake3": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
}


@dataclass(frozen=True, slots=True)
class Read:
    """What a statement says about a model.

    Attributes:
        claim: The manifest that was signed, files in listed order.
        about: What else was signed; None in other tools' statements.
        single: The model is one file, whose name was not signed.
        algorithm: What the listed digests are.
        globals: The callables that each file may name, by file.
        remarks: What an old form leaves open, in sentences.
    """

    claim: Manifest
    about: About | None
    single: bool
    algorithm: str
    globals: Mapping[str, frozenset[str]]
    remarks: tuple[str, ...] = ()


def statement_of(
    manifest: Manifest,
    listing: Listing,
    *,
    about: About | None,
    single: bool,
    callables: Mapping[str, Collection[str]],
) -> Statement:
    """Say a manifest as OMS does; equal arguments give equal bytes.

    Raises:
        ArtifactError: The manifest lacks digests of the listing, or has nothing that can be listed.
    """
    entries: list[tuple[str, str, dict[str, object]]] = []
    for file in manifest.files:
        notes = _annotations(file, manifest, listing, callables.get(file.name))
        for name, digest in _listed(file, SINGLE if single else file.name, listing):
            entries.append((name, digest, notes))
            notes = {}  # they stand at the first range of a file
    if not entries:
        raise ArtifactError(f"model {manifest.name} holds no byte, and shards list bytes only; list whole files")
    entries.sort(key=lambda one: one[0])  # OMS 5.2.1: by code point, so that a file's first range is before its others
    entries[0][2].update(_about(manifest, listing, about))
    resources: list[dict[str, object]] = [
        {"name": name, "algorithm": listing.algorithm, "digest": digest, **({"annotations": notes} if notes else {})}
        for name, digest, notes in entries
    ]
    serialization: dict[str, object] = {
        "method": "shards" if listing.shard_size else "files",
        "hash_type": listing.algorithm,
        "allow_symlinks": False,
        "ignore_paths": sorted(manifest.ignore),
    }
    if listing.shard_size:
        serialization["shard_size"] = listing.shard_size
    subject = Subject(manifest.name, {"sha256": root_of([str(one["digest"]) for one in resources])})
    return Statement((subject,), PREDICATE, {"resources": resources, "serialization": serialization})


def read(statement: Statement, *, what: str) -> Read:
    """Read a manifest from a statement of the present form.

    Raises:
        BundleError: The statement holds no such manifest, or contradicts itself.
    """
    predicate = canonical.record(statement.predicate, ("resources", "serialization"), what=what)
    listing, ignore = _serialization(predicate["serialization"], what)
    values = canonical.sequence(predicate["resources"], what=what)
    if len(statement.subjects) != 1 or not values:
        raise malformed(what, "it must be about one model with at least one file")
    subject = statement.subjects[0]
    resources = [_resource(value, listing, what) for value in values]
    if subject.digest.get("sha256") != root_of([one.digest for one in resources]):
        raise malformed(what, "its root digest is not that of the files it lists")
    single = {one.name for one in resources} == {SINGLE} and (len(resources) == 1 or bool(listing.shard_size))
    if single:
        resources = [replace(one, name=subject.name) for one in resources]
    first = resources[0].annotations
    about = About.take(first["assay"], what=what) if "assay" in first else None
    with refusing(what):
        grouped = _grouped(resources)
        files = [_file(name, ranges, listing, what) for name, ranges in grouped.items()]
        files += _empty_files(first, listing, what)
        tensors = tuple(tensor for one in resources for tensor in _tensors(one, what))
        left_out = _left_out(files) if ignore is None else ignore
        claim = Manifest(subject.name, tuple(files), tensors, left_out)
    remarks = (_UNSAID,) if ignore is None else ()
    return Read(claim, about, single, listing.algorithm, _callables(resources, what), remarks)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn what the values refuse (duplicate names, odd names, digests of the wrong length) into our error."""
    try:
        yield
    except ArtifactError as err:
        raise malformed(what, err.message) from err


def root_of(digests: Sequence[str]) -> str:
    """SHA-256 over the digests in listed order, whatever they are (OMS v1.0, 6.5.1); hexadecimal."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


@dataclass(frozen=True, slots=True)
class _Resource:
    """One entry as listed: a file, or bytes ``start`` to ``end`` of one."""

    name: str
    digest: str
    annotations: Mapping[str, object]
    start: int = 0
    end: int = 0


def _listed(file: FileDigest, name: str, listing: Listing) -> Iterator[tuple[str, str]]:
    if listing.usual:
        digest = file.sha256 if listing.algorithm == "sha256" else file.blake3
        if not digest:
            raise ArtifactError(f"{file.name} has no {listing.algorithm} digest, so it cannot be signed with it")
        yield name, digest
        return
    if file.listed is None or file.listed.listing != listing:
        raise ArtifactError(f"{file.name} has not been measured as it is to be listed")
    if not listing.shard_size:
        yield name, file.listed.digests[0]
        return
    size = file.size or 0
    for position, digest in enumerate(file.listed.digests):
        start = position * listing.shard_size
        yield f"{name}:{start}:{min(start + listing.shard_size, size)}", digest


def _about(manifest: Manifest, listing: Listing, about: About | None) -> dict[str, object]:
    """What is said once, at the first entry."""
    notes: dict[str, object] = {} if about is None else {"assay": about.as_json()}
    empty = sorted(file.name for file in manifest.files if file.size == 0)
    if listing.shard_size and empty:
        notes["empty"] = empty
    return notes


def _annotations(
    file: FileDigest, manifest: Manifest, listing: Listing, callables: Collection[str] | None
) -> dict[str, object]:
    annotations: dict[str, object] = {"size": file.size, "blake3": file.blake3}
    if listing != Listing():
        annotations["sha256"] = file.sha256
    tensors = [_tensor(one) for one in manifest.by_file.get(file.name, {}).values()]
    if tensors:
        annotations["tensors"] = tensors
    if callables is not None:
        annotations["globals"] = sorted(callables)
    return annotations


def _tensor(one: TensorDigest) -> dict[str, object]:
    tensor: dict[str, object] = {
        "name": one.name,
        "dtype": one.dtype,
        "shape": list(one.shape),
        "start": one.start,
        "end": one.end,
        "blake3": one.blake3,
    }
    # A tensor without it has its elements as they lie there; what is no tensor says so by its type.
    return tensor if one.content in ("", one.blake3) else {**tensor, "content": one.content}


def _serialization(value: object, what: str) -> tuple[Listing, tuple[str, ...] | None]:
    found = canonical.record(
        value, ("method", "hash_type", "allow_symlinks"), ("ignore_paths", "shard_size"), what=what
    )
    method, algorithm = found["method"], found["hash_type"]
    if method not in ("files", "shards"):
        raise malformed(what, f"it signs {str(method)[:40]!r}, wanted 'files' or 'shards'")
    if ("shard_size" in found) != (method == "shards"):
        raise malformed(what, "a shard size goes with shards, and shards with a shard size")
    size = _shard_size(found["shard_size"], what) if method == "shards" else 0
    if size and isinstance(algorithm, str):  # model_signing 0.3 to 1.0
        algorithm = algorithm.removesuffix(f"-sharded-{size}")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise malformed(what, f"its digests are {str(algorithm)[:40]!r}, wanted one of {', '.join(ALGORITHMS)}")
    if not isinstance(found["allow_symlinks"], bool):
        raise malformed(what, "allow_symlinks is neither true nor false")
    if "ignore_paths" not in found:
        return Listing(algorithm, size), None
    names = [canonical.string(one, what=what) for one in canonical.sequence(found["ignore_paths"], what=what)]
    if len(names) > _MAX_IGNORED:
        raise malformed(what, f"it leaves out {len(names)} paths, more than {_MAX_IGNORED}")
    inside = [posixpath.normpath(name) for name in names]
    if "." in inside:
        raise malformed(what, "it leaves the whole model out")
    # Names outside the model are nothing to leave out; some releases list the signature's own path there.
    kept = {name for name in inside if not name.startswith(("/", "../")) and name != ".."}
    return Listing(algorithm, size), tuple(sorted(kept))


def _left_out(files: Sequence[FileDigest]) -> tuple[str, ...]:
    """What is left out where the signature does not say, but for what it lists."""
    return tuple(sorted({*_REPOSITORY} - {file.name.split("/")[0] for file in files}))


def _shard_size(value: object, what: str) -> int:
    # model_signing writes the size through a protobuf Struct, which knows no whole numbers: 1000000000.0
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    size = canonical.whole(whole, what=what)
    if size == 0:
        raise malformed(what, "its shards have no bytes")
    return size


def _resource(value: object, listing: Listing, what: str) -> _Resource:
    # A resource is an in-toto descriptor: fields we do not know are allowed there and not obeyed.
    if not isinstance(value, dict):
        raise malformed(what, "a resource is no object")
    name = canonical.string(value.get("name"), what=what)
    accepted = [listing.algorithm]
    if listing.shard_size:  # as every release of model_signing calls it; the specification has the plain name
        accepted.append(f"{listing.algorithm}-sharded-{listing.shard_size}")
    if value.get("algorithm") not in accepted:
        raise malformed(what, f"the digest of {name[:80]!r} is not {listing.algorithm} as the rest")
    digest = canonical.hexadecimal(value.get("digest"), ALGORITHMS[listing.algorithm], what=what)
    annotations = value.get("annotations", {})
    if not isinstance(annotations, dict):
        raise malformed(what, f"the annotations of {name[:80]!r} are no object")
    if not listing.shard_size:
        return _Resource(name, digest, annotations)
    found = _SHARD.match(name)
    if found is None:
        raise malformed(what, f"{name[:80]!r} does not say which bytes of a file it is")
    return _Resource(found["name"], digest, annotations, int(found["start"]), int(found["end"]))


def _grouped(resources: Sequence[_Resource]) -> dict[str, list[_Resource]]:
    grouped: dict[str, list[_Resource]] = {}
    for one in resources:
        grouped.setdefault(one.name, []).append(one)
    return grouped


def _file(name: str, ranges: list[_Resource], listing: Listing, what: str) -> FileDigest:
    ranges.sort(key=lambda one: one.start)
    notes = ranges[0].annotations
    size = canonical.whole(notes["size"], what=what) if "size" in notes else None
    known = {word: canonical.hexadecimal(notes[word], 64, what=what) for word in ("sha256", "blake3") if word in notes}
    if not listing.shard_size:
        if len(ranges) != 1:
            raise malformed(what, f"it lists {name[:80]!r} twice")
        if listing.usual:
            if known.setdefault(listing.algorithm, ranges[0].digest) != ranges[0].digest:
                raise malformed(what, f"it gives {name[:80]!r} two digests of one kind")
            return FileDigest(name, size, known.get("sha256", ""), known.get("blake3", ""))
    else:
        _check_ranges(name, ranges, listing.shard_size, what)
        if size is not None and size != ranges[-1].end:
            raise malformed(what, f"the shards of {name[:80]!r} end elsewhere than its size says")
        size = ranges[-1].end
    listed = Listed(listing, tuple(one.digest for one in ranges))
    return FileDigest(name, size, known.get("sha256", ""), known.get("blake3", ""), listed)


def _check_ranges(name: str, ranges: Sequence[_Resource], size: int, what: str) -> None:
    """Every byte in exactly one shard, all of one size but the last."""
    for position, one in enumerate(ranges):
        last = position == len(ranges) - 1
        length = one.end - one.start
        if one.start != position * size or not 0 < length <= size or (length < size and not last):
            raise malformed(what, f"the shards of {name[:80]!r} leave bytes out or overlap")


def _empty_files(first: Mapping[str, object], listing: Listing, what: str) -> list[FileDigest]:
    """Files without a byte, which shards cannot list: ours are named apart, others' were never signed."""
    if not listing.shard_size or "empty" not in first:
        return []
    names = [canonical.string(one, what=what) for one in canonical.sequence(first["empty"], what=what)]
    return [FileDigest(name, 0, **_EMPTY, listed=Listed(listing, ())) for name in names]


def _tensors(resource: _Resource, what: str) -> list[TensorDigest]:
    if resource.start:  # only the first range of a file speaks of its tensors
        return []
    found: list[TensorDigest] = []
    for value in canonical.sequence(resource.annotations.get("tensors", []), what=what):
        one = canonical.record(value, _TENSOR, ("content",), what=what)
        dtype = canonical.string(one["dtype"], what=what)
        blake3 = canonical.hexadecimal(one["blake3"], 64, what=what)
        content = canonical.hexadecimal(one["content"], 64, what=what) if "content" in one else blake3
        found.append(
            TensorDigest(
                file=resource.name,
                name=canonical.string(one["name"], what=what, empty=True),  # safetensors lets a tensor have no name
                dtype=dtype,
                shape=tuple(canonical.whole(size, what=what) for size in canonical.sequence(one["shape"], what=what)),
                start=canonical.whole(one["start"], what=what),
                end=canonical.whole(one["end"], what=what),
                blake3=blake3,
                content="" if dtype == OPAQUE else content,
            )
        )
    return found


def _callables(resources: Sequence[_Resource], what: str) -> dict[str, frozenset[str]]:
    return {
        one.name: frozenset(
            canonical.string(word, what=what) for word in canonical.sequence(one.annotations["globals"], what=what)
        )
        for one in resources
        if "globals" in one.annotations and not one.start
    }
