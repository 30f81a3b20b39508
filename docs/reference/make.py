"""Write command-line.md from the commands themselves: ``python docs/reference/make.py``."""  # noqa: INP001 - a script

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from assay.cli.main import VERBS, assay

PAGE = Path(__file__).with_name("command-line.md")
HEAD = """\
# Command line

Made from the commands by `python docs/reference/make.py`; a test fails when it is out of date. Keys of `--json`:
[json.md](json.md). Keys of `assay.toml`: [assay-toml.md](assay-toml.md).

Exit codes of every verb: 0 fine; 1 a check failed; 2 wrong use; 3 could not tell; 130 stopped by Ctrl-C. Where a verb
says more about them, it is below.

| variable | read by | says |
| --- | --- | --- |
| `ASSAY_PASSPHRASE` | verbs with `--key`, `init`, `keys new` | passphrase of the private key; else it is asked for |
| `ASSAY_PIN` | verbs with `--key` or a record on a token | PIN of a PKCS#11 token; else it is asked for |
| `ASSAY_BACKUP_PASSPHRASE` | `keys backup` | passphrase of the backup; else it is asked for, twice |
| `ASSAY_SEAL_PASSPHRASE` | verbs with a second store | passphrase of `sealed:FILE`; else it is asked for |
| `PKCS11_MODULE_PATH` | verbs with `pkcs11:` | the token's library, unless the address says `module-path=` |
| `ASSAY_ACTOR` | every verb in a project | who acts, as the log writes it; default: the login name; no proof |
| `ASSAY_TOKEN` | `serve` | the sign-in token; else a new one is printed at each start |
| `ASSAY_THREADS` | verbs that hash models | how many threads, 1 to 256; else one for each processor |
| `ASSAY_DEBUG` | every verb | when set, a fault in assay itself shows its traceback |
| `XDG_STATE_HOME` | every verb in a project | checkpoints, unless `[log] checkpoints` is set: `~/.local/state` |
| `XDG_CACHE_HOME` | `demo` | where its data sets are kept; default `~/.cache` |

Not built: `validate` to SARIF.
"""


def page() -> str:
    """The whole page, from the commands as they are now."""
    parts = [HEAD, *_index()]
    for verb in VERBS:
        command = assay.get_command(click.Context(assay), verb)
        if command is None:
            raise LookupError(verb)
        parts += _verb(f"assay {verb}", command)
    return "\n".join(parts).rstrip() + "\n"


def _index() -> Iterator[str]:
    yield "| verb | does |\n| --- | --- |"
    for verb, (_, line) in VERBS.items():
        yield f"| [`{verb}`](#assay-{verb}) | {line} |"
    yield ""


def _verb(path: str, command: click.Command) -> Iterator[str]:
    yield f"## {path}\n"
    if not isinstance(command, click.Group):
        yield from _command(path, command)
        return
    yield f"{inspect.cleandoc(command.help or '')}\n"
    for name, sub in command.commands.items():
        yield f"### {path} {name}\n"
        yield from _command(f"{path} {name}", sub)


def _command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"```\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    options = [param for param in command.params if isinstance(param, click.Option)]
    if not options:
        return
    yield "| option | |\n| --- | --- |"
    for option in options:
        yield f"| {_written(option, context)} | {_said(option, context)} |"
    yield ""


def _written(option: click.Option, context: click.Context) -> str:
    words = ", ".join(option.opts)
    if option.is_flag:
        return f"`{words}`"
    kind = "TIME" if isinstance(option.type, click.DateTime) else option.make_metavar(context)
    return f"`{words} {kind}`"


def _said(option: click.Option, context: click.Context) -> str:
    said = option.help or ""
    if option.required:
        said += " Required."
    default = option.get_default(context)
    if option.show_default and default is not None:
        said += f" Default `{default}`."
    return said.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
