from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import skops.io
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure
from assay.errors import ConfigError, LogError
from assay.findings import Finding
from assay.frameworks.resident import residents
from assay.keys.pem import PemSigner, load_public
from assay.signing.guard import Guard
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verified import VerifiedModel
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
FAST = timedelta(milliseconds=20)


def network() -> torch.nn.Sequential:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))


def verified(model: Path) -> VerifiedModel:
    sign(model, SIGNER, now=NOW)
    return verify(model, signers=SignedByKey(load_public(SIGNER.public_pem())), now=NOW)


def until(true: Callable[[], bool], *, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()


class Log:
    def __init__(self, *, full: bool = False) -> None:
        self.entries: list[tuple[str, str, Mapping[str, object]]] = []
        self._full = full

    def append(
        self, kind: str, subject: str, data: Mapping[str, object], *, actor: str, now: datetime, once: str | None = None
    ) -> int:
        del actor, now, once
        if self._full:
            raise LogError("the disk is full")
        self.entries.append((kind, subject, data))
        return len(self.entries) - 1


def test_a_flipped_bit_of_a_network_is_found_within_a_pass_and_told_once(tmp_path: Path) -> None:
    running, told, log = network(), list[tuple[Finding, int]](), Log()
    save_torch(running.state_dict(), tmp_path / "model.safetensors")
    with verified(tmp_path) as model:
        model.load("safetensors")
        guard = Guard(
            running, model, every=FAST, budget=0.5, on_change=lambda one: told.append((one, guard.passes)), log=log
        )
        with guard:
            assert guard.unsigned == ()
            assert until(lambda: guard.passes >= 2)
            assert told == []
            with torch.no_grad():
                running.state_dict()["2.weight"].view(torch.int32)[1, 7] ^= 1 << 22
            passes = guard.passes
            assert until(lambda: bool(told))
            assert until(lambda: guard.passes >= told[0][1] + 4)
    ((found, ended),) = told
    assert ended <= passes + 1  # the pass in hand may have been beyond it, the next one is not
    assert (found.rule, found.subject) == ("guard.tensor-changed", "model.safetensors:2.weight")
    assert "has other values in memory than when the model was signed" in found.detail
    assert guard.findings == (found,)
    assert [(kind, subject) for kind, subject, _ in log.entries] == [("guard.changed", tmp_path.name)]
    assert not guard.running


def test_stopping_is_clean_in_the_middle_of_a_pass_and_a_guard_can_start_again() -> None:
    before = guarding()
    arrays = {"w": np.zeros(64 * 1024 * 1024, dtype="u1")}
    guard = Guard(arrays, manifest_of(), every="1h", budget=0.001)
    guard.start()
    with pytest.raises(ValueError, match="runs already"):
        guard.start()
    assert until(lambda: guard.running)
    guard.stop()
    guard.stop()
    assert (guard.passes, guard.running) == (0, False)  # the pass, a minute at this budget, was not waited for
    guard.start()
    guard.stop()
    assert guarding() == before


def guarding() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == "assay-guard"}


def manifest_of() -> Manifest:
    """Of a model that has none of the tensors here."""
    with tempfile.TemporaryDirectory() as made:
        save_file({"other": np.ones(3, dtype="f4")}, Path(made) / "m.safetensors")
        return measure(Path(made))


def test_the_budget_is_kept() -> None:
    arrays = {"w": np.zeros(32 * 1024 * 1024, dtype="u1")}
    guard = Guard(arrays, manifest_of(), every=FAST, budget=0.05)
    others = guarding()
    begun = time.monotonic()
    guard.start()
    (thread,) = guarding() - others
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    time.sleep(1.5)
    share = time.clock_gettime(clock) / (time.monotonic() - begun)
    guard.stop()
    assert share < 0.15  # three times the budget: a slice is never cut short


def test_what_is_not_in_the_signature_is_held_against_the_first_pass() -> None:
    arrays = {"w": np.zeros(1000, dtype="f4"), "nested": {"b": np.arange(6).reshape(2, 3).T}}
    guard = Guard(arrays, manifest_of())
    assert guard.unsigned == ("w", "nested.b")
    assert guard.check() == ()
    nested = arrays["nested"]
    assert isinstance(nested, dict)
    nested["b"][2, 1] = 9
    (found,) = guard.check()
    assert found.subject == "nested.b"
    assert "than in the first pass" in found.detail
    assert guard.check() == ()  # told once
    nested["b"][2, 1] = 10
    assert [one.subject for one in guard.check()] == ["nested.b"]  # changed again
    arrays["w"] = np.zeros(1000, dtype="f8")
    assert [one.subject for one in guard.check()] == ["w"]  # replaced by another type
    del arrays["nested"]
    assert [one.subject for one in guard.check()] == ["nested.b"]


