"""ONNX models: parts are the initializers, and the tensors in attributes, wherever they are nested.

Source: onnx/onnx.proto and docs/ExternalData.md of github.com/onnx/onnx. Protocol Buffers let a
field stand twice and merge both, and readers differ in what they do with data that is given twice:
here both are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from assay.errors import FormatError
from assay.formats.base import Content, Part, distinct
from assay.formats.onnx_tensor import read_tensor, typed_elements
from assay.formats.protobuf import Field, fields, message, text
from assay.formats.reading import Window

MAX_TENSORS = 1_000_000
_MAX_DEPTH = 32  # of graphs within nodes within graphs

# Field numbers: ModelProto, GraphProto, NodeProto, AttributeProto, SparseTensorProto, FunctionProto, TrainingInfoProto.
_GRAPH, _TRAINING, _FUNCTION = 7, 20, 25
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15
_OUTPUT, _NODE_NAME, _ATTRIBUTE = 2, 3, 5
_ATTRIBUTE_NAME, _T, _G, _TENSORS, _GRAPHS, _SPARSE_TENSOR, _SPARSE_TENSORS = 1, 5, 6, 10, 11, 22, 23
_VALUES, _INDICES = 1, 2
_FUNCTION_NAME, _FUNCTION_NODE = 1, 7
_INITIALIZATION, _ALGORITHM = 1, 2


class Onnx:
    """An ONNX model; parts are its tensors, those of external data in the file they lie in."""

    name = "ONNX"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be an ONNX model."""
        return name.lower().endswith(".onnx")

    def accepts(self, content: Content) -> bool:  # noqa: ARG002  # the name alone decides
        """Whether it is one; always."""
        return True

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every tensor with its byte range: those of this file first, in the order of the bytes.

        Raises:
            FormatError: Anything malformed, a name or data given twice, or external data outside
                the model's folder.
        """
        found = sorted(_Walk(content).parts(), key=lambda part: (part.file, part.start, part.end))
        names = distinct(part.name for part in found)
        return tuple(replace(part, name=name) for part, name in zip(found, names, strict=True))

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a tensor, little-endian and row-major."""
        return typed_elements(content, part)


@dataclass(slots=True)
class _Node:
    label: str
    attributes: list[Field]


class _Walk:
    """One walk over a model."""

    def __init__(self, content: Content) -> None:
        self._window = Window(content)
        self._size = content.size
        self._count = 0

    def parts(self) -> Iterator[Part]:
        graphs = 0
        for field in fields(self._window, self._size):
            if field.number == _GRAPH:
                graphs += 1
                if graphs > 1:  # readers merge them: neither is what runs
                    raise FormatError("it has two graphs")
                yield from self._graph(field, "", 0)
            elif field.number == _FUNCTION:
                yield from self._function(field)
            elif field.number == _TRAINING:
                for one in message(self._window, field):
                    if one.number in {_INITIALIZATION, _ALGORITHM}:
                        yield from self._graph(one, "training.", 0)
        if not graphs:
            raise FormatError("it has no graph")

    def _function(self, field: Field) -> Iterator[Part]:
        names = [text(self._window, one) for one in message(self._window, field) if one.number == _FUNCTION_NAME]
        prefix = f"{names[-1]}." if names else "function."
        index = 0
        for one in message(self._window, field):
            if one.number == _FUNCTION_NODE:
                yield from self._node(one, prefix, index, 0)
                index += 1

    def _graph(self, field: Field, prefix: str, depth: int) -> Iterator[Part]:
        if depth > _MAX_DEPTH:
            raise FormatError(f"graphs are nested more than {_MAX_DEPTH} deep")
        names: set[str] = set()
        index = 0
        for one in message(self._window, field):
            if one.number == _INITIALIZER:
                part = self._tensor(one, prefix, "initializer")
                if part.name in names:
                    raise FormatError(f"the graph has two initializers {part.name!a}")
                names.add(part.name)
                yield part
            elif one.number == _SPARSE_INITIALIZER:
                yield from self._sparse(one, prefix, "sparse")
            elif one.number == _NODE:
                yield from self._node(one, prefix, index, depth)
                index += 1

    def _node(self, field: Field, prefix: str, index: int, depth: int) -> Iterator[Part]:
        output = name = ""
        attributes: list[Field] = []
        for one in message(self._window, field):
            if one.number == _OUTPUT and not output:
                output = text(self._window, one)
            elif one.number == _NODE_NAME:
                name = text(self._window, one)
            elif one.number == _ATTRIBUTE:
                attributes.append(one)
        for one in attributes:
            yield from self._attribute(one, f"{prefix}{output or name or f'node{index}'}", depth)

    def _attribute(self, field: Field, label: str, depth: int) -> Iterator[Part]:
        name = "attribute"
        held: list[Field] = []
        for one in message(self._window, field):
            if one.number == _ATTRIBUTE_NAME:
                name = text(self._window, one)
            elif one.number in {_T, _G, _SPARSE_TENSOR}:
                if any(one.number == other.number for other in held):
                    raise FormatError(f"attribute {name!a} of {label!a} is given twice")
                held.append(one)
            elif one.number in {_TENSORS, _GRAPHS, _SPARSE_TENSORS}:
                held.append(one)
        own = label if name == "value" else f"{label}.{name}"  # "value" is what a Constant holds
        for one in held:
            if one.number in {_G, _GRAPHS}:
                yield from self._graph(one, f"{own}.", depth + 1)
            elif one.number in {_T, _TENSORS}:
                yield replace(self._tensor(one, "", ""), name=own)
            else:
                yield from self._sparse(one, "", own)

    def _sparse(self, field: Field, prefix: str, fallback: str) -> Iterator[Part]:
        seen: dict[int, Field] = {}
        for one in message(self._window, field):
            if one.number in {_VALUES, _INDICES}:
                if one.number in seen:
                    raise FormatError("a sparse tensor has its values or indices twice")
                seen[one.number] = one
        if len(seen) != 2:  # noqa: PLR2004  # values and indices
            raise FormatError("a sparse tensor lacks its values or indices")
        values = self._tensor(seen[_VALUES], prefix, fallback)
        yield replace(values, name=f"{values.name}.values")
        yield replace(self._tensor(seen[_INDICES], "", ""), name=f"{values.name}.indices")

    def _tensor(self, field: Field, prefix: str, fallback: str) -> Part:
        self._count += 1
        if self._count > MAX_TENSORS:
            raise FormatError(f"it has more than {MAX_TENSORS} tensors")
        part = read_tensor(self._window, field)
        return replace(part, name=f"{prefix}{part.name or fallback}")
