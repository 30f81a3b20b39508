from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from assay.cli.output import hashing


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_pipe_there_is_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with hashing("verifying [m]", tmp_path) as report:
        assert report is None
    assert pipe.getvalue() == ""


@pytest.mark.parametrize("name", ["m", "m/a", "gone"])
def test_on_a_terminal_the_bytes_are_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m" / "deep").mkdir(parents=True)
    (tmp_path / "m" / "a").write_bytes(b"1" * 3000)
    (tmp_path / "m" / "deep" / "b").write_bytes(b"1" * 1000)
    (tmp_path / "m" / "link").symlink_to("gone")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    with hashing("verifying [m]", tmp_path / name) as report:
        assert report is not None
        report(2000)
        report(1000)
    said = terminal.getvalue()
    assert "verifying [m]" in said
    total = {"m": "3.0/4.0 kB", "m/a": "3.0/3.0 kB", "gone": "3.0/? kB"}[name]
    assert total in said, said
