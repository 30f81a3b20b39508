"""One file of a model: what it is by its content, what lies inside it, and what all of that would run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from assay.artifacts.names import shown
from assay.artifacts.scan import files
from assay.artifacts.scan.gguf import inside_gguf
from assay.artifacts.scan.onnx import inside_onnx, looks_like_onnx
from assay.artifacts.scan.pickles import Pickled, find_pickles, nested
from assay.artifacts.scan.source import MAX_DEPTH, Budget, Unpacked, packing
from assay.artifacts.scan.state import Sighting
from assay.artifacts.scan.tars import inside_tar, looks_like_tar
from assay.artifacts.scan.templates import template_troubles
from assay.artifacts.scan.tensorflow import inside_saved_model
from assay.artifacts.scan.texts import MAX_JSON_BYTES, inside_hdf5, inside_json, read_json
from assay.artifacts.scan.trouble import Inner, Inside, Trouble
from assay.artifacts.scan.verdicts import Verdict, judge, translated
from assay.artifacts.scan.zips import begins_like_zip, ends_like_zip, inside_zip
from assay.findings import Finding, Number, Severity
from assay.formats.base import Content, ViewContent

HEAD_BYTES = 1024
MAX_SHOWN = 300  # letters of a name
MAX_FINDINGS = 200  # of one file; the rest is counted
NPY_MAGIC = b"\x93NUMPY"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# All that numpy writes for numbers; what is written in another way may be of objects, which are pickled.
_PLAIN_NPY = re.compile(
    r"\{'descr': '[<>|=]?[?bBhHiIlLqQefdgFDGSaUVcmMu]\d{0,9}(?:\[\w+\])?', 'fortran_order': (?:True|False), "
    r"'shape': \([0-9, ]*\),? ?\}\s*\Z"
)
_SAFETENSORS_HEADER = 100 * 1024 * 1024
_KINDS: dict[str, tuple[str, Severity, str]] = {
    "unresolvable": (
        "scan.unresolvable-global",
        Severity.CRITICAL,
        "imports or calls what is put together only while it is unpickled",
    ),
    "indirect": ("scan.indirect-call", Severity.ERROR, "calls what another call returned"),
    "extension": (
        "scan.extension-code",
        Severity.ERROR,
        "imports by a number that means something else on every machine",
    ),
    "patched": (
        "scan.patched-global",
        Severity.CRITICAL,
        "sets attributes on what it imported, not on an instance of it",
    ),
    "framed": ("scan.hidden-opcodes", Severity.CRITICAL, "puts opcodes where only some readers look"),
    "unmeasured": ("scan.incomplete", Severity.ERROR, "cannot be followed behind"),
}


@dataclass(slots=True)
class Examined:
    """What one file shows.

    Attributes:
        findings: Everything a person should know.
        globals: Everything it imports, ``module name`` as Python 3 calls it.
    """

    findings: list[Finding] = field(default_factory=list)
    globals: set[str] = field(default_factory=set)


class Examiner:
    """Looks through one file and everything inside it.

    Args:
        name: The file's name in the model.
        thorough: Search what is no pickle for pieces of one; without, only what a loader would follow is seen.
    """

    def __init__(self, name: str, *, thorough: bool = True) -> None:
        self._thorough = thorough
        self.found = Examined()
        self._file = name
        self._budget = Budget()
        self._seen: set[tuple[str, str, str]] = set()

    def examine(self, content: Content) -> Examined:
        """Look through the file."""
        for trouble in files.by_name(self._file, content.read(0, HEAD_BYTES)):
            self._tell("", trouble)
        self._look(Inner("", content), "", 0)
        for reason in sorted(self._budget.spent):
            detail = f"only part of it was scanned: {reason}"
            self._tell("", Trouble("scan.incomplete", Severity.ERROR, detail))
        return self.found

    def _look(self, inner: Inner, place: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._budget.spent.add(f"it has containers in containers, more than {MAX_DEPTH} deep")
            return
        content = inner.content
        head = content.read(0, HEAD_BYTES)
        if not head:
            return
        if not inner.raw and (trouble := files.unread(head)) is not None:
            self._tell(place, trouble)
        kind = None if inner.raw else packing(head)
        unpacked = None if kind is None else Unpacked(content, kind, self._budget)
        packed = unpacked is not None and bool(unpacked.read(0, 1))  # two letters alone are no compressed stream
        if packed and unpacked is not None:
            self._look(Inner(inner.name, unpacked), place, depth + 1)
        found = [] if inner.raw else self._insides(content, head, place)
        for inside in found:
            for trouble in inside.troubles:
                self._tell(place, trouble)
            for module, name in inside.names:
                self._named(place, module, name)
            for below in inside.inners:
                self._look(below, f"{place}!{below.name}" if place else below.name, depth + 1)
        # An archive begins with the letter that asks for a persistent object: plain pickle refuses it there.
        if not found or (head[0] in files.PICKLE_STARTS and not head.startswith(b"PK")):
            self._pickles(content, inner, place, depth, known=bool(found) or packed)

    def _insides(self, content: Content, head: bytes, place: str) -> list[Inside]:
        """What a container holds by every reading of it; a file may be two things at once."""
        found = [reader(content, self._budget) for accepts, reader in _READERS if accepts(head, content)]
        if not found:
            name = (place or self._file).rpartition("!")[2].lower()
            text = self._text_or_graph(content, head, name)
            found = [] if text is None else [text]
        if ends_like_zip(head, content):
            found.append(inside_zip(content, self._budget))
        return found

    def _text_or_graph(self, content: Content, head: bytes, name: str) -> Inside | None:
        if name.endswith((".jinja", ".jinja2", ".j2")):
            text = content.read(0, min(files.MAX_TEXT, content.size))
            return Inside(troubles=list(template_troubles(text.decode("utf-8", "replace"), "it")))
        if head.lstrip()[:1] in {b"{", b"["} and name.endswith((".json", "schema", ".keras", ".config", ".index")):
            return _json(content)
        if name.endswith((".h5", ".hdf5")):
            return inside_hdf5(content)  # its own bytes may begin further behind
        if name.endswith("saved_model.pb"):
            return inside_saved_model(content)
        if name.endswith((".onnx", ".ort")) or (not name.endswith(files.PICKLE_ENDINGS) and looks_like_onnx(head)):
            return inside_onnx(content)
        return None

    def _pickles(self, content: Content, inner: Inner, place: str, depth: int, *, known: bool) -> None:
        name = (inner.name or place or self._file).lower()
        expected = name.endswith(files.PICKLE_ENDINGS)
        quick = not self._thorough or inner.raw or known or files.is_numbers(name)
        found = find_pickles(content, self._budget, expected=expected, raw=quick)
        for walk in found.walks:
            for sighting in walk.sightings:
                self._sighted(place, sighting, certain=found.certain and not sighting.doubtful)
        for sighting in found.stray:
            self._sighted(place, sighting, certain=False)
        if found.walks and found.certain:
            self._cut_off(place, found)
            self._blobs(content, found, place, depth)

    def _blobs(self, content: Content, found: Pickled, place: str, depth: int) -> None:
        """Pickles and containers in the byte strings of a pickle."""
        for blob in (blob for walk in found.walks for blob in walk.blobs):
            data = nested(content, blob)
            if data is None or not files.may_be_nested(data):
                continue
            if isinstance(blob, str) or blob.text:
                below: Content = ViewContent(memoryview(data))
            else:
                below = files.stretch(content, blob.start, blob.length)
            at = "" if isinstance(blob, str) else f" at byte {blob.start}"
            self._look(Inner("", below), f"{place}!(bytes{at})" if place else f"(bytes{at})", depth + 1)

    def _cut_off(self, place: str, found: Pickled) -> None:
        last = found.walks[-1]
        if not last.stopped and len(found.walks) == 1:
            detail = f"its pickle cannot be read beyond byte {last.end}; what stands before was scanned"
            self._tell(place, Trouble("scan.broken-pickle", Severity.WARNING, detail, {"offset": last.end}))

    def _sighted(self, place: str, sighting: Sighting, *, certain: bool) -> None:
        if sighting.kind != "global":
            if certain:
                rule, severity, words = _KINDS[sighting.kind]
                detail = f"its pickle {words}: {sighting.name} at byte {sighting.offset}"
                self._tell(place, Trouble(rule, severity, detail, {"offset": sighting.offset}))
            return
        verdict = judge(sighting.module, sighting.name)
        if not certain and verdict is not Verdict.DANGEROUS:
            return
        how = f"calls {{}} with {sighting.arguments}" if sighting.called else "names {}"
        self._judged(place, (sighting.module, sighting.name), verdict, how, sighting.offset)

    def _named(self, place: str, module: str, name: str) -> None:
        self._judged(place, (module, name), judge(module, name), "names {}", None)

    def _judged(self, place: str, found: tuple[str, str], verdict: Verdict, how: str, offset: int | None) -> None:
        module, name = translated(*found)
        path = shown(f"{module}.{name}"[:MAX_SHOWN])
        if offset is not None or verdict is not Verdict.HARMLESS:
            self.found.globals.add(f"{module} {name}"[:MAX_SHOWN])
        if verdict is Verdict.HARMLESS:
            return
        where = "" if offset is None else f" at byte {offset}"
        numbers: dict[str, Number] = {"global": path} if offset is None else {"global": path, "offset": offset}
        if verdict is Verdict.DANGEROUS:
            detail = f"it {how.format(path)}{where}, which no model needs and an attack would use"
            self._tell(place, Trouble("scan.dangerous-global", Severity.CRITICAL, detail, numbers))
        else:
            detail = f"it {how.format(path)}{where}, which is not known to be harmless"
            self._tell(place, Trouble("scan.unknown-global", Severity.ERROR, detail, numbers))

    def _tell(self, place: str, trouble: Trouble) -> None:
        subject = shown(self._file if not place else f"{self._file}:{place}")
        key = (trouble.rule, subject, str(trouble.numbers.get("global", trouble.detail)))
        if key in self._seen:
            return
        self._seen.add(key)
        if len(self.found.findings) < MAX_FINDINGS:
            detail = f"{subject}: {trouble.detail}"
            self.found.findings.append(Finding(trouble.rule, subject, trouble.severity, detail, trouble.numbers))


def _json(content: Content) -> Inside | None:
    if content.size > MAX_JSON_BYTES:
        detail = f"it is JSON of more than the {MAX_JSON_BYTES} bytes that are read"
        return Inside(troubles=[Trouble("scan.incomplete", Severity.ERROR, detail)])
    value = read_json(content)
    return None if value is None else inside_json(value)


def _npy(content: Content) -> Inside:
    """An array: what follows its header is a pickle unless its type is plainly of numbers."""
    head = content.read(0, 12)
    start = 10 if head[6:7] == b"\x01" else 12
    length = int.from_bytes(head[8:start], "little")
    header = content.read(start, min(length, _SAFETENSORS_HEADER)).decode("latin-1")
    if _PLAIN_NPY.match(header):
        return Inside()
    at = start + length
    return Inside(inners=[Inner("(objects)", files.stretch(content, at, max(0, content.size - at)))])


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The most serious severity among some findings, None without any."""
    return max((finding.severity for finding in findings), key=lambda severity: severity.rank, default=None)


_Accepts = Callable[[bytes, Content], bool]
_Reads = Callable[[Content, Budget], Inside]
_READERS: tuple[tuple[_Accepts, _Reads], ...] = (
    (lambda head, _: head.startswith(NPY_MAGIC), lambda content, _: _npy(content)),
    (lambda head, _: head.startswith(HDF5_MAGIC), lambda content, _: inside_hdf5(content)),
    (lambda head, _: head.startswith(b"GGUF"), lambda content, _: inside_gguf(content)),
    (files.is_safetensors, lambda _, __: Inside()),
    (lambda head, _: begins_like_zip(head), inside_zip),
    (lambda head, _: looks_like_tar(head), lambda content, _: inside_tar(content)),
)
