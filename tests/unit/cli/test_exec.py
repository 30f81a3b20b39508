"""`assay exec`: the program that is started reads the verified bytes, whatever is done to the files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.cli.prompt import at, typed

from assay.keys.pem import generate

PRINT = "import os,sys; print(open(sys.argv[1]).read(), os.environ['ASSAY_MODEL'] in sys.argv[1])"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.txt").write_text("good")
    (folder / "sub" / "labels.txt").write_text("ham")
    generate(tmp_path / "key.pem", passphrase=None)
    assert typed("sign", folder, "--key", tmp_path / "key.pem").code == 0
    return folder


def words(model: Path, *command: object, options: tuple[str, ...] = ()) -> list[str]:
    line = ["exec", model, "--public-key", model.parent / "key.pub", *options, "--", *command]
    return [str(word) for word in line]


def done(line: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "assay.cli.main", *line]
    return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False, **more)  # type: ignore[call-overload,no-any-return]  # only cwd


@contextmanager
def started(line: list[str]) -> Iterator[subprocess.Popen[str]]:
    whole = [sys.executable, "-m", "assay.cli.main", *line]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("options", [(), ("--real-files",)])
def test_the_command_gets_the_verified_folder_and_its_exit_code_is_ours(model: Path, options: tuple[str, ...]) -> None:
    found = done(words(model, sys.executable, "-c", PRINT, "{model}/sub/labels.txt", options=options))
    assert (found.stdout, found.returncode) == ("ham True\n", 0), found.stderr
    assert done(words(model, sys.executable, "-c", "import sys; sys.exit(7)", "{model}")).returncode == 7
    assert done(words(model, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)", "{model}")).returncode == 137


def test_a_model_that_is_a_file_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("good")
    generate(tmp_path / "key.pem", passphrase=None)
    assert typed("sign", tmp_path / "one.txt", "--key", tmp_path / "key.pem").code == 0
    found = done(words(tmp_path / "one.txt", "sh", "-c", 'cat "{model}"; basename {model}'))
    assert found.stdout == "goodone.txt\n", found.stderr


def test_a_program_that_resolves_links_finds_real_files(model: Path) -> None:
    line = words(model, "realpath", "{model}/weights.txt", options=("--real-files",))
    found = done(line).stdout
    assert found.endswith("/weights.txt\n")
    assert "memfd" not in found
    assert not Path(found.strip()).exists()  # it went with the command


def test_a_server_serves_the_verified_bytes_after_the_files_were_swapped(model: Path) -> None:
    serve = (
        "import http.server, functools, sys\n"
        "handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    with started(words(model, sys.executable, "-c", serve, "{model}")) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        (model / "weights.txt").write_text("evil")
        (model / "sub" / "labels.txt").unlink()
        for name, content in (("weights.txt", b"good"), ("sub/labels.txt", b"ham")):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
                assert answer.read() == content
        process.send_signal(signal.SIGTERM)  # to assay alone, as an orchestrator does
        assert process.wait(timeout=20) == 128 + signal.SIGTERM


def test_signals_reach_the_command_and_it_may_end_as_it_likes(model: Path) -> None:
    wait = (
        "import signal, sys, time\n"
        "for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):\n"
        "    signal.signal(number, lambda n, f: (print(n, flush=True), n == signal.SIGINT and sys.exit(5)))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    with started(words(model, sys.executable, "-c", wait, "{model}")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
            process.send_signal(number)
            assert int(process.stdout.readline()) == number
        assert process.wait(timeout=20) == 5


def test_a_changed_model_starts_nothing(model: Path, tmp_path: Path) -> None:
    (model / "weights.txt").write_text("evil")
    answer = typed(*words(model, "touch", tmp_path / "started", "{model}"))
    answer.refused(1, "weights.txt has other bytes than were signed")
    assert not (tmp_path / "started").exists()


def test_wrong_use_is_a_sentence(model: Path, tmp_path: Path) -> None:
    with at(tmp_path):
        typed(*words(model, "cat", "/etc/hostname")).refused(2, "no word of the command has {model}")
        typed("exec", model, "--", "cat", "{model}").refused(2, "whose signature counts")
        typed("exec", model, "--public-key", tmp_path / "key.pub").refused(2, "COMMAND")
    assert typed(*words(model, "no-such-command-here", "{model}")).code == 127
    assert typed(*words(model, model / "weights.txt", "{model}")).code == 126


def test_a_json_option_of_the_command_is_its_own(model: Path) -> None:
    (model / "weights.txt").write_text("evil")
    answer = typed(*words(model, "cat", "--json", "{model}"))
    assert answer.out == ""
    assert answer.code == 1


def test_a_signal_before_the_command_runs_is_not_lost(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def slow(*arguments: object, **more: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)  # the handler runs here, before there is a child
        return real(*arguments, **more)  # type: ignore[call-overload]  # passed through

    monkeypatch.setattr(subprocess, "Popen", slow)
    assert typed(*words(model, "sh", "-c", "sleep 30", "{model}")).code == 128 + signal.SIGTERM
