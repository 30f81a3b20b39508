from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import scan_malicious
from tests.small_project import CONFIG, build
from tests.unit.cli.prompt import at, typed

from assay.keys.pem import generate

EVIL = pickle.dumps(scan_malicious.command(), protocol=4)
STRANGE = b"\x80\x02cmypackage\nModel\n)\x81."


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "here"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights.pkl").write_bytes(scan_malicious.BENIGN)
    generate(folder / "key.pem", passphrase=None)
    with at(folder):
        yield folder


@pytest.mark.usefixtures("here")
def test_a_harmless_model_is_fine() -> None:
    done = typed("scan", "model")
    assert done.code == 0
    assert "nothing unsafe" in done.out


def test_an_attack_is_named_and_ends_with_1(here: Path) -> None:
    (here / "model" / "evil.pkl").write_bytes(EVIL)
    done = typed("scan", "model")
    assert done.code == 1
    assert "posix.system" in done.out
    assert "evil.pkl" in done.out
    said = typed("scan", "model", "--json").data
    assert said["outcome"] == "fail"
    assert said["findings"][0]["rule"] == "scan.dangerous-global"  # type: ignore[index]  # a list, by the line above


def test_what_nobody_knows_ends_with_1_unless_it_was_signed(here: Path) -> None:
    (here / "model" / "strange.pkl").write_bytes(STRANGE)
    assert typed("scan", "model").code == 1
    assert typed("sign", "model", "--key", "key.pem").code == 0
    assert typed("scan", "model").code == 1
    done = typed("scan", "model", "--public-key", "key.pub")
    assert done.code == 0
    assert "signed that this model uses it" in done.out


def test_a_new_name_is_a_finding_and_danger_is_said_whoever_signed(here: Path) -> None:
    assert typed("sign", "model", "--key", "key.pem").code == 0
    assert typed("scan", "model", "--public-key", "key.pub").code == 0
    (here / "model" / "weights.pkl").write_bytes(pickle.dumps(range(3)))
    done = typed("scan", "model", "--public-key", "key.pub")
    assert done.code == 1
    assert "scan.new-global" in done.out
    assert "builtins.range" in done.out
    (here / "model" / "weights.pkl").write_bytes(EVIL)
    assert typed("sign", "model", "--key", "key.pem").code == 0
    done = typed("scan", "model", "--public-key", "key.pub")
    assert done.code == 1
    assert "scan.dangerous-global" in done.out


def test_a_single_file_is_held_against_its_signature(here: Path) -> None:
    (here / "one.pkl").write_bytes(STRANGE)
    assert typed("sign", "one.pkl", "--key", "key.pem").code == 0
    assert typed("scan", "one.pkl", "--public-key", "key.pub").code == 0


def test_globals_of_the_wrong_signer_do_not_count(here: Path) -> None:
    (here / "model" / "strange.pkl").write_bytes(STRANGE)
    assert typed("sign", "model", "--key", "key.pem").code == 0
    generate(here / "other.pem", passphrase=None)
    typed("scan", "model", "--public-key", "other.pub").refused(1, "signature.wrong-key")


@pytest.mark.usefixtures("here")
def test_an_unsigned_model_cannot_be_held_against_a_key() -> None:
    typed("scan", "model", "--public-key", "key.pub").refused(1, "signature.missing")


def test_a_part_that_could_not_be_scanned_ends_with_3(here: Path) -> None:
    body = scan_malicious.BENIGN
    for _ in range(12):
        body = scan_malicious.archive({"inner.zip": body})
    (here / "model" / "deep.zip").write_bytes(body)
    done = typed("scan", "model")
    assert done.code == 3
    assert "scan.incomplete" in done.out


def test_sarif_names_the_file_and_the_rule(here: Path) -> None:
    (here / "model" / "evil.pkl").write_bytes(EVIL)
    assert typed("scan", "model", "--sarif", "out.sarif").code == 1
    (run,) = json.loads((here / "out.sarif").read_text())["runs"]
    (result,) = run["results"]
    assert result["ruleId"] == run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "scan.dangerous-global"
    assert result["level"] == "error"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "evil.pkl"
    assert place["region"]["byteOffset"] > 0


def test_a_second_opinion_is_said_where_it_differs(here: Path) -> None:
    (here / "model" / "hidden.pt").write_bytes(scan_malicious.every()["containers/inline.joblib.lzma"])
    done = typed("scan", "model", "--second-opinion")
    assert done.code == 1
    assert "scan.second-opinion" in done.out
    (here / "model" / "hidden.pt").write_bytes(EVIL)
    assert "scan.second-opinion" not in typed("scan", "model", "--second-opinion").out


@pytest.mark.usefixtures("here")
def test_wrong_use_is_said() -> None:
    typed("scan", "nowhere").refused(2, "nowhere")
    typed("scan", "model", "--key", "key.pem").refused(2, "NAME")
    typed("scan", "model", "--sarif", "no/such/folder/x.sarif").refused(3, "cannot be written")


@pytest.mark.usefixtures("clock")
def test_by_name_the_verified_bytes_are_scanned_for_the_gate(tmp_path: Path) -> None:
    config = CONFIG.replace('["validation", "lineage"]', '["scan"]').replace("approvals = 1", "approvals = 0")
    (tmp_path / "project").mkdir()
    small = build(tmp_path / "project", config=config)
    with at(small.folder):
        assert typed("sign", "spam", "--key", "keys/release.pem").code == 0
        typed("scan", "spam", "--signature", "x").refused(2, "PATH")
        assert "not signed" in typed("scan", "spam").out
        assert typed("gate", "spam").code == 3
        done = typed("scan", "spam", "--key", "keys/release.pem", "--json", "--second-opinion")
        assert done.code == 0
        assert len(str(done.data["statement"])) == 64
        assert typed("gate", "spam").code == 0
        (small.model / "labels.txt").write_text("x")
        typed("scan", "spam").refused(1, "labels.txt")
