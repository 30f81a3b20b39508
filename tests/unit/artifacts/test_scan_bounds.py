"""Any bytes lead to a scan, in bounded time and memory."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import struct
import time
import tracemalloc
import zlib
from functools import partial
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests import scan_malicious

from assay.artifacts.scan import examine, machine
from assay.artifacts.scan.scan import Scan, put_together, scan
from assay.artifacts.scan.source import Budget
from assay.findings import Finding, Severity
from assay.formats.base import ViewContent

SEEDS = [body for body in scan_malicious.every().values() if len(body) < 5000]
SYSTEM = scan_malicious.SYSTEM + scan_malicious.CALL


def looked_through(body: bytes, name: str = "model.pkl") -> Scan:
    return put_together("model", [(name, ViewContent(memoryview(body)))])


@given(
    st.binary(max_size=400),
    st.sampled_from(["m.pkl", "m.pt", "m.npz", "m.onnx", "m.json", "saved_model.pb", "m.jinja"]),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_can_be_scanned(body: bytes, name: str) -> None:
    assert looked_through(body, name).outcome in {"pass", "fail", "unknown"}


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_attacks_can_be_scanned(body: bytes, data: st.DataObject) -> None:
    edited = bytearray(body)
    for _ in range(data.draw(st.integers(1, 6))):
        edited[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    assert looked_through(bytes(edited[:cut]), data.draw(st.sampled_from(["m.pkl", "m.onnx", "m.gguf", "m.h5"]))).files


@given(st.binary(min_size=1, max_size=60), st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_an_attack_between_junk_is_found(before: bytes, after: bytes) -> None:
    # What begins as a format of numbers is read as that, and no loader finds a pickle in it.
    assume(not (before + b"\n").startswith((b"\x89HDF", b"GGUF", b"\x93NUMPY", b"PK")))
    assume(before[8:9] != b"{")
    body = before + b"\n" + pickle.dumps(scan_malicious.command(), protocol=4) + after
    assert "fail" in {looked_through(body).outcome, looked_through(body, "m.bin").outcome}


BOMBS = {
    "gzip": gzip.compress(b"N" * 30_000_000, 9),
    "bz2": bz2.compress(b"N" * 30_000_000),
    "lzma": lzma.compress(b"N" * 30_000_000),
    "zlib": zlib.compress(b"N" * 30_000_000, 9),
    "nested": gzip.compress(gzip.compress(b"N" * 30_000_000, 9)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_to_more_than_is_read_is_not_called_safe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "Budget", partial(Budget, unpacked=1_000_000))
    found = looked_through(BOMBS[name])
    assert found.outcome == "unknown"
    assert any(one.rule == "scan.incomplete" for one in found.findings)


def test_an_attack_in_front_of_a_bomb_is_still_found() -> None:
    assert looked_through(gzip.compress(SYSTEM + b"\0" * 80_000_000)).outcome == "fail"


def test_a_pickle_of_too_many_objects_is_not_called_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_HELD", 10_000)
    for body in (
        b"\x80\x04" + b"N" * 50_000 + b".",
        b"\x80\x04" + b"(" * 50_000 + b".",
        b"\x80\x04N" + b"\x94" * 50_000,
    ):
        assert looked_through(body).outcome == "unknown"


def _lengths() -> dict[str, bytes]:
    return {
        "long4": b"\x80\x02\x8b\xff\xff\xff\x7f",
        "binunicode": b"\x80\x02X\xff\xff\xff\xff",
        "binunicode8": b"\x80\x04\x8d" + b"\xff" * 8,
        "bytearray8": b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f",
        "frame": b"\x80\x04\x95" + b"\xff" * 8,
        "long text": b"\x80\x02V" + b"a" * 100_000,
        "zip": b"PK\x03\x04" + b"\xff" * 26 + b"PK\x05\x06" + b"\xff" * 18,
        "zip64": b"PK\x06\x06" + b"\xff" * 52 + b"PK\x06\x07" + b"\xff" * 16 + b"PK\x05\x06" + b"\xff" * 18,
        "npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        "gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + b"\xff" * 40,
        "gguf array": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 2**60),
        "safetensors": b"\xff" * 8 + b"{",
        "onnx": b"\x08\x08\x3a" + b"\xff" * 9 + b"\x01",
        "tar": b"a" * 124 + b"\x80" + b"\xff" * 11 + b"\0" * 400,
    }


@pytest.mark.parametrize("name", _lengths())
def test_a_length_that_is_not_there_costs_nothing(name: str) -> None:
    tracemalloc.start()
    begin = time.thread_time()
    assert looked_through(_lengths()[name], "m.onnx" if name == "onnx" else "m.pkl").files
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    assert time.thread_time() - begin < 5


def _slow() -> dict[str, tuple[str, bytes]]:
    nested = b"\x80\x04" + b"]" * 200_000 + b"a" * 200_000 + b"."
    return {
        "nested lists": ("m.pkl", nested),
        "doubling": ("m.pkl", b"\x80\x04N" + b"2\x86" * 200_000 + b"."),
        "open template": ("m.jinja", b"{{" * 200_000),
        "open quotes": ("m.jinja", b"{{" + b"'\\" * 200_000),
        "deep json": ("config.json", b"[" * 200_000),
        "huge number": ("config.json", b'{"a":' + b"9" * 200_000 + b"}"),
        "many objects": ("m.h5", b"\x89HDF\r\n\x1a\n" + b'{"name":' * 100_000),
        "letters": ("m.bin", b"ca\n" * 200_000),
        "arrays": ("m.pkl", b"\x80\x02" + scan_malicious.as_array()[2:-200] * 300),
        "beginnings": ("m.bin", b"\0" + b"\x80\x04\x95" * 100_000),
        "reconstructors": (
            "m.pkl",
            b"\x80\x02(" + b"ccopyreg\n_reconstructor\n" * 3000 + b"tq\x00" + b"h\x00h\x00R" * 3000 + b".",
        ),
        "zips in zips": ("m.zip", _zips(12)),
    }


def _zips(depth: int) -> bytes:
    body = SYSTEM
    for _ in range(depth):
        body = scan_malicious.archive({"inner.zip": body})
    return body


@pytest.mark.parametrize("name", _slow())
def test_what_is_made_to_be_slow_is_not(name: str) -> None:
    file, body = _slow()[name]
    begin = time.thread_time()
    assert looked_through(body, file).files
    assert time.thread_time() - begin < 60  # under coverage


def test_containers_nested_too_deeply_are_not_called_safe() -> None:
    assert looked_through(_zips(12), "m.zip").outcome == "unknown"
    assert looked_through(_zips(3), "m.zip").outcome == "fail"


@pytest.mark.parametrize("mark", [b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"])
def test_what_is_packed_in_another_way_is_not_called_safe(mark: bytes) -> None:
    assert looked_through(mark + b"x" * 100, "model.joblib.packed").outcome == "unknown"


def test_tensor_data_is_stepped_over_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.save({"w": torch.zeros(4_000_000)}, tmp_path / "model.pt")
    read = []
    real = os.pread

    def counting(descriptor: int, length: int, offset: int) -> bytes:
        found = real(descriptor, length, offset)
        read.append(len(found))
        return found

    monkeypatch.setattr(os, "pread", counting)
    assert scan(tmp_path).outcome == "pass"
    assert sum(read) < 1_500_000 < (tmp_path / "model.pt").stat().st_size


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "b.pkl").symlink_to("a.pkl")
    found = scan(tmp_path)
    assert [one.rule for one in found.findings] == ["artifact.link"]
    assert found.outcome == "fail"


def test_a_scan_says_what_it_says_as_json(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(SYSTEM)
    said = json.loads(json.dumps(scan(tmp_path).as_json()))
    assert said["outcome"] == "fail"
    assert said["globals"] == {"a.pkl": ["os system"]}
    assert len(said["rules"]["digest"]) == 64


SMALL = {
    # name -> file name, bytes, the rule that must be there ("" for none)
    "gguf cut off": ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + b"\x01", "scan.incomplete"),
    "gguf of another version": ("m.gguf", b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "scan.incomplete"),
    "gguf of an unknown value": (
        "m.gguf",
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99),
        "scan.incomplete",
    ),
    "long template": ("m.jinja", b"{{ a }}" * 200_000, "scan.incomplete"),
    "template that loads": ("m.jinja", b"{% include 'other' %}", "scan.template-loads"),
    "template attack hidden by a quote": ("m.jinja", b"{{ 'a' ~ x._y }}", "scan.dangerous-template"),
    "large graph": ("saved_model.pb", b"\x12\x08ReadFile", "scan.custom-operator"),
    "trust set": ("config.json", b'{"trust_remote_code": true}', "scan.remote-code"),
    "code beside": ("config.json", b'{"auto_map": {"AutoModel": "modeling.Model"}}', "scan.remote-code"),
    "pipelines": ("model_index.json", b'{"custom_pipelines": {"a": {"impl": "x.Y"}}}', "scan.remote-code"),
    "torch in keras": ("config.json", b'{"class_name": "TorchModuleWrapper", "config": {}}', "scan.keras-lambda"),
    "library": ("lib.so", b"\x7fELF" + b"\0" * 60, "scan.program"),
    "library by name": ("lib.dll", b"text", "scan.program"),
    "source": ("modeling.py", b"import os\n", "scan.source-code"),
    "broken pickle": ("m.pkl", b"\x80\x04]]]]\xff", "scan.broken-pickle"),
    "array of unknown size": (
        "m.joblib",
        b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b.",
        "scan.incomplete",
    ),
    "custom operator": ("m.onnx", scan_malicious.onnx_of(domain="mine", operator="X"), "scan.custom-operator"),
    "listed nowhere": ("m.zip", scan_malicious.archive({})[:-22] + b"PK\x03\x04" + b"\0" * 26, "scan.zip-confusion"),
}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_odd_is_told(name: str) -> None:
    file, body, rule = SMALL[name]
    assert rule in {one.rule for one in looked_through(body, file).findings}


def test_a_file_that_cannot_be_read_is_not_looked_at_rather_than_unsafe() -> None:
    unread = Finding("artifact.unreadable", "m.pkl", Severity.ERROR, "cannot be read")
    unsafe = Finding("scan.dangerous-global", "n.pkl", Severity.CRITICAL, "it calls posix.system")
    assert Scan("m", ("m.pkl",), (unread,), {}).outcome == "unknown"
    assert Scan("m", ("m.pkl", "n.pkl"), (unread, unsafe), {}).outcome == "fail"
