from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path

import pytest

from assay.cli.main import run

FAULT = "a fault in assay itself"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """What a command line printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, object]:
        """The one JSON object on standard output."""
        found = json.loads(self.out)
        assert isinstance(found, dict), self.out
        return found

    def refused(self, code: int, *words: str) -> None:
        """One sentence that says these words, this code, no traceback, no fault of ours."""
        said = f"{self.out}{self.err}"
        assert self.code == code, said
        assert FAULT not in said
        assert "Traceback" not in said
        assert "assay: " in self.err
        for word in words:
            assert word in said, f"{word!r} is not in {said!r}"


def typed(*words: object) -> Answer:
    """Type ``assay WORDS`` in the present folder."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(word) for word in words])
    return Answer(code, out.getvalue(), err.getvalue())


@contextmanager
def at(folder: Path, *, now: datetime | None = None) -> Iterator[None]:
    """Stand in a folder, as a user with a home of their own and, where ``now`` says so, a clock that begins there."""
    with ExitStack() as stack:
        if now is not None:
            stack.enter_context(clock_from(now))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.chdir(folder)
        patch.setattr("sys.stdin", io.StringIO())  # nobody is there to be asked
        patch.setenv("XDG_STATE_HOME", str(folder.parent / "state"))
        patch.setenv("ASSAY_ACTOR", "mlops@acme.example")
        patch.delenv("ASSAY_PASSPHRASE", raising=False)
        patch.delenv("ASSAY_DEBUG", raising=False)
        yield


@contextmanager
def clock_from(moment: datetime) -> Iterator[None]:
    """Each reading of the clock by a verb is a second after the last; no real day counts, and no midnight comes."""
    seconds = count()

    class Slow(datetime):
        """The one class whose reading the verbs take."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain moment is all they want
            return (moment + timedelta(seconds=next(seconds))).astimezone(tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.cli.here.datetime", Slow)
        yield
