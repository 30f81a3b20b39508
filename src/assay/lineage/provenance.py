"""What a model was made from and with, as a statement to sign."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata

from assay.lineage.fingerprint import DatasetFingerprint
from assay.signing.statement import LINEAGE, Statement, Subject
from assay.storage.clock import utc_text


@dataclass(frozen=True, slots=True)
class Environment:
    """The software a model was made with.

    Attributes:
        python: Version of the language: ``3.11.7``.
        implementation: ``CPython`` and the like.
        system: Operating system, its release and the machine's architecture.
        packages: Version of each installed distribution, by its normalised name.
    """

    python: str
    implementation: str
    system: str
    packages: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "python": self.python,
            "implementation": self.implementation,
            "system": self.system,
            "packages": dict(self.packages),
        }


def environment() -> Environment:
    """The environment of this process: what is installed, whether or not it was imported."""
    found: dict[str, str] = {}
    for each in metadata.distributions():
        name = each.metadata["Name"]
        if name:  # a half-removed package leaves a folder without a name
            # The first on the path is the one that an import takes.
            found.setdefault(name.lower().replace("_", "-").replace(".", "-"), each.version)
    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages=dict(sorted(found.items())),
    )


def lineage_statement(
    fingerprint: DatasetFingerprint, model_root: str, made_with: Environment, *, created: datetime
) -> Statement:
    """Bind a model's root digest to the data it was trained on and the software it was trained with.

    Args:
        fingerprint: Of the training table; single rows stay in the sidecar, whose digest is inside.
        model_root: Root digest of the model's manifest, hex.
        made_with: The environment of the training run.
        created: When the statement is made: what its freshness is told from.
    """
    predicate = {"created": utc_text(created), "dataset": fingerprint.to_json(), "environment": made_with.to_json()}
    return Statement((Subject("model", {"sha256": model_root}),), LINEAGE, predicate)
