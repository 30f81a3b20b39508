from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from types import ModuleType

import pytest

from assay.artifacts.scan import dangerous, harmless
from assay.artifacts.scan.verdicts import Verdict, judge, rules_digest, translated

WORST = (
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("__builtin__", "eval"),
    ("commands", "getoutput"),
    ("subprocess", "Popen"),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start"),
    ("sklearn.utils", "os.system"),
    ("sklearn.linear_model", "sys"),
    ("numpy", "core.multiarray.os.system"),
    ("torch.serialization", "os"),
    ("mypackage", "__builtins__"),
    ("mypackage.thing", "Model.__globals__"),
    ("numpy._core", "_ufunc_reconstruct"),
    ("torch.hub", "load_state_dict_from_url"),
    ("sklearn.utils._testing", "SomeClass"),
)
UNKNOWN = (
    ("mypackage", "Model"),
    ("sklearn.linear_model", "enet_path"),
    ("sklearn.utils.validation", "check_array"),
    ("sklearn.preprocessing", "Binarizer.transform"),
    ("sklearn.preprocessing", "Path"),
    ("sklearn.ensemble", "Parallel"),
    ("torch.nn.modules.module", "register_module_forward_hook"),
    ("numpy", "einsum"),
    ("", "x"),
    ("__main__", "Model"),
)
HARMLESS = (
    ("collections", "OrderedDict"),
    ("__builtin__", "set"),
    ("copy_reg", "_reconstructor"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("sklearn.linear_model.logistic", "LogisticRegression"),
    ("sklearn.linear_model._logistic", "LogisticRegression"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch.nn.modules.linear", "Linear"),
)


@pytest.mark.parametrize(("module", "name"), WORST)
def test_what_runs_or_loads_is_dangerous_by_any_way_to_it(module: str, name: str) -> None:
    assert judge(module, name) is Verdict.DANGEROUS


@pytest.mark.parametrize(("module", "name"), UNKNOWN)
def test_what_nobody_listed_is_unknown(module: str, name: str) -> None:
    assert judge(module, name) is Verdict.UNKNOWN


@pytest.mark.parametrize(("module", "name"), HARMLESS)
def test_what_models_are_made_of_is_harmless(module: str, name: str) -> None:
    assert judge(module, name) is Verdict.HARMLESS


def test_names_of_python_2_are_told_in_those_of_python_3() -> None:
    assert translated("__builtin__", "xrange") == ("builtins", "range")
    assert translated("commands", "getoutput") == ("subprocess", "getoutput")
    assert translated("numpy", "dtype") == ("numpy", "dtype")


def test_nothing_is_listed_as_both() -> None:
    for path in harmless.NAMES:
        module, _, name = path.rpartition(".")
        assert judge(module, name) is Verdict.HARMLESS, path
    assert not harmless.NAMES & dangerous.NAMES


def modules(*packages: str) -> Iterator[ModuleType]:
    for package in packages:
        top = importlib.import_module(package)
        yield top
        for found in pkgutil.walk_packages(top.__path__, f"{package}."):
            if ".tests" in found.name or "conftest" in found.name:
                continue
            try:
                yield importlib.import_module(found.name)
            except ImportError:
                continue


def test_no_function_and_no_foreign_class_is_harmless_by_pattern() -> None:
    """What is admitted by how it is written must be a class, and of the package it is written under."""
    ours = ("sklearn.", "scipy.", "numpy", "torch.nn")
    wrong, admitted = [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules("sklearn", "scipy.sparse", "torch.nn.modules"):
            for name, value in vars(module).items():
                path = f"{module.__name__}.{name}"
                if path in harmless.NAMES or judge(module.__name__, name) is not Verdict.HARMLESS:
                    continue
                admitted += 1
                home = str(getattr(value, "__module__", "")) + "."
                rebuilds = name.startswith("__pyx_unpickle_Cy") and home.startswith("sklearn._loss.")
                if isinstance(value, (float, int)) or home == "typing.":
                    continue  # a constant written in capitals, or a type
                if not rebuilds and not (inspect.isclass(value) and home.startswith(ours)):
                    wrong.append(f"{path} is {value!r} of {home}")
    assert admitted > 500
    assert wrong == []


def test_the_digest_of_the_rules_is_stable_within_a_release() -> None:
    assert len(rules_digest()) == 64
    assert rules_digest() == rules_digest()
