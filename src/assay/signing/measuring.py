"""Measure a model the way its signature lists it, and no more than must be measured."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from assay.artifacts.compare import compare
from assay.artifacts.digest import Wanted, chunks
from assay.artifacts.hashing import Report
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure, measure_again
from assay.artifacts.places import at_signed_places, unreadable
from assay.artifacts.reading import measure_rest
from assay.artifacts.relist import on_disk, relist
from assay.artifacts.snapshot import Snapshot
from assay.findings import Finding, Severity
from assay.signing.bundle import Bundle
from assay.signing.verified import Case, name_of, refusing


def measured(case: Case, bundle: Bundle, *, thorough: bool, report: Report | None) -> Manifest:
    """Measure what lies at the path.

    By BLAKE3 of files alone where the signature lists it and nothing more is asked for; whenever
    that finds a difference, all is measured, so that the refusal names every tensor.

    Args:
        case: Where the files are.
        bundle: What was signed.
        thorough: Measure SHA-256 and tensors too, whatever the first look says.
        report: Called with the number of bytes hashed since the last call.
    """
    ignore = (*case.ignore, *bundle.claim.ignore)
    claim = _here(case, bundle)
    listed = claim.listing is None
    with refusing(case):
        if not thorough and all(file.blake3 for file in claim.files):
            again = measure_again(case.path, claim, ignore=ignore, signature=case.signature, report=report)
            if again is not None:
                return again
        # What the signature does not list is not compared, so it need not be measured.
        unlisted = listed and not claim.tensors and not any(file.blake3 for file in claim.files)
        wanted: Wanted = "sha256" if unlisted else "both"
        return measure(case.path, ignore=ignore, signature=case.signature, collect=True, wanted=wanted, report=report)


def all_but_tensors(case: Case, bundle: Bundle) -> Manifest:
    """Measure what lies at the path but for the tensors that are checked when they are loaded."""
    ignore = (*case.ignore, *bundle.claim.ignore)
    with refusing(case):
        return measure_rest(case.path, _here(case, bundle), ignore=ignore, signature=case.signature)


def root(claim: Manifest) -> str:
    """Return the root digest of what was signed with the files by code point, whatever order they were listed in."""
    files = sorted(claim.files, key=lambda file: file.name)
    return claim.root if files == list(claim.files) else replace(claim, files=tuple(files)).root


def whole(claim: Manifest) -> bool:
    """Return whether SHA-256 of every whole file was signed, as it is listed or beside that."""
    return all(file.sha256 for file in claim.files)


def checked(claim: Manifest, found: Manifest) -> str:
    """Return which digests were held against each other for every file."""
    pairs = [(file, found.by_name[file.name]) for file in claim.files]
    sha256 = all(signed.sha256 and have.sha256 for signed, have in pairs)
    blake3 = all(signed.blake3 and have.blake3 for signed, have in pairs)
    if claim.listing is not None and not sha256 and not blake3:
        return claim.listing.algorithm
    return "both" if sha256 and blake3 else "sha256" if sha256 else "blake3"


def relisted(
    case: Case, bundle: Bundle, found: Manifest, snapshot: Snapshot | None, *, thorough: bool = True
) -> Manifest:
    """What was found, with the digests that this signature lists: shards or BLAKE2b are not measured otherwise.

    Where it also lists BLAKE3 of whole files and that is enough, they are read only to say what differs.
    """
    listing = bundle.claim.listing
    if listing is None:
        return found
    claim, _ = claim_for(bundle, found)
    if not thorough and not compare(claim, found):
        return found
    wanted = {file.name: len(file.listed.digests) for file in claim.files if file.listed is not None}
    if snapshot is not None:
        return relist(found, listing, lambda name: chunks(snapshot.view(name)), at_most=wanted)
    ignore = (*case.ignore, *bundle.claim.ignore)
    with refusing(case), on_disk(case.path, ignore=ignore, signature=case.signature) as read:
        return relist(found, listing, read, at_most=wanted)


def located(case: Case, bundle: Bundle, found: Manifest, snapshot: Snapshot | None) -> Manifest:
    """What was found, and where the signed tensors lay what lies there now when their container cannot be read."""
    claim, _ = claim_for(bundle, found)
    if not unreadable(claim, found):
        return found
    if snapshot is not None:
        return at_signed_places(claim, found, lambda name: chunks(snapshot.view(name)))
    ignore = (*case.ignore, *bundle.claim.ignore)
    with refusing(case), on_disk(case.path, ignore=ignore, signature=case.signature) as read:
        return at_signed_places(claim, found, read)


def completed(claim: Manifest, found: Manifest) -> Manifest:
    """The claim with the digests measured where it has none of its own, once both are known to be the same bytes."""
    if claim.listing is None:
        return claim
    pairs = ((file, found.by_name[file.name]) for file in claim.files)
    files = (
        replace(signed, sha256=signed.sha256 or have.sha256, blake3=signed.blake3 or have.blake3)
        for signed, have in pairs
    )
    return replace(claim, files=tuple(files))


def claim_for(bundle: Bundle, found: Manifest) -> tuple[Manifest, list[Finding]]:
    """The signed manifest with the name of a single file filled in, which its signature leaves open."""
    if not bundle.single:
        return bundle.claim, []
    if [file.name for file in found.files] != [found.name]:
        detail = "the signature is of a single file, but a folder was found"
        name = name_of(bundle.about, bundle.claim)
        return bundle.claim, [Finding("signature.single-file", name, Severity.CRITICAL, detail)]
    return _named(bundle, found.name), []


def _named(bundle: Bundle, name: str) -> Manifest:
    if not bundle.single:
        return bundle.claim
    (file,) = bundle.claim.files
    tensors = tuple(replace(tensor, file=name) for tensor in bundle.claim.tensors)
    return replace(bundle.claim, files=(replace(file, name=name),), tensors=tensors)


def _here(case: Case, bundle: Bundle) -> Manifest:
    """The signed manifest as it must be at this path."""
    return _named(bundle, Path(os.path.abspath(case.path)).name)  # noqa: PTH100  a link keeps its own name
