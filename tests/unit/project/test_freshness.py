"""What a check may be taken to say as it grows old, and what a model's light is made of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.small_project import RELEASE, TODAY, Small

from assay.errors import VerificationError
from assay.project import checks
from assay.project.checks import Check, Light
from assay.project.data import verify_data
from assay.project.health import ModelHealth, project_health
from assay.project.integrity import verify_model
from assay.project.people import revoke_key

DAY = timedelta(days=1)


def check(outcome: str | None, age: timedelta = timedelta(0), limit: timedelta = 2 * DAY) -> Check:
    return Check("bytes", outcome, TODAY - age if outcome else None, limit)


@pytest.mark.parametrize(
    ("seen", "light"),
    [
        (check("pass"), Light.GOOD),
        (check("pass", 2 * DAY), Light.GOOD),
        (check("pass", 2 * DAY + timedelta(microseconds=1)), Light.STALE),
        (check("pass", 400 * DAY), Light.STALE),
        (check("fail"), Light.BAD),
        (check("fail", 400 * DAY), Light.BAD),
        (check("unknown"), Light.UNCERTAIN),
        (check("unknown", 3 * DAY), Light.STALE),
        (check(None), Light.NEVER),
    ],
)
def test_an_old_pass_is_stale_and_an_old_failure_stays_bad(seen: Check, light: Light) -> None:
    assert seen.light(TODAY) is light


def test_critical_models_must_be_validated_more_often_and_wide_windows_may_wait_longer() -> None:
    assert checks.limits(tier="critical", window=DAY)["validation"] == 2 * DAY
    assert checks.limits(tier="standard", window=DAY)["validation"] == 8 * DAY
    assert checks.limits(tier="standard", window=timedelta(hours=1))["monitoring"] == 2 * DAY
    assert checks.limits(tier="standard", window=15 * DAY)["monitoring"] == 30 * DAY


def test_a_check_is_remembered_once_a_kind_and_model(small: Small) -> None:
    state = small.project.state
    checks.record(state, "spam", "bytes", outcome="fail", detail="first", now=TODAY)
    checks.record(state, "spam", "bytes", outcome="pass", detail="second", now=TODAY, body={"files": 2}, position=7)
    checks.record(state, "ham", "bytes", outcome="unknown", detail="another", now=TODAY)
    found = checks.last(state, "spam", {"bytes": DAY, "data": DAY})
    assert (found["bytes"].outcome, found["bytes"].detail, found["bytes"].position) == ("pass", "second", 7)
    assert found["bytes"].body == {"files": 2}
    assert found["data"].light(TODAY) is Light.NEVER


def health(small: Small, *, days: float = 0) -> ModelHealth:
    return project_health(small.project, now=TODAY + timedelta(days=days)).models[0]


def test_a_model_that_nobody_checked_is_not_green(small: Small) -> None:
    found = health(small)
    assert (found.light, found.headline) == (Light.NEVER, "never deployed")
    assert {kind: one.light(TODAY) for kind, one in found.checks.items()} == dict.fromkeys(
        ("bytes", "data", "validation", "monitoring", "diagnosis"), Light.NEVER
    )


def test_green_only_while_every_check_is_fresh(small: Small) -> None:
    small.go_live()
    small.serve(3, start=TODAY)
    small.project.monitor("spam", TODAY + 3 * DAY)
    verify_model(small.project, "spam", now=TODAY + 3 * DAY)
    fresh = health(small, days=3)
    assert (fresh.light, fresh.headline) == (Light.GOOD, "as deployed, and behaving as approved")
    old = health(small, days=7)
    assert old.light is Light.STALE
    assert old.headline == "not checked lately: bytes, monitoring"
    assert "data" in health(small, days=9).headline
    assert fresh.live is not None
    assert fresh.as_json(TODAY)["root"] == fresh.live.root


def test_predictions_that_stopped_coming_are_an_alarm_not_a_green_light(small: Small) -> None:
    small.go_live()
    small.serve(3, start=TODAY)
    watched = small.project.monitor("spam", TODAY + 6 * DAY)
    assert {alarm.signal for alarm in watched.new} == {"volume"}
    assert health(small, days=6).checks["monitoring"].light(TODAY + 6 * DAY) is Light.BAD


def test_refused_bytes_outrank_everything_else(small: Small) -> None:
    small.go_live()
    (small.model / "labels.txt").write_text("spam\nham\n")
    with pytest.raises(VerificationError):
        verify_model(small.project, "spam", now=TODAY)
    small.project.tell(TODAY)
    found = health(small, days=90)
    assert (found.light, found.headline) == (Light.BAD, "the deployed bytes are not the signed ones")
    assert [one.kind for one in found.incidents] == ["integrity"]


def test_a_revoked_signer_is_not_told_as_changed_bytes(small: Small) -> None:
    small.go_live()
    revoke_key(small.project, small.keys[RELEASE].key_id, at=None, now=TODAY)
    with pytest.raises(VerificationError, match="revoked"):
        verify_model(small.project, "spam", now=TODAY)
    small.project.tell(TODAY)
    assert health(small).headline == "the signature of the deployed model does not count"


def test_changed_training_data_are_bad_and_put_back_they_are_not(small: Small) -> None:
    small.go_live()
    table = small.folder / "data" / "training.csv"
    whole = table.read_text()
    table.write_text(whole.replace('"ham"', '"spam"', 1))
    verify_data(small.project, "spam", now=TODAY)
    assert (health(small).light, health(small).headline) == (Light.BAD, "the training data changed")
    table.write_text(whole)
    verify_data(small.project, "spam", now=TODAY)
    assert health(small).checks["data"].light(TODAY) is Light.GOOD


def test_health_as_json_names_every_check_and_the_log(small: Small) -> None:
    small.go_live()
    said = project_health(small.project, now=TODAY).as_json(TODAY)
    assert set(said) == {"project", "time", "models", "log", "forgotten"}
    models = said["models"]
    assert isinstance(models, list)
    assert set(models[0]["checks"]) == {"bytes", "data", "validation", "monitoring", "diagnosis"}
    assert models[0]["version"] == 1
    log = said["log"]
    assert isinstance(log, dict)
    assert (log["light"], log["size"]) == ("never", small.project.log.size())


def test_a_fingerprint_that_was_recorded_is_a_light_and_another_model_is_the_headline(small: Small) -> None:
    small.go_live()
    assert "fingerprint" not in health(small).checks
    state = small.project.state
    checks.record(state, "spam", "fingerprint", outcome="pass", detail="the same", now=TODAY)
    assert health(small).checks["fingerprint"].light(TODAY) is Light.GOOD
    assert health(small, days=3).checks["fingerprint"].light(TODAY + 3 * DAY) is Light.STALE
    checks.record(state, "spam", "fingerprint", outcome="fail", detail="another model", now=TODAY)
    assert (health(small).light, health(small).headline) == (Light.BAD, "another model answers than was recorded")
