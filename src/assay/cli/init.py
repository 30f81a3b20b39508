"""``assay init``: a project and a first key."""

from __future__ import annotations

import json
from pathlib import Path

import click

from assay.cli.here import actor, now
from assay.cli.keys import new_passphrase
from assay.cli.output import json_option, print_json
from assay.errors import ConfigError
from assay.project.config import FILE_NAME

TEMPLATE = """\
[project]
name = {name}

# [log]
# checkpoints = ["/mnt/elsewhere/checkpoints"]  # a place outside the database; default: your state folder

# One table per model; only `path` is required to sign, `time` and `prediction` to monitor.
{model}
[alerts]
security = []  # apprise URLs: "mailto://…", "slack://…"
owners = []
escalate_after = "15m"
"""

MODEL = """\
[models.{name}]
path = {path}
# framework = "sklearn"  # what opens it; without one nothing can be replayed
# reference = "data/reference.parquet"  # rows from when it was known to work

[models.{name}.policy]
signed_by = [{identity}]

# [models.{name}.predictions]
# path = "predictions/**/*.parquet"  # or log.csv, or a database's table
# time = "ts"
# prediction = "pred"
# confidence = "p"
# label = "y"
"""

NO_MODEL = """\
# [models.spam]
# path = "models/spam"

# [models.spam.predictions]
# path = "predictions/**/*.parquet"
# time = "ts"
# prediction = "pred"
"""


@click.command()
@click.option("--name", help="Name of the project; default: this folder's.")
@click.option("--model", type=click.Path(path_type=Path), help="A first model's file or folder.")
@click.option("--identity", help="Whom the first key speaks for; default: your user name.")
@click.option("--plain", is_flag=True, help="Leave the first key unencrypted.")
@json_option
def init(*, name: str | None, model: Path | None, identity: str | None, plain: bool, as_json: bool) -> None:
    """Write assay.toml, .assay/ and a first key."""
    from assay.keys.pem import generate
    from assay.project.people import trust_key
    from assay.project.project import Project

    file = Path.cwd() / FILE_NAME
    if file.exists():
        raise ConfigError(f"{file} is there already: edit it, or run assay init in another folder")
    if model is not None and not model.exists():
        raise ConfigError(f"no model at {model}: leave --model out, or name its file or folder")
    who = identity or actor()
    passphrase = new_passphrase(plain=plain)
    table = NO_MODEL
    if model is not None:
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in model.stem) or "model"
        table = MODEL.format(name=stem, path=json.dumps(str(model)), identity=json.dumps(who))
    file.write_text(TEMPLATE.format(name=json.dumps(name or file.parent.name), model=table), encoding="utf-8")
    project = Project.open(file, now=now(), actor=actor())
    key = project.places.keys / "first.pem"
    project.log.append(
        "project.made", project.config.name, {"name": project.config.name}, actor=project.actor, now=now()
    )
    if not key.exists():
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        generate(key, passphrase=passphrase)
        trust_key(project, who, key.with_suffix(".pub"), until=None, now=now())
    if as_json:
        print_json({"config": str(file), "key": str(key), "identity": who, "checkpoints": _outside(project)})
        return
    click.echo(f"wrote {file}\nmade the key {key}; it counts as {who}")
    click.echo(f"log checkpoints are also kept in {', '.join(_outside(project))}")
    click.echo("no alert channel yet: name one under [alerts], then run assay alerts test")


def _outside(project: object) -> list[str]:
    from assay.project.project import Project

    assert isinstance(project, Project)  # noqa: S101 - narrows a lazily imported type
    return [str(folder) for folder in project.checkpoint_folders]
