"""Suites that are written as Python files of the user's own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from assay.errors import AssayError, SuiteError
from assay.validation.suite import Suite


def load_suite(spec: str) -> Suite:
    """Run the file and take the suite of that name.

    The file is the user's own code and runs with the user's rights; never load one that came with a model.
    Relative paths inside it are relative to the working folder.

    Args:
        spec: ``checks/spam.py:suite``; without ``:NAME`` the name is ``suite``.

    Raises:
        SuiteError: There is no such file or name, the code fails, or the name is no suite.
    """
    file, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "suite")
    path = Path(file)
    if path.suffix != ".py" or not name.isidentifier():
        raise SuiteError(f"{spec!r} names no suite; wanted FILE.py:NAME")
    if not path.is_file():
        raise SuiteError(f"{path}: no such file; wanted a Python file with a Suite in it")
    module_name = f"assay_suite_{path.stem}"
    loader = importlib.util.spec_from_file_location(module_name, path)
    if loader is None or loader.loader is None:
        raise SuiteError(f"{path}: cannot be loaded as Python")
    module = importlib.util.module_from_spec(loader)
    before = sys.modules.get(module_name)
    sys.modules[module_name] = module  # dataclasses and pickling look their module up
    try:
        loader.loader.exec_module(module)
    except AssayError as err:
        raise SuiteError(f"{path}: {err.message}", err.findings) from err
    except (Exception, SystemExit) as err:  # the user's code: whatever it raises must not pass for a suite
        raise SuiteError(f"{path}: running it failed with {type(err).__name__}: {_where(err, path)}{err}") from err
    finally:
        if before is None:
            del sys.modules[module_name]
        else:
            sys.modules[module_name] = before
    found = getattr(module, name, None)
    if not isinstance(found, Suite):
        raise SuiteError(f"{path}: {name!r} is {_what(module, name)}, wanted an assay.validation.suite.Suite")
    return found


def _where(err: BaseException, path: Path) -> str:
    if isinstance(err, SyntaxError):
        return ""  # says so itself
    lines = []
    step = err.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            lines.append(step.tb_lineno)
        step = step.tb_next
    return f"line {lines[-1]}: " if lines else ""


def _what(module: object, name: str) -> str:
    return f"a {type(getattr(module, name)).__name__}" if hasattr(module, name) else "not there"
