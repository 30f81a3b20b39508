"""The ``assay`` command: verbs imported when asked for, and one place where errors become sentences."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from assay.cli.output import print_error
from assay.errors import AssayError, MissingExtraError, StorageError

# verb -> (module, one line for --help). A verb's module is imported only when that verb is typed: start-up counts.
VERBS: dict[str, tuple[str, str]] = {
    "init": ("assay.cli.init", "Write assay.toml, .assay/ and a first key."),
    "status": ("assay.cli.status", "Every model on one screen: live digest, freshness of each check, incidents."),
    "keys": ("assay.cli.keys", "Signing keys and the trust store."),
    "sign": ("assay.cli.sign", "Sign a model: manifest, signature, known-good copy, audit entry."),
    "verify": ("assay.cli.verify", "Name every changed, missing and extra file and tensor of a signed model."),
    "diff": ("assay.cli.diff", "What changed between two models, tensor by tensor, and what kind of change it is."),
    "record": ("assay.cli.record", "The root digest of a signed model on one page, to be kept apart from it."),
    "restore": ("assay.cli.restore", "Write what a second store keeps of a model into a new folder."),
    "scan": ("assay.cli.scan", "Unsafe code in pickles and other containers; nothing is run."),
    "exec": ("assay.cli.exec", "Verify a model, then start a program that reads the verified bytes only."),
    "data": ("assay.cli.data", "Fingerprint, verify and compare training data down to the row."),
    "validate": ("assay.cli.validate", "Run a model's suite; JUnit, Markdown, a signed test-result statement."),
    "baseline": ("assay.cli.baseline", "Learn what normal is from the reference."),
    "monitor": ("assay.cli.monitor", "Evaluate all complete windows not yet seen."),
    "predictions": ("assay.cli.predictions", "Recorded predictions: join labels, compact, delete old days."),
    "fingerprint": ("assay.cli.fingerprint", "Is the model behind an API still the one that was recorded?"),
    "diagnose": ("assay.cli.diagnose", "Why it changed: verdict, probabilities, evidence, what to do."),
    "approve": ("assay.cli.approve", "A signed human approval of exactly these digests."),
    "reject": ("assay.cli.approve", "A signed human rejection of exactly these digests."),
    "gate": ("assay.cli.gate", "May it go live? A reason for every rule of the policy."),
    "deploy": ("assay.cli.deploy", "Record what is live since when."),
    "rollback": ("assay.cli.deploy", "Return to the last good version."),
    "log": ("assay.cli.log", "Show, verify, prove and export the audit log."),
    "incident": ("assay.cli.incident", "List, show, acknowledge, resolve and export incidents."),
    "alerts": ("assay.cli.alerts", "Send a test through every alert channel."),
    "tick": ("assay.cli.tick", "Do what is due, then end."),
    "serve": ("assay.cli.serve", "The dashboard, and what is due in a loop."),
    "demo": ("assay.cli.demo", "The whole story on real data."),
}


# Package -> the extra that brings it, for a verb that cannot begin without.
_EXTRAS = {
    **dict.fromkeys(("duckdb", "numpy", "pyarrow", "scipy", "sklearn"), "monitor"),
    **dict.fromkeys(("apprise", "fastapi", "jinja2", "uvicorn", "vl_convert"), "serve"),
}


class Verbs(click.Group):
    """A group that knows its verbs by name and imports a module only for the verb typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the work, not of the alphabet."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(VERBS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above names a module of ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="assay")
def assay() -> None:
    """Is it the model we deployed, does it still perform, and if not, why?

    Exit codes: 0 fine, 1 a check failed, 2 wrong use, 3 could not tell.
    """


def run(arguments: Sequence[str]) -> int:  # noqa: PLR0911 - one return for each way a command can end
    """Run one command line and return its exit code; no traceback ever leaves here."""
    words = list(arguments)
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)  # behind it: another program's
    try:
        result = assay.main(list(arguments), prog_name="assay", standalone_mode=False)
    except click.exceptions.Abort:
        _tell(AssayError("stopped"), as_json=False)
        return 130
    except click.ClickException as err:
        context = getattr(err, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        _tell(AssayError(f"{err.format_message()}{hint}"), as_json=as_json)
        return 2
    except AssayError as err:
        _tell(err, as_json=as_json)
        return err.exit_code
    except ModuleNotFoundError as err:
        extra = _EXTRAS.get((err.name or "").partition(".")[0])
        missing = MissingExtraError(f"assay {words[0]}", extra) if extra else _fault(err)
        _tell(missing, as_json=as_json)
        return missing.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: say no more
        return 0
    except OSError as err:
        _tell(StorageError(f"{err.strerror or err}: {err.filename or 'no file named'}"), as_json=as_json)
        return StorageError.exit_code
    except Exception as err:
        if os.environ.get("ASSAY_DEBUG"):
            raise
        _tell(_fault(err), as_json=as_json)
        return 3
    return result if isinstance(result, int) else 0


def _fault(err: Exception) -> AssayError:
    return StorageError(
        f"a fault in assay itself ({type(err).__name__}: {err}); set ASSAY_DEBUG=1 to see where, and report it"
    )


def _tell(error: AssayError, *, as_json: bool) -> None:
    """Print an error; where standard output takes nothing any more, say it on the other one."""
    try:
        print_error(error, as_json=as_json)
    except OSError:
        with suppress(OSError):
            print_error(error, as_json=False)


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
