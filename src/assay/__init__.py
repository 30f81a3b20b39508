"""assay: the integrity of machine-learning models in production.

The names below are the public face; each is imported from the module that defines it when it is
first asked for, so that ``import assay`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.artifacts.manifest import Manifest
    from assay.audit.log import AuditLog
    from assay.errors import AssayError, VerificationError
    from assay.findings import Finding, Severity
    from assay.keys.pem import load_private, read_public
    from assay.lineage.fingerprint import DatasetFingerprint, fingerprint
    from assay.monitoring.baseline import Baseline
    from assay.monitoring.recorder import Recorder
    from assay.monitoring.schema import PredictionSchema
    from assay.project.project import Project
    from assay.signing.guard import Guard
    from assay.signing.sign import sign
    from assay.signing.signers import AllOf, AnyOf, SignedBy, SignedByKey, UnsafeTrustAnyone
    from assay.signing.trust import TrustStore
    from assay.signing.verified import VerifiedModel
    from assay.signing.verify import verify
    from assay.validation.suite import Suite

__all__ = [
    "AllOf",
    "AnyOf",
    "AssayError",
    "AuditLog",
    "Baseline",
    "DatasetFingerprint",
    "Finding",
    "Guard",
    "Manifest",
    "PredictionSchema",
    "Project",
    "Recorder",
    "Severity",
    "SignedBy",
    "SignedByKey",
    "Suite",
    "TrustStore",
    "UnsafeTrustAnyone",
    "VerificationError",
    "VerifiedModel",
    "fingerprint",
    "load_private",
    "read_public",
    "sign",
    "verify",
]

_HOMES = {
    "assay.artifacts.manifest": ("Manifest",),
    "assay.audit.log": ("AuditLog",),
    "assay.errors": ("AssayError", "VerificationError"),
    "assay.findings": ("Finding", "Severity"),
    "assay.keys.pem": ("load_private", "read_public"),
    "assay.lineage.fingerprint": ("DatasetFingerprint", "fingerprint"),
    "assay.monitoring.baseline": ("Baseline",),
    "assay.monitoring.recorder": ("Recorder",),
    "assay.monitoring.schema": ("PredictionSchema",),
    "assay.project.project": ("Project",),
    "assay.signing.guard": ("Guard",),
    "assay.signing.sign": ("sign",),
    "assay.signing.signers": ("AllOf", "AnyOf", "SignedBy", "SignedByKey", "UnsafeTrustAnyone"),
    "assay.signing.trust": ("TrustStore",),
    "assay.signing.verified": ("VerifiedModel",),
    "assay.signing.verify": ("verify",),
    "assay.validation.suite": ("Suite",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # a type checker takes the imports above, and finds a misspelt name

    def __getattr__(name: str) -> object:
        """Import a public name from where it is defined, once."""
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'assay' has no attribute {name!r}")
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """What completion offers: the public names first of all."""
    return sorted({*globals(), *__all__})
