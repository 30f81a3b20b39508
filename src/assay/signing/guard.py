"""A guard over a running model: its weights in memory are hashed again and again, in the background.

What verification cannot see: a bit that flips in memory, and whoever writes into the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from blake3 import blake3

from assay.artifacts.manifest import Manifest
from assay.artifacts.names import shown
from assay.errors import AssayError
from assay.findings import Finding, Severity
from assay.frameworks.resident import Resident, residents
from assay.signing.sign import Log
from assay.signing.verified import VerifiedModel, name_of
from assay.storage.clock import parse_span, utc_text

_SHORTEST_SLEEP_S = 0.005  # less is not worth going to sleep for


class Guard:
    """Hashes a loaded model's weights in a thread of its own and reports a tensor that changed.

    A tensor whose name, type and shape are in the signature is held against its signed content,
    from the first pass on. Every other one is held against what it was in the first pass
    (:attr:`unsigned` names them). It sees NumPy arrays, PyTorch tensors on any device and the
    arrays of scikit-learn estimators; models that live in another library's memory (ONNX Runtime,
    XGBoost, LightGBM) cannot be guarded. What runs as this process can stop the guard as well.

    Args:
        loaded: What ``VerifiedModel.load`` gave, or a network, estimator or mapping made from it.
        signed: The verified model, or its manifest.
        every: A pass begins this long after the last one began: ``"10s"``, ``"5m"``, or a span.
        budget: Share of one core that hashing may take, above 0 and at most 1. Where it is too
            little for ``every``, passes take longer; :attr:`pass_s` says how long.
        on_change: Called in the guard's thread with each finding.
        log: Gets an entry ``guard.changed`` for each finding.
        ignore: Names of tensors that may change, caches for instance.
        now: The clock, timezone-aware.

    Raises:
        ValueError: There is nothing in memory to guard, or the budget is no share.
        TypeError: The tensors are read from disk each time: guard what their ``arrays()`` gives.
        ConfigError: ``every`` is no span.
    """

    def __init__(
        self,
        loaded: object,
        signed: VerifiedModel | Manifest,
        *,
        every: str | timedelta = "10s",
        budget: float = 0.01,
        on_change: Callable[[Finding], object] | None = None,
        log: Log | None = None,
        ignore: Collection[str] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not 0 < budget <= 1:
            raise ValueError(f"the budget is a share of one core, above 0 and at most 1, not {budget}")
        self._loaded, self._ignored = loaded, frozenset(ignore)
        self._every_s = (parse_span(every) if isinstance(every, str) else every).total_seconds()
        self._budget, self._on_change, self._log, self._now = budget, on_change, log, now
        manifest = signed.manifest if isinstance(signed, VerifiedModel) else signed
        self._name = name_of(signed.about, manifest) if isinstance(signed, VerifiedModel) else shown(manifest.name)
        guarded = self._residents()
        if not guarded:  # nothing to hash would otherwise be nothing wrong
            raise ValueError("no arrays or tensors of this model can be reached in memory: there is nothing to guard")
        self._guarded = {one.name: (one.dtype, one.shape) for one in guarded.values()}
        contents = _contents(manifest)
        self._expected: dict[str, str] = {}
        self._files: dict[str, str] = {}
        for one in guarded.values():
            if (one.name, one.dtype, one.shape) in contents:
                self._files[one.name], self._expected[one.name] = contents[one.name, one.dtype, one.shape]
        self.unsigned: tuple[str, ...] = tuple(name for name in self._guarded if name not in self._expected)
        self._last: dict[str, str] = {}
        self._findings: list[Finding] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.passes = 0
        self.pass_s: float | None = None
        self.checked_at: datetime | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What changed since the guard was made, and what went wrong with telling it."""
        return tuple(self._findings)

    @property
    def running(self) -> bool:
        """Whether the thread is alive. Watch :attr:`checked_at` too: when the last whole pass ended."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin hashing in the background.

        Raises:
            ValueError: It runs already.
        """
        if self.running:
            raise ValueError("this guard runs already")
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="assay-guard", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the slice in hand; a second call does nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> tuple[Finding, ...]:
        """One whole pass, now and without a budget; returns what this pass found."""
        before = len(self._findings)
        self._pass(lambda: None)
        return tuple(self._findings[before:])

    def _residents(self) -> Mapping[str, Resident]:
        return {one.name: one for one in residents(self._loaded) if one.name not in self._ignored}

    def _run(self) -> None:
        while not self._stop.is_set():
            begun, pace = time.monotonic(), _Pace(self._budget, self._stop)
            try:
                self._pass(pace)
            except Exception as err:  # noqa: BLE001  a guard that died of an odd tensor would guard nothing, unseen
                detail = f"a pass over the weights failed ({type(err).__name__}): it is tried again"
                self._tell(Finding("guard.failed", self._name, Severity.ERROR, detail))
            self._stop.wait(max(self._every_s - (time.monotonic() - begun), _SHORTEST_SLEEP_S))

    def _pass(self, pace: Callable[[], None]) -> None:
        begun = time.monotonic()
        there = self._residents()
        for name, kind in self._guarded.items():
            if name not in there or (there[name].dtype, there[name].shape) != kind:
                found, what = "", "is no longer there, or of another type or shape"
            else:
                digest = _digest(there[name], pace, self._stop)
                if digest is None:
                    return
                found, what = digest, "has other values in memory"
            wanted = self._expected.setdefault(name, found)
            if found != wanted and self._last.get(name) != found:
                self._tell(self._changed(name, what))
            self._last[name] = found
        self.passes += 1
        self.pass_s = time.monotonic() - begun
        self.checked_at = self._now()

    def _changed(self, name: str, what: str) -> Finding:
        since = "when the model was signed" if name in self._files else "in the first pass of this guard"
        file = f" of {shown(self._files[name])}" if name in self._files else ""
        last = "never before" if self.checked_at is None else f"last at {utc_text(self.checked_at)}"
        detail = (
            f"tensor {shown(name)}{file} {what} than {since}; seen at {utc_text(self._now())}, all was checked {last}"
        )
        subject = f"{shown(self._files[name])}:{shown(name)}" if name in self._files else shown(name)
        return Finding("guard.tensor-changed", subject, Severity.CRITICAL, detail)

    def _tell(self, finding: Finding) -> None:
        """Keep, log and hand over a finding; trouble in one of these hides neither it nor the next."""
        if finding.rule in {one.rule for one in self._findings} - {"guard.tensor-changed"}:
            return
        self._findings.append(finding)
        if self._log is not None:
            data: dict[str, object] = {"findings": [finding.as_json()], "reason": finding.detail}
            try:
                self._log.append("guard.changed", self._name, data, actor="guard", now=self._now())
            except AssayError as err:
                detail = f"what the guard saw could not be logged: {err.message}"
                self._findings.append(Finding("audit.not-logged", self._name, Severity.CRITICAL, detail))
        if self._on_change is not None:
            try:
                self._on_change(finding)
            except Exception as err:  # noqa: BLE001  it is the caller's code, and the guard goes on whatever it raises
                detail = f"on_change failed ({type(err).__name__})"
                self._findings.append(Finding("guard.untold", self._name, Severity.ERROR, detail))


