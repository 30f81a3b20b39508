"""``assay alerts``: do alerts arrive?"""

from __future__ import annotations

import click

from assay.cli.here import now, open_project
from assay.cli.output import json_option, print_json, say
from assay.errors import ConfigError


@click.group()
def alerts() -> None:
    """Send a test through every alert channel."""


@alerts.command()
@json_option
def test(*, as_json: bool) -> int:
    """Send a test message through every channel of assay.toml; exit code 1 if one did not take it."""
    results = open_project().desk.test(now())
    if not results:
        raise ConfigError('no alert channel: under [alerts] write security = ["mailto://…"] and owners = ["slack://…"]')
    if as_json:
        print_json({"channels": [{"channel": name, "error": error} for name, error in results.items()]})
    else:
        for name, error in results.items():
            say(f"{name:30} {error or 'sent'}")
    return 1 if any(results.values()) else 0
