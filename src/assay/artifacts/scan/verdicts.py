"""What a name in a pickle means: dangerous, harmless, or unknown. Pure."""

from __future__ import annotations

import hashlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from enum import StrEnum
from functools import lru_cache

from assay.artifacts.scan import dangerous, harmless

RULES_VERSION = 1


class Verdict(StrEnum):
    """What importing and calling something by name can do."""

    DANGEROUS = "dangerous"
    UNKNOWN = "unknown"
    HARMLESS = "harmless"


@lru_cache(maxsize=4096)
def judge(module: str, name: str) -> Verdict:
    """Judge something that a pickle imports.

    A pickle of protocol 2 or less may use Python 2's names, which the unpickler translates; what
    is dangerous in either reading is dangerous, whatever protocol the pickle claims.

    Args:
        module: As the pickle says it.
        name: As the pickle says it; dots lead from attribute to attribute.
    """
    if _judge(module, name) is Verdict.DANGEROUS:
        return Verdict.DANGEROUS
    return _judge(*translated(module, name))


def translated(module: str, name: str) -> tuple[str, str]:
    """Python 3's name for one of Python 2, as the unpickler translates it."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def _judge(module: str, name: str) -> Verdict:
    path = f"{module}.{name}"
    steps = path.split(".")
    beginnings = {".".join(steps[:count]) for count in range(1, len(steps) + 1)}
    if beginnings & dangerous.MODULES or beginnings & dangerous.NAMES:
        return Verdict.HARMLESS if path in harmless.NAMES else Verdict.DANGEROUS
    # The first step is the package itself; what it leads to is what counts.
    if dangerous.STEPS.intersection(steps[1:]):
        return Verdict.DANGEROUS
    if "." in name and not module.startswith("__torch__"):
        return Verdict.UNKNOWN  # an attribute of an attribute: no model needs one
    if path in harmless.NAMES or (
        name not in harmless.REEXPORTED and any(pattern.match(path) for pattern in harmless.CLASSES)
    ):
        return Verdict.HARMLESS
    return Verdict.UNKNOWN


@lru_cache(maxsize=1)
def rules_digest() -> str:
    """Hex SHA-256 over the rules, so that a statement says by which it was made."""
    lists = (dangerous.MODULES, dangerous.NAMES, dangerous.STEPS, harmless.NAMES, harmless.REEXPORTED)
    text = "\n".join([str(RULES_VERSION), *(" ".join(sorted(one)) for one in lists)])
    return hashlib.sha256("\n".join([text, *(one.pattern for one in harmless.CLASSES)]).encode()).hexdigest()
