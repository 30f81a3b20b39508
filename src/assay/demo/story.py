"""The whole story: every chapter on one stage, the closing table, and result.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from assay.demo import later_story
from assay.demo.data import BIKES, RAIN, fetch
from assay.demo.later_story import BikeStory
from assay.demo.rain_story import RainStory
from assay.demo.stage import Stage, Told
from assay.demo.telling import Teller
from assay.errors import ConfigError
from assay.project import integrity
from assay.project.data import verify_data
from assay.project.validating import validate_model

ATTACKS = frozenset({3, 4, 5, 6, 7, 8})


def tell(folder: Path, *, now: datetime, without: frozenset[int], say: Callable[[str], None]) -> list[Told]:
    """Play all chapters; the last lines are a table of truths and verdicts.

    Args:
        folder: Made anew; the state stays there to be looked at.
        now: The present; the replayed days end the day before it.
        without: Chapters whose attack is left out: their rows must then say that nothing was found.
        say: Takes one line of text.

    Raises:
        ConfigError: A chapter in ``without`` has no attack.
        DownloadError: The data cannot be had.
    """
    strange = sorted(without - ATTACKS)
    if strange:
        attacks = ", ".join(map(str, sorted(ATTACKS)))
        raise ConfigError(f"chapter {strange[0]} has no attack to leave out; chapters with one are {attacks}")
    began = time.monotonic()
    rain_csv, bikes_csv = fetch(RAIN), fetch(BIKES)
    stage = Stage.set_up(folder, now=now, without=without)
    teller = Teller(say)
    rain = RainStory(stage, teller, rain_csv)
    chapters: list[Callable[[], Told]] = [
        rain.chapter_1,
        rain.chapter_2,
        rain.chapter_3,
        rain.chapter_4,
        rain.chapter_5,
        lambda: BikeStory(stage, teller, bikes_csv).chapter_6(),
        lambda: later_story.chapter_7(_looked_at(stage), teller),
        lambda: later_story.chapter_8(stage, teller),
    ]
    for chapter in chapters:
        stage.told.append(chapter())
        _keep(folder, stage.told)
    teller.table(stage.told)
    say("")
    say(f"   {time.monotonic() - began:.0f} seconds; the same in {folder / 'result.json'}")
    return stage.told


def _looked_at(stage: Stage) -> Stage:
    """What a scheduler would have done by now, so that the dashboard shows how things stand."""
    project = stage.project
    for name in project.config.models:
        integrity.verify_model(project, name, now=stage.now).close()
        validate_model(project, name, suite=None, signer=None, now=stage.now)
        project.monitor(name, stage.now)
    verify_data(project, "bikes", now=stage.now)
    project.tell(stage.now)
    return stage


def _keep(folder: Path, told: list[Told]) -> None:
    text = json.dumps([row.as_json() for row in told], indent=2, ensure_ascii=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
