"""The shelf of frameworks: from the name in assay.toml to the plug that opens the model."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from assay.errors import LoadError
from assay.frameworks.base import Framework
from assay.frameworks.function import Function

# Built in; a plug is imported when it is asked for.
TABLE: dict[str, str] = {
    "http": "assay.frameworks.http:Http",
    "keras": "assay.frameworks.keras:Keras",
    "lightgbm": "assay.frameworks.lightgbm:Lightgbm",
    "onnx": "assay.frameworks.onnx:Onnx",
    "safetensors": "assay.frameworks.safetensors:SafetensorsFiles",
    "sklearn": "assay.frameworks.sklearn:Sklearn",
    "torch": "assay.frameworks.torch:Torch",
    "transformers": "assay.frameworks.transformers:Transformers",
    "xgboost": "assay.frameworks.xgboost:Xgboost",
}


def find(name: str) -> Framework:
    """The plug of this name.

    Args:
        name: One of the table, ``package.module:function``, or the name of an entry point in the
            group ``assay.frameworks``.

    Raises:
        LoadError: There is none.
    """
    if name in TABLE:
        module, attribute = TABLE[name].split(":")
        return cast("Framework", getattr(import_module(module), attribute)())
    if ":" in name:
        return Function(name)
    from importlib.metadata import entry_points

    for point in entry_points(group="assay.frameworks", name=name):
        return cast("Framework", point.load()())
    known = ", ".join(sorted(TABLE))
    raise LoadError(f"no framework {name!a}; there are {known}, and any package.module:function")
