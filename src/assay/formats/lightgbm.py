"""LightGBM text models; parts are the header, each tree, and the sections after them.

Source: src/boosting/gbdt_model_text.cpp of github.com/microsoft/LightGBM. The header says how long
each tree is, and LightGBM looks for the trees there: both must agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.errors import FormatError
from assay.formats.base import OPAQUE, Content, Part, plain_elements

MAX_HEADER_BYTES = 64 * 1024 * 1024  # names and ranges of the features lie there
MAX_TREES = 1_000_000
_PIECE_BYTES = 1024 * 1024
_LONGEST_MARK = 64
_MARKS = re.compile(
    rb"\n(Tree=\d{1,9}(?=\n)|end of trees(?=\n)|feature_importances:(?=\n)|parameters:(?=\n)|pandas_categorical:)"
)
_SECTIONS = ("end of trees", "feature_importances", "parameters", "pandas_categorical")
_SIZES = re.compile(rb"\ntree_sizes=([\d ]*)(?=\n)")


class LightGbm:
    """A LightGBM text model; parts are its sections and cover every byte."""

    name = "LightGBM"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name may be a LightGBM model."""
        return name.lower().endswith(".txt")

    def accepts(self, content: Content) -> bool:
        """Whether it is one: it begins with the word tree and a version."""
        return content.read(0, 14) == b"tree\nversion=v"

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every section with its byte range, in the order of the bytes.

        Raises:
            FormatError: Trees are missing, out of order or not as long as the header says, or the
                file does not end with a line.
        """
        marks = list(_marks(content))
        names = [name for _, name in marks]
        trees = [name for name in names if name.startswith("Tree=")]
        rest = names[len(trees) :]
        if trees != [f"Tree={index}" for index in range(len(trees))] or names[: len(trees)] != trees:
            raise FormatError("its trees are not numbered one by one from 0")
        if rest[:1] != ["end of trees"] or rest != [name for name in _SECTIONS if name in rest]:
            raise FormatError(f"after the trees it has {rest}, wanted {list(_SECTIONS)}")
        if content.read(content.size - 1, 1) != b"\n":
            raise FormatError("it does not end with a line")
        starts = [0, *(at for at, _ in marks)]
        ends = [*starts[1:], content.size]
        parts = tuple(
            Part(name, OPAQUE, (end - start,), start, end)
            for name, start, end in zip(["header", *names], starts, ends, strict=True)
        )
        _check_sizes(content, parts[0].end, [part.shape[0] for part in parts[1 : len(trees) + 1]])
        return parts

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The bytes of a section."""
        return plain_elements(content, part)


def _marks(content: Content) -> Iterator[tuple[int, str]]:
    """Where each section begins, and its name."""
    count, after = 0, 0
    for at in range(0, content.size, _PIECE_BYTES):
        piece = content.read(at, _PIECE_BYTES + _LONGEST_MARK)
        for found in _MARKS.finditer(piece):
            place = at + found.start() + 1
            if place < after:  # seen at the end of the last piece
                continue
            after, count = place + 1, count + 1
            if count > MAX_TREES:
                raise FormatError(f"it has more than {MAX_TREES} sections")
            yield place, found[1].decode("ascii").rstrip(":")


def _check_sizes(content: Content, end: int, trees: list[int]) -> None:
    if end > MAX_HEADER_BYTES:
        raise FormatError(f"its header has {end} bytes; at most {MAX_HEADER_BYTES} are read")
    found = _SIZES.findall(content.read(0, end))
    if len(found) > 1:
        raise FormatError("it gives the sizes of its trees twice")
    if found and found[0].split() != [b"%d" % size for size in trees]:
        raise FormatError("its trees are not as long as the header says")
