"""Co-signing a model of the project: a further person's signature where the policy asks for several."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from assay.keys.base import Signer
from assay.project.apart import keep_apart, place_of
from assay.project.integrity import copy_folder, open_copy, signers
from assay.project.people import must_count
from assay.project.project import Project
from assay.project.stamping import authorities
from assay.project.versions import LoggedVersions
from assay.signing.cosigning import cosign
from assay.signing.sign import Signed
from assay.signing.verify import verify as verify_path
from assay.storage.objects import Objects


def cosign_model(
    project: Project,
    name: str,
    signer: Signer,
    *,
    now: datetime,
    ignore: Sequence[Path] = (),
    signature: Path | None = None,
    second: Objects | None = None,
) -> tuple[Signed, dict[str, object]]:
    """Add a signature to a model's, and to that of its known-good copies; log it.

    Args:
        project: Whose model.
        name: Which.
        signer: Another key than those that signed it.
        now: The present.
        ignore: Paths that the signature leaves out.
        signature: Where its signature is; default beside it.
        second: The second store, in place of that of assay.toml.

    Returns:
        What was signed, and what else was done, by name, for the person who asked.

    Raises:
        ConfigError: There is no such model.
        VerificationError: The key's signature would not count, or the model is not what was signed so far.
        KeyFileError: The key has signed it already.
        StorageError: A copy could not be written.
    """
    model = project.config.model(name)
    must_count(project, name, signer.key_id, now=now)
    second = second or place_of(project, name, now=now)
    # A bad signature that gets a good one beside it stays bad: it is told before, not after.
    root = verify_path(
        model.path,
        signature=signature,
        signers=signers(project, name, at_least=1),
        name=name,
        ignore=ignore,
        now=now,
        versions=LoggedVersions(project),
        authorities=authorities(project.config),
        digests="both",
    ).root
    signed = cosign(
        model.path, signer, signature=signature, ignore=ignore, log=project.log, actor=project.actor, now=now
    )
    extra: dict[str, object] = {}
    if signed.about is not None:
        copy = copy_folder(project, name, signed.about.version, root)
        if copy.exists():
            shutil.copyfile(signed.bundle_path, copy / "model.sig")
            open_copy(project, name, copy, root=root, now=now, at_least=1).close()
            extra = {"version": signed.about.version, "known_good": str(copy)}
    return signed, {**extra, **keep_apart(project, name, signed, second, now=now)}
