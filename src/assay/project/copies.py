"""The known-good copies of a model's versions: each verified and opened when it is first asked, in its own process."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from assay.errors import AssayError, LoadError
from assay.findings import Finding, Severity
from assay.frameworks.apart import Apart
from assay.frameworks.base import Prediction, Predictor
from assay.project import integrity
from assay.project.config import ModelConfig
from assay.project.project import Project
from assay.release.deployment import Deployment
from assay.signing.verified import VerifiedModel

if TYPE_CHECKING:
    import pyarrow as pa


MOST_IDLE = 2
"""Processes that stay open for the next run of an open process; each holds one model in memory."""


class _Idle:
    """Processes that nobody asks just now. To import a model's libraries takes longer than to ask it."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, ...], Apart] = {}
        atexit.register(self.close)

    def take(self, key: tuple[str, ...], limit_s: float) -> Apart | None:
        """The process of this copy, for one asker alone; None when there is none that lives."""
        waiting = self._waiting.pop(key, None)
        if waiting is None or waiting.renew(limit_s):
            return waiting
        waiting.close()
        return None

    def put(self, key: tuple[str, ...], process: Apart) -> None:
        """Let a process wait; the one that waits longest goes when there are too many."""
        before = self._waiting.pop(key, None)
        if before is not None:
            before.close()
        self._waiting[key] = process
        while len(self._waiting) > MOST_IDLE:
            self._waiting.pop(next(iter(self._waiting))).close()

    def close(self) -> None:
        """End them all."""
        while self._waiting:
            self._waiting.popitem()[1].close()


_IDLE = _Idle()


def kept_in(project: Project, name: str, version: Deployment) -> Path | None:
    """The folder of a version's known-good copy; None when it was deployed without one.

    Where assay.toml keeps copies now goes before the place that was recorded at the time: a project, or its copies,
    may have moved since. Either is verified before it is used.

    Args:
        project: Whose model.
        name: Which.
        version: The deployment.
    """
    if version.known_good is None:
        return None
    now_in = integrity.copy_folder(project, name, version.version, version.root)
    return now_in if now_in.is_dir() else Path(version.known_good)


class Copies(Mapping[str, Predictor]):
    """Known-good copies by root digest.

    None is opened before it is asked, and none that fails its verification is ever opened: `trouble` says
    which. Asking an entry of the mapping opens it; `opened` also says whether it could be. Use it as a
    context manager. A process that answered stays for the next run of this process; its copy is verified
    again all the same.
    """

    def __init__(self, project: Project, model: ModelConfig, history: Sequence[Deployment], now: datetime) -> None:
        self._project, self._model, self._now = project, model, now
        # The copy of an http model is of a description: behind it the same API would vouch for itself.
        able = model.framework is not None and model.framework != "http"
        self._kept = {one.root: one for one in history if able and one.known_good is not None}
        self._running: dict[str, Apart] = {}
        self._failed: dict[str, Finding] = {}

    @property
    def trouble(self) -> tuple[Finding, ...]:
        """Copies that are not what was signed or could not be opened, of those that were looked at."""
        return tuple(self._failed.values())

    def start(self, root: str | None) -> None:
        """Begin to verify and open a copy, without waiting for it."""
        if root in self._kept and root not in self._running and root not in self._failed:
            try:
                self._running[root] = self._begun(root)
            except AssayError as err:
                self._fails(root, err)

    def verify_all(self) -> None:
        """Verify every copy that is not open yet, without opening it: a rollback may need it one day."""
        for root in self._kept.keys() - self._running.keys() - self._failed.keys():
            try:
                self._verified(root).close()
            except AssayError as err:
                self._fails(root, err)

    def opened(self, root: str | None) -> Predictor | None:
        """The copy of this version, ready to be asked; None when there is none or it cannot be opened."""
        self.start(root)
        if root is None or root not in self._running:
            return None
        try:
            self._running[root].wait()
        except AssayError as err:
            self._running.pop(root).close()
            self._fails(root, err)
            return None
        return self._running[root]

    def why_none(self, root: str | None) -> str:
        """Why there is no copy of this version to ask, and what to do; "" when there is one."""
        name = self._model.name
        if root in self._failed:
            return self._failed[root].detail
        if root in self._kept:
            return ""
        if self._model.framework == "http":
            return f"behind an API nobody can put a copy beside it: watch its answers (`assay fingerprint {name}`)"
        if self._model.framework is None:
            return f"nothing says what opens a copy: set framework in [models.{name}]"
        if root is None:
            return f"no deployment is recorded, so which version answered is unknown: `assay deploy {name}` records it"
        return f"version {root[:12]} was deployed without a copy: `assay sign {name}` keeps one"

    def close(self) -> None:
        """Let go of the processes; those that answer wait for the next run of this process, a few of them."""
        for root, running in self._running.items():
            if running.renew(running.limit_s):
                _IDLE.put(self._key(root), running)
            else:
                running.close()
        self._running.clear()

    def _key(self, root: str) -> tuple[str, ...]:
        return (str(self._project.places.folder), self._model.name, str(self._model.framework), root)

    def _begun(self, root: str) -> Apart:
        assert self._model.framework is not None  # noqa: S101 - without one nothing is kept
        with self._verified(root) as verified:
            limit_s = self._model.monitor.replay_limit.total_seconds()
            waiting = _IDLE.take(self._key(root), limit_s)  # it was given the same bytes: the root is the same
            return waiting or verified.load_apart(self._model.framework, limit_s=limit_s)

    def _verified(self, root: str) -> VerifiedModel:
        folder = kept_in(self._project, self._model.name, self._kept[root])
        assert folder is not None  # noqa: S101 - only such are kept
        return integrity.open_copy(self._project, self._model.name, folder, root=root, now=self._now)

    def _fails(self, root: str, err: AssayError) -> None:
        what = f"the known-good copy of version {self._kept[root].version} was not opened: {err.message}"
        self._failed[root] = Finding("replay.no-copy", self._model.name, Severity.WARNING, what)

    def __getitem__(self, root: str) -> Predictor:
        if root not in self._kept:
            raise KeyError(root)
        return _OnAsking(self, root)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _OnAsking:
    """A copy that is opened when it is first asked."""

    copies: Copies
    root: str

    def predict(self, table: pa.Table) -> Prediction:
        """Predict every row.

        Raises:
            LoadError: The copy cannot be opened.
            TableError: The model cannot take these rows.
        """
        predictor = self.copies.opened(self.root)
        if predictor is None:
            why = next((one.detail for one in self.copies.trouble), "it cannot be opened")
            raise LoadError(f"the known-good copy {self.root[:12]} was not opened: {why}")
        return predictor.predict(table)
