"""From a new key to a live model, typed at a prompt: exit codes, and the keys that docs/reference/json.md promises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.small_project import build
from tests.unit.cli.prompt import Answer, at, typed

pytestmark = [pytest.mark.xdist_group("cli-releasing"), pytest.mark.usefixtures("clock")]

VERIFIED = {
    *("verified", "root", "signer", "key_id", "files", "tensors", "tensor_root", "name", "version", "checked"),
    *("record", "second_store", "findings"),
}
SIGNED = {"root", "signature", "key_id", "files", "tensors", "tensor_root"}
GATE = {"model", "root", "environment", "policy_digest", "request_id", "outcome", "rules", "approvals", "statements"}
REVIEW = {"identity", "decision", "subject"}
LIVE = {"model", "root", "version", "since", "log"}
SUITE = {"suite", "model_root", "created", "outcome", "results", "statement"}
STATUS = {"project", "time", "models", "log", "forgotten"}

# step: the exit code and the keys of its one JSON object
STEPS: dict[str, tuple[int, set[str]]] = {
    "init": (0, {"config", "key", "identity", "checkpoints"}),
    "status before": (3, STATUS),
    "keys new": (0, {"private", "public", "key_id", "algorithm", "encrypted"}),
    "keys trust": (0, {"identity", "key_id", "since", "until"}),
    "keys revoke": (0, {"identity", "key_id", "revoked"}),
    "keys list": (0, {"keys", "digest", "files"}),
    "gate unsigned": (1, {*GATE, "created"}),
    "sign": (0, {*SIGNED, "version", "known_good", "training_data"}),
    "verify": (0, VERIFIED),
    "gate unvalidated": (3, {*GATE, "created"}),
    "validate strict": (1, SUITE),
    "validate": (0, SUITE),
    "reject": (0, REVIEW),
    "gate rejected": (1, {*GATE, "created"}),
    "approve": (0, REVIEW),
    "gate": (0, {*GATE, "created"}),
    "deploy": (0, LIVE),
    "log show": (0, {"entries"}),
    "log verify": (0, {"state", "size", "root", "findings"}),
    "log prove": (0, {"position", "size", "root", "path", "entry", "checkpoint", "key"}),
    "verify changed": (1, {"error", "findings"}),
    "data verify": (0, {"changed", "rows", "root", "findings"}),
    "data verify changed": (1, {"changed", "rows", "root", "findings"}),
    "rollback": (0, LIVE),
    "log verify unwitnessed": (3, {"state", "size", "root", "findings"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made := tmp_path_factory.mktemp("releasing") / "small").mkdir()
    return made


@pytest.fixture(scope="module")
def story(folder: Path) -> Mapping[str, Answer]:
    """Every step once, in the order of the work."""
    build(folder)
    (empty := folder.parent / "empty").mkdir()
    told: dict[str, Answer] = {}
    with at(empty):
        told["init"] = typed("init", "--plain", "--json")
    with at(folder):
        _people_and_bytes(told)
        _reviews(told)
        _looking_back(told, folder)
    return told


def _people_and_bytes(told: dict[str, Answer]) -> None:
    told["status before"] = typed("status", "--json")
    told["keys new"] = typed("keys", "new", "keys/guest.pem", "--plain", "--json")
    told["keys trust"] = typed("keys", "trust", "guest", "keys/guest.pub", "--json")
    told["keys revoke"] = typed("keys", "revoke", told["keys new"].data["key_id"], "--json")
    told["keys list"] = typed("keys", "list", "--json")
    told["gate unsigned"] = typed("gate", "spam", "--json")
    told["sign"] = typed("sign", "spam", "--key", "keys/release.pem", "--json")
    told["verify"] = typed("verify", "spam", "--json")


def _reviews(told: dict[str, Answer]) -> None:
    told["approved too early"] = typed("approve", "spam", "--key", "keys/anna.pem", "--json")
    told["gate unvalidated"] = typed("gate", "spam", "--json")
    told["validate strict"] = typed("validate", "spam", "--suite", "checks/spam.py:strict", "--json")
    reports = ("--junit", "report.xml", "--markdown", "report.md")
    told["validate"] = typed("validate", "spam", "--key", "keys/release.pem", *reports, "--json")
    told["reject"] = typed("reject", "spam", "--key", "keys/ben.pem", "--reason", "unread", "--json")
    told["gate rejected"] = typed("gate", "spam", "--json")
    told["reject taken back"] = typed("approve", "spam", "--key", "keys/ben.pem", "--json")
    told["approve"] = typed("approve", "spam", "--key", "keys/anna.pem", "--reason", "report read", "--json")
    told["gate"] = typed("gate", "spam", "--vsa", "vsa.json", "--key", "keys/release.pem", "--json")
    told["deploy"] = typed("deploy", "spam", "--json")


def _looking_back(told: dict[str, Answer], folder: Path) -> None:
    told["log show"] = typed("log", "show", "--last", "3", "--json")
    told["log verify"] = typed("log", "verify", "--json")
    told["log prove"] = typed("log", "prove", "2", "--json")
    told["log export"] = typed("log", "export", "log.jsonl")
    (folder / "models" / "spam" / "labels.txt").write_text("ham\nspim\n")
    told["verify changed"] = typed("verify", "spam", "--json")
    told["rollback"] = typed("rollback", "spam", "--reason", "labels were edited", "--json")
    told["verify put back"] = typed("verify", "spam", "--json")
    told["data verify"] = typed("data", "verify", "spam", "--json")
    table = folder / "data" / "training.csv"
    table.write_text(table.read_text().replace('"spam"', '"ham"', 1))
    told["data verify changed"] = typed("data", "verify", "spam", "--json")
    (folder / "outside").rename(folder / "gone")
    told["log verify unwitnessed"] = typed("log", "verify", "--json")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_ends_with_its_code_and_prints_one_object_with_the_documented_keys(
    story: Mapping[str, Answer], step: str
) -> None:
    code, keys = STEPS[step]
    assert (story[step].code, set(story[step].data)) == (code, keys), story[step]


def test_the_gate_gives_a_reason_for_every_rule(story: Mapping[str, Answer]) -> None:
    outcomes = {step: story[step].data["outcome"] for step in STEPS if step.startswith("gate")}
    assert outcomes == {
        "gate unsigned": "refuse",
        "gate unvalidated": "unknown",
        "gate rejected": "refuse",
        "gate": "admit",
    }
    rules = story["gate"].data["rules"]
    assert isinstance(rules, list)
    assert all(rule["detail"] for rule in rules)


def test_a_changed_file_is_named_and_put_back_by_a_rollback(story: Mapping[str, Answer]) -> None:
    assert "labels.txt has other bytes than were signed" in str(story["verify changed"].data["error"])
    assert story["verify put back"].code == 0
    assert story["rollback"].data["root"] == story["sign"].data["root"]


def test_a_changed_row_of_training_data_is_named(story: Mapping[str, Answer]) -> None:
    findings = story["data verify changed"].data["findings"]
    assert isinstance(findings, list)
    assert [(one["rule"], "rows" in one["numbers"]) for one in findings if one["rule"].startswith("data.label")] == [
        ("data.label-changed", True)
    ]


def test_the_log_has_what_was_done(story: Mapping[str, Answer]) -> None:
    entries = story["log show"].data["entries"]
    assert isinstance(entries, list)
    assert len(entries) == 3
    assert entries[-1]["kind"] == "model.deployed"
    assert entries[-1]["actor"] == "mlops@acme.example"


def test_reports_and_the_signed_summary_are_written(story: Mapping[str, Answer], folder: Path) -> None:
    assert "<testsuite" in (folder / "report.xml").read_text()
    assert "small" in (folder / "report.md").read_text()
    assert '"payload"' in (folder / "vsa.json").read_text()
    assert story["log export"].out.startswith("wrote ")
    assert len((folder / "log.jsonl").read_text().splitlines()) > 10
