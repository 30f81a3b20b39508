"""The page on recording predictions runs as it stands."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assay.monitoring.partitions import recorded_files

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "record-predictions.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_its_snippets_run_one_after_the_other_and_all_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in SNIPPETS:
        if "recorder.close()" in snippet:
            asyncio.run(_asked(names["app"]))
        exec(snippet, names)  # noqa: S102 - our own page
    assert capsys.readouterr().out == "1 0 []\n"
    rows = [row for path in recorded_files(tmp_path / "predictions") for row in pq.read_table(path).to_pylist()]
    said = {(row["prediction"], row["confidence"], row["age"], row["income"], row.get("label")) for row in rows}
    assert said == {
        ("good", 0.93, 41, None, None),
        ("good", None, 41, 90.0, None),
        ("bad", None, 30, 20.0, None),
        ("good", None, 25, 70.0, "good"),
        ("bad", 0.8, None, 30.0, None),
    }
    assert len(rows) == 5


async def _asked(app: object) -> None:
    """One request of the service on the page."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b'{"income": 30.0}', "more_body": False}

    async def send(message: dict[str, object]) -> None:
        del message

    assert callable(app)
    await app({"type": "http", "path": "/predict", "headers": []}, receive, send)
