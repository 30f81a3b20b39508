"""The installed command with nowhere to write: a sentence, an exit code that is not 0, and nothing lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.small_project import Small, build

ASSAY = str(Path(sys.executable).with_name("assay"))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Small:
    small = build(tmp_path_factory.mktemp("full"))
    small.sign()
    small.project.state.dispose()
    small.project.log.close()
    return small


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", line.replace("assay ", f"{ASSAY} ", 1)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "words", ["status", "status --json", "log show --json", "keys list", "--help", "verify nothing"]
)
def test_output_that_cannot_be_written_is_no_success_and_no_traceback(signed: Small, words: str) -> None:
    done = shell(signed.folder, f"assay {words} > /dev/full")
    assert done.returncode in {2, 3}
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("assay: ")


def test_a_reader_that_goes_away_is_no_error(signed: Small) -> None:
    done = shell(signed.folder, "set -o pipefail; assay log show --json | head -c 1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "limit_kib"), [("sign spam --key keys/release.pem", 16), ("baseline spam", 60), ("tick", 60)]
)
def test_a_full_disk_is_one_sentence_and_the_log_stays_whole(
    signed: Small, tmp_path: Path, words: str, limit_kib: int
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(signed.folder, folder)
    signature = (folder / "models" / "spam" / "model.sig").read_bytes()
    done = shell(folder, f"ulimit -f {limit_kib}; trap '' XFSZ; assay {words}")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "fault in assay itself" not in done.stderr
    after = shell(folder, "assay log verify --json")
    assert '"state": "sound"' in after.stdout
    assert (folder / "models" / "spam" / "model.sig").read_bytes() == signature
    assert shell(folder, "assay verify spam").returncode == 0
