from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.frameworks.probing import without


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that can be imported, but was not yet."""
    (tmp_path / "probed_for.py").write_text("HERE = True\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "probed_for"
    sys.modules.pop("probed_for", None)


def test_a_package_is_absent_inside_and_there_afterwards(package: str) -> None:
    with without(package), pytest.raises(ModuleNotFoundError, match="probed_for"):
        importlib.import_module(package)
    assert importlib.import_module(package).HERE


def test_other_threads_find_it_all_the_while(package: str) -> None:
    found: list[bool] = []
    with without(package):
        other = threading.Thread(target=lambda: found.append(importlib.import_module(package).HERE))
        other.start()
        other.join()
    assert found == [True]


def test_a_package_that_is_there_stays_there(package: str) -> None:
    importlib.import_module(package)
    with without(package):
        assert importlib.import_module(package).HERE


def test_the_way_of_importing_is_as_before(package: str) -> None:
    before = list(sys.meta_path)
    with without(package):
        assert len(sys.meta_path) == len(before) + 1
    assert sys.meta_path == before
