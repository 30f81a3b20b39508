from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import BuiltinImporter
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
    before = list(sys.meta_path)
    with without(package):
        assert importlib.import_module(package).HERE
        assert sys.meta_path == before


def test_the_way_of_importing_is_as_before(package: str) -> None:
    before = list(sys.meta_path)
    with without(package):
        assert len(sys.meta_path) == len(before) + 1
    assert sys.meta_path == before


def test_only_that_package_is_absent(package: str, tmp_path: Path) -> None:
    """Others are found as ever, also one whose name begins alike; the error names the one that is not wanted."""
    (tmp_path / f"{package}_too.py").write_text("HERE = True\n", encoding="utf-8")
    with without(package):
        assert importlib.import_module(f"{package}_too").HERE
        with pytest.raises(ModuleNotFoundError) as absent:
            importlib.import_module(package)
    assert absent.value.name == package
    del sys.modules[f"{package}_too"]


def test_what_goes_wrong_inside_leaves_nothing_absent(package: str) -> None:
    with pytest.raises(ZeroDivisionError), without(package):
        raise ZeroDivisionError
    assert importlib.import_module(package).HERE


def test_finders_that_came_meanwhile_stay(package: str) -> None:
    other = BuiltinImporter()  # one more of them does no harm
    with without(package):
        sys.meta_path.insert(0, other)
    try:
        assert sys.meta_path[0] is other
        assert importlib.import_module(package).HERE
    finally:
        sys.meta_path.remove(other)
