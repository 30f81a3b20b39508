"""skops models: an archive of arrays and a ``schema.json`` that says which attribute each array is.

Source: skops.io, protocol 2. Members are named by numbers that mean nothing to a person, so a part
is named by the attribute's path followed by the member: ``steps.1.1.coef_ (140529208104816.npy)``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace

from assay.errors import FormatError
from assay.formats.base import Content, Part
from assay.formats.npz import Npz, stored_bytes

SCHEMA = "schema.json"
MAX_SCHEMA_BYTES = 32 * 1024 * 1024  # a forest of 5,000 trees has about this; beyond, members keep their numbers


class Skops:
    """A skops model; parts are the members of its archive."""

    name = "skops"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be a skops model."""
        return name.lower().endswith(".skops")

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every member with its byte range, in the order of the bytes.

        Raises:
            FormatError: The archive is malformed, or has no sound ``schema.json``.
        """
        members = Npz().parts(content)
        schema = next((part for part in members if part.name == SCHEMA), None)
        if schema is None:
            raise FormatError("there is no schema.json, so it is not a skops model")
        attributes = _attributes(content, schema)
        return tuple(
            replace(part, name=f"{attributes[part.name]} ({part.name})") if attributes.get(part.name) else part
            for part in members
        )


def _attributes(content: Content, schema: Part) -> Mapping[str, str]:
    """The path of the first attribute that each member holds."""
    if schema.shape[0] > MAX_SCHEMA_BYTES or schema.end - schema.start > MAX_SCHEMA_BYTES:
        return {}
    try:
        tree = json.loads(stored_bytes(content, schema))
    except (ValueError, RecursionError, zlib.error) as err:
        raise FormatError("schema.json is not the JSON object it must be") from err
    found: dict[str, str] = {}
    nodes: list[tuple[str, object]] = [("", tree)]
    while nodes:
        path, node = nodes.pop()
        if isinstance(node, dict):
            member = node.get("file")
            if isinstance(member, str):
                found.setdefault(member, path)
            inner = list(node.items())
        elif isinstance(node, list):
            inner = [(str(index), one) for index, one in enumerate(node)]
        else:
            continue
        # "content" is how skops nests, not a name that anybody gave.
        nodes += [(path if key == "content" else f"{path}.{key}".lstrip("."), one) for key, one in reversed(inner)]
    return found
