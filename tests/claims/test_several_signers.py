"""Where a policy asks for several people's signatures, one person's keys, or one thief's, are not enough."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.small_project import ANNA, BEN, CONFIG, RELEASE, TODAY, Small, build
from tests.unit.cli.prompt import at, typed

from assay.errors import ConfigError, KeyFileError, VerificationError
from assay.keys.pem import generate
from assay.project.cosigning import cosign_model
from assay.project.integrity import verify_model
from assay.project.project import Project
from assay.project.releasing import policy_of
from assay.signing.cosigning import cosign
from assay.signing.sign import sign

TWO_SIGN = CONFIG.replace(
    'signed_by = ["release@acme.example"]',
    f'signed_by = ["release@acme.example", "{ANNA}"]\nsignatures = 2',
)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    made = build(tmp_path, config=TWO_SIGN)
    made.sign()
    return made


def reasons(call: Callable[[], object]) -> list[str]:
    with pytest.raises(VerificationError) as caught:
        call()
    return [finding.rule for finding in caught.value.findings]


def test_a_model_counts_once_the_second_has_signed_and_so_does_its_known_good_copy(small: Small) -> None:
    assert reasons(lambda: verify_model(small.project, "spam", now=TODAY)) == ["signature.too-few"]
    signed, extra = cosign_model(small.project, "spam", small.keys[ANNA], now=TODAY)
    verified = verify_model(small.project, "spam", now=TODAY)
    assert (verified.signer, verified.root) == (RELEASE, signed.manifest.root)
    copy = Path(str(extra["known_good"]))
    assert (copy / "model.sig").read_bytes() == (small.model / "model.sig").read_bytes()
    (entry,) = small.project.log.entries(kinds=["model.cosigned"], subject="spam")
    assert entry.entry.data["key_id"] == small.keys[ANNA].key_id


def test_taking_a_signature_away_is_refused(small: Small) -> None:
    cosign_model(small.project, "spam", small.keys[ANNA], now=TODAY)
    for position in (0, 1):
        text = (small.model / "model.sig").read_text()
        body = json.loads(text)
        del body["dsseEnvelope"]["signatures"][position]
        (small.model / "model.sig").write_text(json.dumps(body))
        assert set(reasons(lambda: verify_model(small.project, "spam", now=TODAY))) & {
            "signature.too-few",
            "signature.bad",
        }
        (small.model / "model.sig").write_text(text)


def test_the_signatures_of_one_model_do_not_move_to_another(small: Small) -> None:
    cosign_model(small.project, "spam", small.keys[ANNA], now=TODAY)
    both = json.loads((small.model / "model.sig").read_text())
    (small.model / "labels.txt").write_text("spam\nham\n")
    small.sign()
    body = json.loads((small.model / "model.sig").read_text())
    body["dsseEnvelope"]["signatures"].append(both["dsseEnvelope"]["signatures"][1])
    (small.model / "model.sig").write_text(json.dumps(body))
    assert reasons(lambda: verify_model(small.project, "spam", now=TODAY)) == ["signature.bad", "signature.too-few"]


def test_whose_signature_would_not_count_does_not_cosign(small: Small) -> None:
    before = (small.model / "model.sig").read_bytes()
    stranger = generate(small.folder / "stranger.pem", passphrase=None)
    for key, rule in ((stranger, "trust.unknown-key"), (small.keys[BEN], "signature.wrong-identity")):
        assert reasons(partial(cosign_model, small.project, "spam", key, now=TODAY)) == [rule]
    with pytest.raises(KeyFileError, match="already"):
        cosign_model(small.project, "spam", small.keys[RELEASE], now=TODAY)
    assert (small.model / "model.sig").read_bytes() == before


def test_a_stranger_beside_the_signers_is_refused(small: Small) -> None:
    cosign_model(small.project, "spam", small.keys[ANNA], now=TODAY)
    cosign(small.model, generate(small.folder / "stranger.pem", passphrase=None), now=TODAY)
    assert reasons(lambda: verify_model(small.project, "spam", now=TODAY)) == ["trust.unknown-key"]


def test_a_bad_signature_is_not_cosigned(small: Small) -> None:
    body = json.loads((small.model / "model.sig").read_text())
    body["dsseEnvelope"]["signatures"][0]["sig"] = "MEUCIQ=="
    (small.model / "model.sig").write_text(json.dumps(body))
    assert "signature.bad" in reasons(lambda: cosign_model(small.project, "spam", small.keys[ANNA], now=TODAY))


def test_the_number_is_part_of_the_policy_that_approvals_are_bound_to(small: Small) -> None:
    policy = policy_of(small.project, "spam")
    assert policy.signatures == 2
    assert replace(policy, signatures=1).digest != policy.digest


@pytest.mark.parametrize("number", ["0", "3", "-1", '"2"', "true", "1.5"])
def test_a_number_that_can_never_be_met_or_asks_for_nobody_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "assay.toml").write_text(TWO_SIGN.replace("signatures = 2", f"signatures = {number}"))
    with pytest.raises(ConfigError, match="signatures"):
        Project.open(tmp_path / "assay.toml", now=TODAY, actor="x")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(b"weights")
    for name in ("one", "two", "three"):
        generate(tmp_path / f"{name}.pem", passphrase=None)
    with at(tmp_path):
        yield tmp_path


def test_at_the_prompt(here: Path) -> None:
    typed("sign", "model", "--key", "two.pem", "--add").refused(2, "without --add")
    assert typed("sign", "model", "--key", "one.pem").code == 0
    keys = ("--public-key", "one.pub", "--public-key", "two.pub")
    typed("verify", "model", *keys, "--at-least", 2).refused(1, "signature.too-few", "assay sign --add")
    assert typed("verify", "model", *keys).code == 0
    assert typed("sign", "model", "--key", "two.pem", "--add", "--json").data["note"]
    typed("sign", "model", "--key", "two.pem", "--add").refused(2, "already")
    assert typed("verify", "model", *keys, "--at-least", 2).code == 0
    typed("verify", "model", "--public-key", "one.pub").refused(1, "signature.unknown-cosigner", "name its key too")
    typed("verify", "model", *keys, "--public-key", "three.pub", "--at-least", 3).refused(1, "signature.too-few")
    typed("verify", "model", *keys, "--at-least", 3).refused(2, "can never be met")
    typed("verify", "model", "--at-least", 1).refused(2, "--public-key")
    for option in (("--hash-type", "blake3"), ("--shard-size", "10"), ("--expires", "2999-01-01")):
        typed("sign", "model", "--key", "three.pem", "--add", *option).refused(2, "--add")
    (here / "model" / "w.bin").write_bytes(b"heavier")
    typed("sign", "model", "--key", "three.pem", "--add").refused(1, "artifact.changed")


def test_by_name_at_the_prompt(small: Small) -> None:
    with at(small.folder, now=TODAY):
        typed("verify", "spam").refused(1, "signature.too-few")
        done = typed("sign", "spam", "--key", "keys/anna.pem", "--add", "--json")
        assert (done.code, done.data["version"]) == (0, 1)
        assert typed("verify", "spam").code == 0


def test_other_listings_at_the_prompt(here: Path) -> None:
    for options, resource in (
        (("--shard-size", "4"), "w.bin:0:4"),
        (("--hash-type", "blake2b"), "w.bin"),
        (("--hash-type", "blake3", "--shard-size", "100"), "w.bin:0:7"),
    ):
        assert typed("sign", "model", "--key", "one.pem", *options).code == 0
        assert resource in payload(here / "model" / "model.sig")
        assert typed("verify", "model", "--public-key", "one.pub").code == 0
    typed("sign", "model", "--key", "one.pem", "--shard-size", "0").refused(2, "--shard-size")


def payload(signature: Path) -> list[str]:
    import base64

    body: Any = json.loads(signature.read_text())
    statement: Any = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    return [one["name"] for one in statement["predicate"]["resources"]]


def test_signing_again_starts_anew(here: Path) -> None:
    assert typed("sign", "model", "--key", "one.pem").code == 0
    assert typed("sign", "model", "--key", "two.pem", "--add").code == 0
    sign(here / "model", generate(here / "four.pem", passphrase=None), now=TODAY)
    assert typed("verify", "model", "--public-key", "four.pub").code == 0
