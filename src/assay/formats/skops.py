"""skops models: an archive of arrays and a ``schema.json`` that says which attribute each array is.

Source: skops.io, protocol 2. Members are named by numbers that mean nothing to a person and differ
from dump to dump, so a part is named by the attribute's path: ``steps.1.1.coef_``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from assay.errors import FormatError
from assay.formats.archive import Member, members, unpacked
from assay.formats.base import Content, Part, distinct
from assay.formats.layout import array_elements
from assay.formats.npz import array_part

SCHEMA = "schema.json"
MAX_SCHEMA_BYTES = 32 * 1024 * 1024  # a forest of 5,000 trees has about this; beyond, members keep their numbers


class Skops:
    """A skops model; parts are the members of its archive."""

    name = "skops"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be a skops model."""
        return name.lower().endswith(".skops")

    def accepts(self, content: Content) -> bool:  # noqa: ARG002  # the name alone decides
        """Whether it is one; always."""
        return True

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every member with its byte range, in the order of the bytes.

        Raises:
            FormatError: The archive is malformed, or has no sound ``schema.json``.
        """
        inside = members(content)
        schema = next((member for member in inside if member.name == SCHEMA), None)
        if schema is None:
            raise FormatError("there is no schema.json, so it is not a skops model")
        attributes = _attributes(content, schema)
        names = distinct(attributes.get(member.name) or member.name for member in inside)
        return tuple(array_part(content, member, name) for member, name in zip(inside, names, strict=True))

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a part, little-endian and row-major."""
        return array_elements(content, part)


def _attributes(content: Content, schema: Member) -> Mapping[str, str]:
    """The path of the first attribute that each member holds."""
    if schema.size > MAX_SCHEMA_BYTES:
        return {}
    try:
        tree = json.loads(unpacked(content, schema))
    except (ValueError, RecursionError) as err:
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
