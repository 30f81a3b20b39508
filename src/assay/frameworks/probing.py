"""Imports that probe for packages nobody needs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


@contextmanager
def without(package: str) -> Iterator[None]:
    """Import what is imported inside as if a package were not installed.

    For libraries that look for it only to walk past it, at the price of importing it: scikit-learn's list
    of all estimators, which skops reads, imports torch so. Only for this thread, and nothing when the package
    is there already; afterwards it can be imported as ever.
    """
    if package in sys.modules:
        yield
        return
    finder = _Absent(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Absent(MetaPathFinder):
    """Finds that a package is not there, when the thread that made it asks."""

    def __init__(self, package: str) -> None:
        self._package, self._thread = package, threading.get_ident()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system passes it
        target: ModuleType | None = None,  # noqa: ARG002 - the same
    ) -> ModuleSpec | None:
        """Nothing to say about others."""
        if fullname == self._package and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is not wanted here", name=fullname)
        return None
