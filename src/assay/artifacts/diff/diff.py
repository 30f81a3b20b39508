"""Compare two models on disk: tensor by tensor, in blocks, then read what kind of change it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from assay.artifacts.diff.change import Place, Status, TensorChange
from assay.artifacts.diff.kinds import read_change
from assay.artifacts.diff.matching import Matched, match
from assay.artifacts.diff.reading import Reading
from assay.artifacts.diff.weights import ALL_PARTS, NO_CONTENT, ONLY_TENSORS, Stored, Weights, same_elements
from assay.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from assay.artifacts.diff.change import Measures

    Measure = Callable[[Iterator[bytes], Iterator[bytes], str, str, tuple[int, ...]], Measures]


@dataclass(frozen=True, slots=True)
class Source:
    """One of the two models.

    Attributes:
        path: A folder, or a single file.
        ignore: What to leave out, as :meth:`~assay.artifacts.files.Tree.of` takes it.
        signature: The signature's path, left out when it lies in the model.
    """

    path: Path
    ignore: Sequence[Path | str] = ()
    signature: Path | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file, or what lies beside the tensors of one, that differs.

    Attributes:
        name: Relative to the model.
        what: ``changed``, ``added`` or ``removed``; ``beside the tensors`` when its tensors are the same
            or compared by themselves; ``container`` when nothing but names and places can be in what differs.
        parts: Its members that are no tensors and differ, where the format has any.
    """

    name: str
    what: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """What changed between two models.

    Attributes:
        old: Name of the one.
        new: Name of the other.
        tensors: Every tensor of both, in the order of NEW, removed ones last.
        files: Files that differ, beside what is compared as tensors.
        reading: What kind of change it is.
        notes: What could not be compared, and why.
    """

    old: str
    new: str
    tensors: tuple[TensorChange, ...]
    files: tuple[FileChange, ...]
    reading: Reading
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[TensorChange, ...]:
        """The tensors that are not the same."""
        return tuple(one for one in self.tensors if one.status is not Status.SAME)

    def as_json(self) -> dict[str, object]:
        """As ``assay diff --json`` prints it."""
        return {
            "reading": self.reading.as_json(),
            "tensors": [one.as_json() for one in self.changed],
            "tensors_same": len(self.tensors) - len(self.changed),
            "files": [{"name": one.name, "what": one.what, "parts": list(one.parts)} for one in self.files],
            "notes": list(self.notes),
        }


def diff(old: Source, new: Source, *, tensors: Sequence[str] = ()) -> ModelDiff:
    """Compare two models; memory is bounded by a few blocks, whatever their size.

    Args:
        old: The model from before.
        new: The model to explain.
        tensors: Patterns of tensor names (``*``, ``?``, ``[...]``) to compare; empty for all. With
            patterns, files are not compared, and the reading is of these tensors alone.

    Raises:
        ArtifactError: One is missing or empty, or holds links, devices or odd names.
        FormatError: A tensor's bytes are damaged.
        ConfigError: No tensor has a name that a pattern matches.
        MissingExtraError: numpy is not installed.
    """
    measure = _measure()
    with (
        Weights(old.path, ignore=old.ignore, signature=old.signature) as before,
        Weights(new.path, ignore=new.ignore, signature=new.signature) as after,
    ):
        chosen = [_chosen(weights.tensors, tensors) for weights in (before, after)]
        if tensors and not any(chosen):
            raise ConfigError(f"no tensor of either model matches {', '.join(tensors)}")
        matched = match(chosen[0], chosen[1], before.digest, after.digest)
        changes = _changes(before, after, matched, measure)
        files = () if tensors else _files(before, after, changes)
        notes = (*before.notes, *after.notes, *_beyond(before, after))
        if matched.prefix:
            notes = (*notes, f"names are compared without {matched.prefix!a} in front")
        reading = read_change(changes, [one.what for one in files], damaged=(*before.damaged, *after.damaged))
        return ModelDiff(before.name, after.name, changes, files, reading, notes)


def _measure() -> Measure:
    try:
        from assay.artifacts.diff.tensor import measure
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("assay"):
            raise
        raise MissingExtraError("comparing tensors", "monitor") from err
    return measure


def _beyond(before: Weights, after: Weights) -> tuple[str, ...]:
    """What a comparison across formats cannot see."""
    old, new = ({*weights.formats.values()} for weights in (before, after))
    members = {weights.formats[one.file] for weights in (before, after) for one in weights.opaque}
    programs = sorted(name for name in old ^ new if name not in ONLY_TENSORS or name in members)
    if not programs:
        return ()
    return (f"what {', '.join(programs)} holds beside tensors (graph, settings, code) was not compared",)


