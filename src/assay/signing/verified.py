"""A model that was verified: the only thing that loads, and only the bytes that were checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, overload

from assay.artifacts.compare import compare
from assay.artifacts.manifest import Manifest
from assay.artifacts.names import shown
from assay.artifacts.reading import TensorReader, lazily_readable
from assay.artifacts.snapshot import Snapshot
from assay.errors import ArtifactError, AssayError, VerificationError
from assay.findings import Finding, Severity
from assay.signing.about import About
from assay.signing.bundle import Bundle
from assay.signing.sign import Log

if TYPE_CHECKING:
    from assay.frameworks.apart import Apart
    from assay.frameworks.base import Predictor
    from assay.frameworks.safetensors import Tensors

_SHOWN = 5  # reasons in the message; all are in ``findings``
_LOGGED = 50  # reasons in the log entry


@dataclass(frozen=True, slots=True)
class Case:
    """One verification: what is looked at, and who hears of a refusal."""

    path: Path
    signature: Path
    name: str | None
    ignore: tuple[Path | str, ...]
    now: datetime
    log: Log | None
    on_refusal: Callable[[VerificationError], None] | None

    def refuse(
        self, findings: Sequence[Finding], *, name: str, kind: type[VerificationError] = VerificationError
    ) -> VerificationError:
        """Make the error with every reason, tell the log and the caller, and give it back to be raised."""
        details = [finding.detail for finding in findings]
        more = f"; and {len(details) - _SHOWN} more" if len(details) > _SHOWN else ""
        message = f"{shown(str(self.path))} is refused: {'; '.join(details[:_SHOWN])}{more}"
        every = list(findings)
        if self.log is not None:
            data: dict[str, object] = {
                "path": shown(str(self.path)),
                "signature": shown(str(self.signature)),
                "reasons": len(every),
                "findings": [finding.as_json() for finding in every[:_LOGGED]],
            }
            try:
                self.log.append("verify.refused", name, data, actor="verify", now=self.now)
            except AssayError as err:  # a log that cannot be written must not turn a refusal into something else
                detail = f"this refusal could not be logged: {err.message}"
                every.append(Finding("audit.not-logged", name, Severity.CRITICAL, detail))
        error = kind(message, every)
        if self.on_refusal is not None:
            self.on_refusal(error)
        return error


@dataclass(frozen=True, slots=True)
class Passed:
    """What a verification found out.

    Attributes:
        claim: The signed manifest, with the name of a single file filled in.
        root: Root digest of the files as they are here.
        identity: Who signed.
        key_id: With which key.
        checked: By which digests of files: ``both`` SHA-256 and BLAKE3, or the one that it was.
        warnings: Worth knowing, no reason to refuse.
    """

    claim: Manifest
    root: str
    identity: str
    key_id: str
    checked: str
    warnings: tuple[Finding, ...]


class VerifiedModel:
    """A model whose bytes and signer were checked. Made by :func:`verify` only; the only thing that loads.

    Attributes:
        manifest: The signed manifest.
        root: Root digest of the files as they are here.
        about: Name, version, expiry and companion statements; None when the signature says none.
        signer: Who signed, as the trust store or certificate names them.
        key_id: Hex SHA-256 of the signer's public PEM text; "" when nobody checked.
        checked: Which digests of the files were held against the signed ones: ``both`` (SHA-256 and
            BLAKE3), ``sha256``, ``blake3``, or ``blake2b``. A signer can have signed two contents at
            once, one by each digest; only ``both`` tells.
        payload: SHA-256 of all that was signed, hexadecimal: tells this signature's content from any other.
    """

    def __init__(self, case: Case, bundle: Bundle, passed: Passed, snapshot: Snapshot | None) -> None:
        self._case = case
        self._snapshot = snapshot
        self._reader: TensorReader | None = None
        self._types = _by_file(bundle, passed.claim)
        self.manifest = passed.claim
        self.root = passed.root
        self.about: About | None = bundle.about
        self.signer = passed.identity
        self.key_id = passed.key_id
        self.checked = passed.checked
        self.payload = payload_digest(bundle)
        self._warnings = list(passed.warnings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth knowing though it is no reason to refuse."""
        return tuple(self._warnings)

    @overload
    def load(self, framework: Literal["safetensors"]) -> Tensors: ...

    @overload
    def load(self, framework: str) -> Predictor: ...

    def load(self, framework: str) -> Predictor:
        """Open the verified bytes; never the files on disk, which somebody could have swapped by now.

        Where the signature lists the tensors' digests and no copy is held, ``safetensors`` takes
        none: each tensor is read, and checked against its signed digest, when it is asked for.

        Args:
            framework: A plug of ``frameworks/``, or ``package.module:function``.

        Raises:
            VerificationError: The model was not held and its files have changed since.
            LoadError: The framework cannot open these bytes.
        """
        from assay.frameworks.base import TensorFramework, VouchedFramework
        from assay.frameworks.shelf import find

        plug = find(framework)
        if self._snapshot is None and isinstance(plug, TensorFramework) and lazily_readable(self.manifest):
            return plug.open_tensors(self._tensors())
        if isinstance(plug, VouchedFramework):
            return plug.open_vouched(self._held(), self._vouched())
        return plug.open(self._held())

    def load_apart(self, framework: str, *, limit_s: float) -> Apart:
        """Open the verified bytes in a process of its own: what the model does there can neither hang nor crash this.

        The process has the bytes for itself: this model may be closed once it is started.

        Args:
            framework: As `load` takes it; a model that is asked, no bare tensors.
            limit_s: Seconds that all waiting for it together may take.

        Raises:
            VerificationError: The model was not held and its files have changed since.
            LoadError: No process can be started.
        """
        from assay.frameworks.apart import Apart

        return Apart(framework, self._held(), self._vouched(), limit_s=limit_s)

    def _vouched(self) -> dict[str, frozenset[str]]:
        """The signed types of each file, without those that no model needs: nobody can vouch for these."""
        if not any(self._types.values()):
            return {}
        from assay.artifacts.scan.verdicts import Verdict, judge

        return {
            file: frozenset(
                f"{module}.{name}"
                for module, _, name in (one.partition(" ") for one in types)
                if judge(module, name) is not Verdict.DANGEROUS
            )
            for file, types in self._types.items()
        }

    def files(self) -> Snapshot:
        """The sealed copy of the verified files, for what opens them itself; gone after :meth:`close`.

        Raises:
            VerificationError: The model was not held and its files have changed since.
            ArtifactError: The copy cannot be made.
        """
        return self._held()

    def _tensors(self) -> TensorReader:
        if self._reader is None:
            name = name_of(self.about, self.manifest)
            with refusing(self._case):
                self._reader = TensorReader(
                    self._case.path,
                    self.manifest,
                    signature=self._case.signature,
                    refuse=lambda findings: self._case.refuse(findings, name=name),
                )
        return self._reader

    def _held(self) -> Snapshot:
        if self._snapshot is not None:
            return self._snapshot
        with ExitStack() as undo:
            snapshot = undo.enter_context(take_snapshot(self._case, self.manifest.ignore))
            # Only the bytes can have changed since: the signed manifest is in memory.
            differences = compare(self.manifest, snapshot.manifest())
            if differences:
                raise self._case.refuse(differences, name=name_of(self.about, self.manifest))
            undo.pop_all()
        if not snapshot.sealed:
            detail = "this kernel has no sealed memory: the copy that is loaded lies in a private folder"
            self._warnings.append(Finding("load.unsealed", self.manifest.name, Severity.WARNING, detail))
        self._snapshot = snapshot
        return snapshot

    def close(self) -> None:
        """Let go of the held bytes; a loaded model that maps them must not be used afterwards."""
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def take_snapshot(case: Case, ignore: tuple[str, ...]) -> Snapshot:
    """Copy and seal what is verified; what is wrong with the files is a refusal."""
    with refusing(case):
        return Snapshot.of(case.path, ignore=(*case.ignore, *ignore), signature=case.signature)


@contextmanager
def refusing(case: Case) -> Iterator[None]:
    """Turn what is wrong with the files into a refusal; a path that leads nowhere stays the caller's error."""
    try:
        yield
    except ArtifactError as err:
        if not err.findings:
            raise
        raise case.refuse(err.findings, name=shown(case.path.name)) from err


def _by_file(bundle: Bundle, claim: Manifest) -> dict[str, frozenset[str]]:
    """What each file may name, by the file's name here: a signature of a single file leaves the name open."""
    if bundle.single:
        return {file.name: frozenset().union(*bundle.globals.values()) for file in claim.files}
    return dict(bundle.globals)


def payload_digest(bundle: Bundle) -> str:
    """Return the SHA-256 of what was signed, hexadecimal."""
    return hashlib.sha256(bundle.envelope.payload).hexdigest()


def name_of(about: About | None, claim: Manifest) -> str:
    """Return the signed name of a model, else that of its folder."""
    return shown(claim.name) if about is None else about.name
