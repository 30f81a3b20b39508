"""The engines there are."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from assay.engines.base import Engine
from assay.errors import ConfigError, MissingExtraError

ENGINES = {
    "duckdb": "assay.engines.duckdb:DuckDb",
    "spark": "assay.engines.spark:Spark",
}
ELSEWHERE = frozenset({"spark"})
"""The engines that an address may be given for."""


def find(name: str = "duckdb") -> Engine:
    """Return an engine by name: a built-in one, or one that another package offers as ``assay.engines``.

    Args:
        name: The name on the shelf; for an engine that runs elsewhere with its address behind it: ``spark
            spark://host:7077``, ``spark sc://host``.

    Raises:
        ConfigError: When nobody offers it.
        MissingExtraError: When what it needs is not installed.
    """
    name, *address = name.split() or [""]
    where = ENGINES.get(name)
    if where is None:
        offered = [point for point in entry_points(group="assay.engines") if point.name == name]
        if not offered:
            raise ConfigError(f"there is no engine {name!r}; there are {', '.join(sorted(ENGINES))}")
        return cast("Engine", offered[0].load()(*address))
    if len(address) > (name in ELSEWHERE):
        raise ConfigError(f"the engine {name} takes no address {' '.join(address)!r}")
    module, _, attribute = where.partition(":")
    try:
        return cast("Engine", getattr(import_module(module), attribute)(*address))
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("assay"):
            raise
        raise MissingExtraError(f"the engine {name}", "monitor") from err