class _Pace:
    """Sleeps after each slice so long that the thread stays within its share of one core.

    Args:
        budget: The share.
        stop: Ends the sleep.
    """

    def __init__(self, budget: float, stop: threading.Event) -> None:
        self._budget, self._stop = budget, stop
        self._cpu_s, self._begun = time.thread_time(), time.monotonic()

    def __call__(self) -> None:
        used = time.thread_time() - self._cpu_s
        ahead = used / self._budget - (time.monotonic() - self._begun)
        if ahead > _SHORTEST_SLEEP_S:
            self._stop.wait(ahead)


def _digest(one: Resident, pace: Callable[[], None], stop: threading.Event) -> str | None:
    """BLAKE3 of the canonical bytes; None when told to stop."""
    run = blake3(max_threads=1)
    for piece in one.slices():
        if stop.is_set():
            return None
        run.update(piece)
        pace()
    return run.hexdigest()


def _contents(manifest: Manifest) -> Mapping[tuple[str, str, tuple[int, ...]], tuple[str, str]]:
    """File and content digest by name, type and shape; a name that two files give other contents says nothing.

    Nor does a tensor whose elements its container does not give away: its stored bytes are not those in memory.
    """
    found: dict[tuple[str, str, tuple[int, ...]], tuple[str, str]] = {}
    torn: set[tuple[str, str, tuple[int, ...]]] = set()
    for tensor in manifest.tensors:
        key, value = (tensor.name, tensor.dtype, tensor.shape), (tensor.file, tensor.content)
        if tensor.content and found.setdefault(key, value)[1] != tensor.content:
            torn.add(key)
    return {key: value for key, value in found.items() if key not in torn}
