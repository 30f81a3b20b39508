"""The index of a model that is spread over several safetensors files: which tensor lies in which.

Source: the ``model.safetensors.index.json`` that huggingface_hub writes: ``weight_map`` names for
each tensor the file it lies in, relative to the folder of the index. An index that disagrees with
the files makes a loader take a tensor from elsewhere, or leave it as it was initialised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from assay.errors import FormatError
from assay.formats.base import Content, exactly

SUFFIX = ".safetensors.index.json"
MAX_INDEX_BYTES = 32 * 1024 * 1024  # holds more than 200,000 tensors


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing the index says and the files do not, or the other way round.

    Attributes:
        tensor: The tensor's name; empty when it is about the whole index.
        what: What is wrong, as the end of a sentence that begins with the index's name.
    """

    tensor: str
    what: str


def is_index(name: str) -> bool:
    """Whether a file of this name must be such an index."""
    return name.lower().endswith(SUFFIX)


def disagreements(
    name: str, content: Content, shards: Mapping[str, AbstractSet[str] | None]
) -> tuple[Disagreement, ...]:
    """Everything in which the index and the files it names disagree.

    Args:
        name: The index's path relative to the model.
        content: Its bytes.
        shards: The names of the tensors of every safetensors file of the model, by its path
            relative to the model; None for one that could not be read.

    Raises:
        FormatError: It is not the JSON object it must be, or a path leads out of its folder.
    """
    weight_map = read_index(content)
    folder = name.rpartition("/")[0]
    found: list[Disagreement] = []
    used: dict[str, set[str]] = {}
    for tensor, file in weight_map.items():
        used.setdefault(f"{folder}/{file}" if folder else file, set()).add(tensor)
    for path, tensors in sorted(used.items()):
        if path not in shards:
            first = min(tensors)
            more = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
            found.append(Disagreement(first, f"puts {first!a}{more} into {path!a}, which is no file of the model"))
            continue
        there = shards[path]
        if there is None:
            continue
        found += [
            Disagreement(one, f"puts {one!a} into {path!a}, which has no such tensor")
            for one in sorted(tensors - there)
        ]
        for one in sorted(there - tensors):
            elsewhere = f"takes it from {weight_map[one]!a}" if one in weight_map else "does not list it"
            found.append(Disagreement(one, f"{elsewhere}, but {path!a} has a tensor {one!a}"))
    return tuple(found)


def read_index(content: Content) -> Mapping[str, str]:
    """The file of each tensor, relative to the folder of the index.

    Raises:
        FormatError: It is not the JSON object it must be, or a path leads out of its folder.
    """
    if content.size > MAX_INDEX_BYTES:
        raise FormatError(f"the index has {content.size} bytes; at most {MAX_INDEX_BYTES} are read")
    try:
        index = json.loads(exactly(content, 0, content.size, "the index").decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as err:
        raise FormatError(f"the index is not the JSON object it must be ({type(err).__name__})") from err
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError("the index has no weight_map")
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or not is_inside(file):
            raise FormatError(f"the index puts {tensor!a} into {file!a}, which is no name of a file beside it")
    return weight_map


def is_inside(path: str) -> bool:
    """Whether a relative path can not lead out of its folder on any system."""
    return bool(path) and not ({"", ".", ".."} & set(path.split("/"))) and not (set("\\:\0") & set(path))


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):  # two readers could pick different ones
        raise FormatError("the index says a name twice")
    return found