def test_weights_that_were_changed_before_the_guard_began_are_found_by_the_signature(tmp_path: Path) -> None:
    save_file({"w": np.ones((300, 5), dtype="f4")}, tmp_path / "m.safetensors")
    with verified(tmp_path) as model:
        loaded = model.load("safetensors").arrays()
    assert Guard(loaded, model).check() == ()
    assert Guard({"w": np.asfortranarray(loaded["w"])}, model).check() == ()  # the same values in another order
    edited = loaded["w"].copy()
    edited[299, 4] = np.nextafter(np.float32(1), np.float32(2))
    (found,) = Guard({"w": edited}, model).check()
    assert (found.subject, "than when the model was signed" in found.detail) == ("m.safetensors:w", True)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=1),
    ],
    ids=["pipeline", "forest", "boosting"],
)
def test_an_estimator_loaded_from_skops_is_guarded(estimator: object, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    estimator.fit(rows, rows[:, 0] > 0)  # type: ignore[attr-defined]  # every one of them has it
    skops.io.dump(estimator, tmp_path / "model.skops")
    with verified(tmp_path) as model:
        loaded = model.load("sklearn")
        guard = Guard(loaded, model)
        assert guard.check() == ()
        arrays = {one.name: one for one in residents(loaded)}
        assert len(arrays) > 2
        inner = loaded.model  # type: ignore[attr-defined]  # SklearnModel
        if isinstance(inner, RandomForestClassifier):
            inner.estimators_[1].tree_.value[0, 0, 0] += 1e-9
        elif isinstance(inner, HistGradientBoostingClassifier):
            inner._predictors[1][0].nodes["value"][0] += 1e-9
        else:
            assert "steps.1.1.coef_" not in guard.unsigned  # by the name that skops gives it, it is in the signature
            inner.steps[1][1].coef_[0, 0] += 1e-9
        assert len(guard.check()) == 1


def test_what_goes_wrong_in_telling_is_a_finding_and_the_guard_goes_on() -> None:
    def raising(_finding: Finding) -> None:
        raise RuntimeError("no network")

    arrays = {"w": np.zeros(10), "v": np.zeros(10)}
    guard = Guard(arrays, manifest_of(), on_change=raising, log=Log(full=True))
    guard.check()
    arrays["w"][0] = arrays["v"][0] = 1
    rules = [one.rule for one in guard.check()]
    assert rules == ["guard.tensor-changed", "audit.not-logged", "guard.untold"] * 2


def test_a_pass_that_fails_is_a_finding_and_the_guard_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"w": np.zeros(10)}
    guard = Guard(arrays, manifest_of(), every=FAST, budget=1.0)
    real = guard._residents
    fails = iter([True, True])
    monkeypatch.setattr(guard, "_residents", lambda: real() if not next(fails, False) else 1 / 0)
    with guard:
        assert until(lambda: guard.passes >= 2)
    assert [one.rule for one in guard.findings] == ["guard.failed"]


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(3)}
    signed = manifest_of()
    for loaded in ({}, {"w": np.array(["a"], dtype=object)}, object(), len):
        with pytest.raises(ValueError, match="nothing to guard"):
            Guard(loaded, signed)
    with pytest.raises(ValueError, match="nothing to guard"):
        Guard(arrays, signed, ignore={"w"})
    for budget in (0.0, -1.0, 1.1):
        with pytest.raises(ValueError, match="share of one core"):
            Guard(arrays, signed, budget=budget)
    with pytest.raises(ConfigError, match="found the span"):
        Guard(arrays, signed, every="soon")
    save_file({"w": np.ones(3, dtype="f4")}, tmp_path / "m.safetensors")
    with verified(tmp_path) as model, pytest.raises(TypeError, match="nothing is resident"):
        Guard(model.load("safetensors"), model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "bool", "int64", "complex64"])
def test_every_element_type_is_hashed_as_its_file_has_it(dtype: str, tmp_path: Path) -> None:
    tensor = torch.arange(24).reshape(4, 6).to(getattr(torch, dtype))
    save_torch({"w": tensor, "scalar": tensor[1, 1].clone()}, tmp_path / "m.safetensors")
    with verified(tmp_path) as model:
        guard = Guard({"w": tensor, "scalar": tensor[1, 1]}, model)
        assert guard.unsigned == ()
        assert guard.check() == ()
        assert Guard({"w": tensor.T.contiguous().T}, model).check() == ()


def test_the_same_bytes_in_another_shape_are_a_change() -> None:
    arrays = {"w": np.zeros((4, 3), dtype="f4")}
    guard = Guard(arrays, manifest_of())
    assert guard.check() == ()
    arrays["w"] = arrays["w"].reshape(3, 4)
    (found,) = guard.check()
    assert "is no longer there, or of another type or shape" in found.detail


def test_elements_are_compared_however_the_file_orders_them(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(12, dtype="f4").reshape(4, 3))
    np.save(tmp_path / "w.npy", array)
    signed = measure(tmp_path)
    (tensor,) = signed.tensors
    assert tensor.content != tensor.blake3
    guard = Guard({tensor.name: array}, signed)
    assert (guard.unsigned, guard.check()) == ((), ())
    unread = replace(signed, tensors=(replace(tensor, content=""),))
    guard = Guard({tensor.name: array}, unread)
    assert (guard.unsigned, guard.check()) == ((tensor.name,), ())


def test_a_guard_whose_thread_died_is_not_running_and_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard({"w": np.zeros(3)}, manifest_of(), every=FAST, budget=1.0)
    with monkeypatch.context() as broken:
        broken.setattr(guard, "_run", lambda: None)
        guard.start()
        assert until(lambda: not guard.running)
    guard.start()
    assert until(lambda: guard.passes > 0)
    guard.stop()
