"""Every error raised on purpose, with the exit code a command ends with.

Exit codes: 1 a check failed, 2 wrong use, 3 could not tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from assay.findings import Finding


class AssayError(Exception):
    """Something went wrong that a person can act on.

    The message says what was found, what was wanted and what to do. ``findings`` holds every
    reason, not the first one.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, findings: Iterable[Finding] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.findings: tuple[Finding, ...] = tuple(findings)


class ConfigError(AssayError):
    """assay.toml or a command's arguments cannot be used."""


class MissingExtraError(AssayError):
    """An optional package is not installed; the message says which extra brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed: run pip install 'assay[{extra}]'")
        self.extra = extra


class KeyFileError(AssayError):
    """A key cannot be read, is of an unsupported kind, or its passphrase is wrong."""


class TableError(AssayError):
    """A table is missing, unreadable, or lacks a column.

    ``files`` are the files that it is about, where it is about some of a table's; empty where nobody can tell.
    """

    def __init__(self, message: str, findings: Iterable[Finding] = (), *, files: Iterable[str] = ()) -> None:
        super().__init__(message, findings)
        self.files: tuple[str, ...] = tuple(files)


class ArtifactError(AssayError):
    """A model's files cannot be read or must not be signed (links, odd names, an empty folder)."""


class FormatError(AssayError):
    """A container's bytes are malformed."""

    exit_code: ClassVar[int] = 1


class VerificationError(AssayError):
    """The bytes, the signature or the signer are not what was wanted. ``findings`` has all reasons."""

    exit_code: ClassVar[int] = 1


class BundleError(VerificationError):
    """A signature bundle, envelope or statement is malformed."""


class LoadError(AssayError):
    """Verified bytes could not be opened by the framework plug."""


class LogError(AssayError):
    """The audit log is damaged, or an append could not be made durable."""

    exit_code: ClassVar[int] = 1


class StorageError(AssayError):
    """A database or a folder cannot be read or written (corrupt, locked, full, no permission)."""

    exit_code: ClassVar[int] = 3


class SuiteError(AssayError):
    """A validation suite is empty, cannot be loaded, or a check is ill-defined."""


class PolicyError(AssayError):
    """A release policy is empty, contradictory or not signed as it must be."""


class PolicyTamperedError(PolicyError):
    """The trust store or the policy is not what was set, logged or signed: somebody changed it."""

    exit_code: ClassVar[int] = 1


class ReleaseRefusedError(AssayError):
    """The gate does not admit the model: it may not go live."""

    exit_code = 1


class ApprovalError(AssayError):
    """An approval cannot be made: wrong key, unknown identity, nothing to approve."""


class BaselineError(AssayError):
    """A baseline is missing or cannot be learned from these rows."""

    exit_code: ClassVar[int] = 3


class AnswerError(AssayError):
    """A model behind an API cannot be asked, or did not answer as its description says."""

    exit_code: ClassVar[int] = 3


class FingerprintError(AssayError):
    """There is no fingerprint to hold a model against, or none can be recorded."""

    exit_code: ClassVar[int] = 3


class DiagnosisError(AssayError):
    """There is nothing to diagnose from."""

    exit_code: ClassVar[int] = 3


class IncidentError(AssayError):
    """No such incident, or the step is not allowed in its present state."""


class AlertError(AssayError):
    """An alert channel is misconfigured or did not take a message."""

    exit_code: ClassVar[int] = 1


class TimestampError(AssayError):
    """A timestamp authority cannot be reached, or its answer is no timestamp of what was asked."""

    exit_code: ClassVar[int] = 3


class DownloadError(AssayError):
    """Demo data could not be fetched or has other bytes than pinned."""

    exit_code: ClassVar[int] = 3