def _chosen(tensors: Sequence[Stored], patterns: Sequence[str]) -> list[Stored]:
    return [one for one in tensors if not patterns or any(fnmatchcase(one.name, pattern) for pattern in patterns)]


def _where(one: Stored) -> Place:
    return Place(one.file, one.name, one.dtype, one.shape)


def _changes(before: Weights, after: Weights, matched: Matched, measure: Measure) -> tuple[TensorChange, ...]:
    found = {id(new): _pair(before, after, old, new, measure) for old, new in matched.pairs}
    found |= {id(new): TensorChange(Status.RENAMED, _where(old), _where(new)) for old, new in matched.renamed}
    found |= {id(new): TensorChange(Status.ADDED, None, _where(new)) for new in matched.added}
    ordered = [found[id(one)] for one in after.tensors if id(one) in found]
    return (*ordered, *(TensorChange(Status.REMOVED, _where(one), None) for one in matched.removed))


def _pair(before: Weights, after: Weights, old: Stored, new: Stored, measure: Measure) -> TensorChange:
    if old.shape != new.shape:
        return TensorChange(Status.RESHAPED, _where(old), _where(new))
    if old.dtype == new.dtype and same_elements(before.elements(old), after.elements(new)):
        return TensorChange(Status.SAME, _where(old), _where(new))
    measures = measure(before.elements(old), after.elements(new), old.dtype, new.dtype, old.shape)
    status = Status.CHANGED if old.dtype == new.dtype else Status.RETYPED
    return TensorChange(status, _where(old), _where(new), measures)


def _files(before: Weights, after: Weights, changes: Sequence[TensorChange]) -> tuple[FileChange, ...]:
    """Every file that differs; one file against one file is compared whatever the two are called."""
    same = all(one.status in {Status.SAME, Status.RENAMED} for one in changes)
    if len(before.sizes) == len(after.sizes) == 1:
        names = list(zip(before.sizes, after.sizes, strict=True))
    else:
        names = [(name, name) for name in before.sizes if name in after.sizes]
    found = []
    for old, new in names:
        if before.sizes[old] != after.sizes[new] or before.file_digest(old) != after.file_digest(new):
            found += _file(before, after, (old, new), same=same)
    paired = {old for old, _ in names}, {new for _, new in names}
    found += [FileChange(name, _alone(before, name, "removed")) for name in before.sizes if name not in paired[0]]
    found += [FileChange(name, _alone(after, name, "added")) for name in after.sizes if name not in paired[1]]
    return tuple(found)


def _file(before: Weights, after: Weights, names: tuple[str, str], *, same: bool) -> list[FileChange]:
    old, new = (weights.formats.get(name) for weights, name in zip((before, after), names, strict=True))
    if _lists_tensors(names[0]) and _lists_tensors(names[1]):
        return [FileChange(names[1], "container")]
    if old is None or new is None:
        return [FileChange(names[1], "changed" if old == new else "container")]
    if old != new:
        return [FileChange(names[1], "container")]
    parts = _members(before, after, names)
    if not any(one.file == names[1] for one in after.tensors):
        return [FileChange(names[1], "changed", parts)]
    # The tensors are the same, the file is not: a graph, settings or code differ, even where no part of it has a name.
    if parts or (same and old not in ALL_PARTS):
        return [FileChange(names[1], "beside the tensors", parts)]
    return [FileChange(names[1], "container")]


def _members(before: Weights, after: Weights, names: tuple[str, str]) -> tuple[str, ...]:
    """The members that are no tensors and differ."""
    old, new = (
        {one.name: one for one in weights.opaque if one.file == name}
        for weights, name in zip((before, after), names, strict=True)
    )
    return tuple(
        name
        for name in dict.fromkeys((*old, *new))
        if name not in NO_CONTENT
        if name not in old
        or name not in new
        or not same_elements(before.elements(old[name]), after.elements(new[name]))
    )


def _alone(weights: Weights, name: str, what: str) -> str:
    """A file with tensors that only one model has is a container: its tensors are compared wherever they are."""
    return "container" if _lists_tensors(name) or any(one.file == name for one in weights.tensors) else what


def _lists_tensors(name: str) -> bool:
    """Whether a file says nothing but which tensor lies in which shard."""
    return PurePosixPath(name).name.endswith(".safetensors.index.json")
