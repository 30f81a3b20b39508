"""What a file's name and first bytes promise."""

from __future__ import annotations

from collections.abc import Iterator

from assay.artifacts.scan.opcodes import KINDS
from assay.artifacts.scan.source import Window, packing
from assay.artifacts.scan.tars import looks_like_tar
from assay.artifacts.scan.trouble import Trouble
from assay.findings import Severity
from assay.formats.base import Content

MAX_TEXT = 2 * 1024 * 1024
PICKLE_STARTS = frozenset(KINDS)
PICKLE_ENDINGS = (
    ".pkl",
    ".pickle",
    ".pck",
    ".pcl",
    ".p",
    ".joblib",
    ".pt",
    ".pth",
    ".ckpt",
    ".dill",
    ".sav",
    ".dat",
    ".model",
)
# Formats of numbers and text that no loader unpickles: their start is looked at, they are not searched.
_NUMBERS = (
    ".safetensors",
    ".gguf",
    ".ggml",
    ".onnx",
    ".ubj",
    ".tflite",
    ".h5",
    ".hdf5",
    ".parquet",
    ".arrow",
    ".csv",
    ".txt",
    ".md",
)
_BINARY: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "a Linux program or library"),
    (b"MZ", "a Windows program or library"),
    (b"\xcf\xfa\xed\xfe", "a macOS program or library"),
    (b"\xca\xfe\xba\xbe", "a macOS program or Java class"),
    (b"\xfe\xed\xfa\xcf", "a macOS program or library"),
)
# Compressed in ways that are not unpacked here.
_UNREAD: tuple[tuple[bytes, str], ...] = (
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "RAR"),
)
_LIBRARIES = (".so", ".dll", ".dylib", ".pyd", ".exe", ".bat", ".cmd", ".ps1", ".jar", ".pyc", ".pyo", ".whl", ".node")
_SOURCES = (".py", ".pyx", ".sh", ".ipynb", ".pth.py", ".rb", ".pl", ".js")


def by_name(name: str, head: bytes) -> Iterator[Trouble]:
    """What there is to say of a file before it is read: programs beside a model."""
    lower = name.lower()
    for mark, words in _BINARY:
        if head.startswith(mark) and (mark != b"MZ" or lower.endswith(_LIBRARIES) or b"\0" in head[:64]):
            yield Trouble("scan.program", Severity.WARNING, f"it is {words}: a model needs none")
            return
    if lower.endswith(_LIBRARIES):
        yield Trouble("scan.program", Severity.WARNING, "it is named like a program or library: a model needs none")
    elif lower.endswith(_SOURCES) or head.startswith(b"#!"):
        yield Trouble("scan.source-code", Severity.INFO, "it is source code, which is not scanned")


def unread(head: bytes) -> Trouble | None:
    """That what begins so cannot be scanned, or None."""
    kind = next((words for mark, words in _UNREAD if head.startswith(mark)), None)
    if kind is None:
        return None
    return Trouble("scan.incomplete", Severity.ERROR, f"it is compressed as {kind}, which is not unpacked here")


def is_safetensors(head: bytes, content: Content) -> bool:
    """Whether it begins as safetensors does: the header's length, then JSON."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= content.size - 8  # noqa: PLR2004


def is_numbers(name: str) -> bool:
    """Whether the name promises numbers or plain text."""
    return name.endswith(_NUMBERS)


def may_be_nested(data: bytes) -> bool:
    """Whether the bytes begin as a pickle or a container does."""
    if data[0] == 0x80 and data[1] <= 5:  # noqa: PLR2004 - a protocol number
        return True
    if data.startswith((b"PK\x03\x04", b"\x93NUMPY")) or (packing(data) is not None and len(data) > 16):  # noqa: PLR2004
        return True
    if looks_like_tar(data):
        return True
    return data[:1] in {b"c", b"(", b"}", b"]", b"i"} and b"\n" in data[:200]


def stretch(content: Content, start: int, length: int) -> Content:
    """Part of some content as content of its own."""
    return Window(content, start, length)
