"""The page on counting elsewhere runs as it stands."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.unit.monitoring.streams import START, requests

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "count-elsewhere.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_its_snippet_judges_two_data_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(requests(20), "reference.parquet")
    pq.write_table(requests(6, start=START + timedelta(days=20), seed=1, wrong=0.6), "current.parquet")
    (snippet,) = SNIPPETS
    exec(snippet, {})  # noqa: S102 - our own page
    said = capsys.readouterr().out
    assert said.startswith("6 [")
    assert "wrong answers: " in said
