"""``assay exec``: verify a model, then start a program that can read nothing but the verified bytes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from assay.artifacts.snapshot import Snapshot
from assay.cli.output import print_findings
from assay.cli.sign import ignore_option, signature_option
from assay.cli.verify import verified
from assay.cli.whose import time_options, whose_options
from assay.errors import ConfigError

PLACE = "{model}"
VARIABLE = "ASSAY_MODEL"
_NOT_FOUND, _NOT_RUNNABLE, _SIGNALLED = 127, 126, 128  # the shell's own exit codes
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_FROM_KEYBOARD = {signal.SIGINT, signal.SIGQUIT}


@click.command()
@click.argument("what", metavar="PATH|NAME")
@signature_option
@whose_options
@time_options
@ignore_option
@click.option("--real-files", is_flag=True, help="A private folder of real files, for programs that resolve links.")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
def exec(  # noqa: A001  the verb's own word
    *,
    what: str,
    signature: Path | None,
    ignore: tuple[Path, ...],
    real_files: bool,
    command: tuple[str, ...],
    **whose: object,
) -> int:
    """Verify a model, then run COMMAND with {model} replaced by the path of a sealed copy of the verified bytes.

    The path is also in the environment, as ASSAY_MODEL. Both digests are checked. Signals are passed on, and the exit
    code is the command's. The copy is gone when the command ends.
    """
    if not any(PLACE in word for word in command):
        raise ConfigError(
            f"no word of the command has {PLACE}, which stands for the path of the verified copy: without it the "
            f"command would read the model from somewhere else (or write '{PLACE}' and read ${VARIABLE})"
        )
    with verified(what, whose, signature=signature, ignore=ignore, thorough=True, hold=True) as model:
        print_findings(model.findings, err=True)
        place = _place(model.files(), real=real_files)
        return _run([word.replace(PLACE, place) for word in command], {**os.environ, VARIABLE: place})


def _place(files: Snapshot, *, real: bool) -> str:
    """The folder of the copy; for a model that is a single file, that file under its own name."""
    folder = files.real_folder() if real else files.folder()
    return f"{folder}/{files.name}" if files.names() == (files.name,) else folder


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run to the end. This process stays: the paths that the command was given lead through its descriptors."""
    running: list[subprocess.Popen[bytes]] = []
    missed: list[int] = []  # came before there was anybody to pass them on to

    def forward(number: int) -> None:
        if not running:
            missed.append(number)
        elif running[0].returncode is None:
            running[0].send_signal(number)

    with _handling(forward):
        try:
            child = subprocess.Popen(command, env=environment)  # noqa: S603  the user's own command is the point
        except FileNotFoundError:
            click.echo(f"assay: {command[0]}: there is no such command", err=True)
            return _NOT_FOUND
        except OSError as err:
            click.echo(f"assay: {command[0]} cannot be started: {err.strerror or err}", err=True)
            return _NOT_RUNNABLE
        running.append(child)
        for number in missed:
            child.send_signal(number)
        code = child.wait()
    return code if code >= 0 else _SIGNALLED - code


@contextmanager
def _handling(forward: Callable[[int], None]) -> Iterator[None]:
    """Pass signals on while the block runs; what a keyboard sends reaches the child by itself."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if number not in _FROM_KEYBOARD or not sys.stdin.isatty():
            forward(number)

    former = {number: signal.signal(number, handle) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
