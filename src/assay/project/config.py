"""assay.toml as values: every key known, typed and checked, with a sentence for each mistake."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from assay.engines.addresses import ELSEWHERE
from assay.errors import ConfigError
from assay.monitoring.floors import FLOORS, SHARES, Floors
from assay.project.toml_keys import Keys, near

FILE_NAME = "assay.toml"


@dataclass(frozen=True, slots=True)
class Training:
    """The table a model was trained on.

    Attributes:
        path: File or glob, absolute.
        label: Name of its label column, or None.
    """

    path: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """Where predictions are logged and which column is what; the names are those of assay.toml."""

    path: str
    time: str
    prediction: str
    engine: str = "duckdb"
    confidence: str | None = None
    latency_s: str | None = None
    error: str | None = None
    label: str | None = None
    label_time: str | None = None
    model: str | None = None
    request_id: str | None = None
    client: str | None = None
    keep: timedelta | None = None
    query: str | None = None
    slices: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    texts: tuple[str, ...] = ()
    positive: str | None = None
    tolerance: float | None = None
    discover: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Monitoring:
    """How predictions are watched.

    Attributes:
        window: ``"1d"``, or ``"1000rows"``.
        false_alarm_every: Mean time between false alarms over all signals of the model together.
        floors: How much change does not matter.
        replay_limit: How long one run waits for a known-good copy, opening it and all answers together.
    """

    window: str = "1d"
    false_alarm_every: timedelta = timedelta(days=365)
    floors: Floors = field(default_factory=Floors)
    replay_limit: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Clients:
    """How single clients are watched, where ``predictions`` declares the column ``client``.

    Attributes:
        window: How often they are judged; a span of time.
        false_alarm_every: Mean time between false alarms over all clients together, however many there are.
        trusted: Clients that are left out: load tests, one's own batch jobs.
    """

    window: timedelta = timedelta(hours=1)
    false_alarm_every: timedelta = timedelta(days=365)
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """What must hold before the model goes live, as written in assay.toml."""

    signed_by: tuple[str, ...]
    approvers: tuple[str, ...] = ()
    approvals: int = 0
    require: tuple[str, ...] = ()
    max_age: timedelta = timedelta(days=30)
    signatures: int = 1


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One ``[models.NAME]`` table; paths are absolute."""

    name: str
    path: Path
    framework: str | None = None
    task: str = "classification"
    tier: str = "standard"
    known_good: Path | None = None
    second_store: str | None = None
    reference: str | None = None
    suite: str | None = None
    training: Training | None = None
    predictions: Predictions | None = None
    monitor: Monitoring = field(default_factory=Monitoring)
    clients: Clients = field(default_factory=Clients)
    policy: PolicyTable | None = None


@dataclass(frozen=True, slots=True)
class Alerts:
    """Who is told: apprise URLs by audience. They hold secrets: never logged, never stored."""

    security: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    escalate_after: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class ProjectConfig:
    """assay.toml, checked.

    Attributes:
        root: Folder that holds assay.toml; relative paths start here.
        store: Folder of the embedded state, or a ``postgresql://`` URL.
        checkpoints: Folders outside the database that get a copy of every checkpoint.
        timestamp_url: The authority that stamps signatures (RFC 3161); None asks nobody.
        timestamp_authorities: PEM files of the authorities whose timestamps count.
        crls: Files of certificates taken back.
    """

    root: Path
    name: str
    store: str = ".assay"
    checkpoints: tuple[Path, ...] = ()
    witnesses: tuple[str, ...] = ()
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    alerts: Alerts = field(default_factory=Alerts)
    timestamp_url: str | None = None
    timestamp_authorities: tuple[Path, ...] = ()
    crls: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """Where keys, trust store, sidecars and known-good copies live: local, also with PostgreSQL."""
        return self.root / (".assay" if "://" in self.store else self.store)

    def model(self, name: str) -> ModelConfig:
        """The model of this name.

        Raises:
            ConfigError: assay.toml has no such model.
        """
        if name in self.models:
            return self.models[name]
        known = ", ".join(sorted(self.models)) or "none"
        raise ConfigError(
            f"no model {name!r} in {self.root / FILE_NAME}: models there are {known}{near(name, self.models)}"
        )


def find(start: Path) -> Path | None:
    """The assay.toml of ``start`` or of the nearest folder above it."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def read(path: Path) -> ProjectConfig:
    """Read and check an assay.toml.

    Raises:
        ConfigError: The file is missing, is no TOML, or a key is unknown, missing or of the wrong kind.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin a file with a byte order mark
    except FileNotFoundError as err:
        raise ConfigError(f"no {path}: run assay init to make one") from err
    except UnicodeDecodeError as err:
        line = err.object[: err.start].count(b"\n") + 1
        odd = err.object[err.start]
        raise ConfigError(f"{path} is not UTF-8: found the byte 0x{odd:02x} in line {line}; save it as UTF-8") from err
    except OSError as err:
        raise ConfigError(f"{path} cannot be read: {err.strerror or err}") from err
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as err:  # tomllib's own error is a ValueError; so is a number of 5,000 digits
        raise ConfigError(f"{path} is not valid TOML: {err}") from err
    return parse(data, root=path.parent.resolve())


def parse(data: Mapping[str, object], *, root: Path) -> ProjectConfig:
    """Check the parsed TOML of a project at ``root``.

    Raises:
        ConfigError: A key is unknown, missing or of the wrong kind.
    """
    top = Keys(data, "assay.toml")
    project = Keys(top.table("project"), "[project]")
    log = Keys(top.table("log"), "[log]")
    alerts = Keys(top.table("alerts"), "[alerts]")
    models = top.table("models")
    config = ProjectConfig(
        root=root,
        name=project.text("name", root.name) or root.name,
        store=project.text("store", ".assay") or ".assay",
        checkpoints=tuple(root / Path(p).expanduser() for p in log.texts("checkpoints")),
        witnesses=log.texts("witnesses"),
        timestamp_url=project.text("timestamp_url"),
        timestamp_authorities=tuple(root / Path(p).expanduser() for p in project.texts("timestamp_authorities")),
        crls=tuple(root / Path(p).expanduser() for p in project.texts("crls")),
        models={name: _model(name, models[name], root) for name in models},
        alerts=Alerts(
            security=alerts.texts("security"),
            owners=alerts.texts("owners"),
            escalate_after=alerts.span("escalate_after", Alerts().escalate_after),
        ),
    )
    for keys in (top, project, log, alerts):
        keys.nothing_else()
    return config


def _model(name: str, data: object, root: Path) -> ModelConfig:
    where = f"[models.{name}]"
    if not name.isprintable() or not name.strip() or name.startswith(".") or "/" in name or "\\" in name:
        # It names folders of copies and reports: it must not lead out of them.
        raise ConfigError(f"[models] has {name!r}, which is no name for a model: write letters, digits, hyphens")
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} is {type(data).__name__}, a table with at least `path` is wanted")
    keys = Keys(data, where)
    known_good = keys.text("known_good")
    second = keys.text("second_store")
    reference = keys.text("reference")
    suite = keys.text("suite")
    config = ModelConfig(
        name=name,
        path=root / keys.need("path"),
        framework=keys.text("framework"),
        task=keys.one_of("task", ("classification", "regression", "ranking", "binary")),
        tier=keys.one_of("tier", ("standard", "critical")),
        known_good=root / known_good if known_good else None,
        second_store=_second(root, second) if second else None,
        reference=_at(root, reference) if reference else None,
        suite=_at(root, suite) if suite else None,
        training=_training(keys.table("training"), f"[models.{name}.training]", root),
        predictions=_predictions(keys.table("predictions"), f"[models.{name}.predictions]", root),
        monitor=_monitoring(keys.table("monitor"), f"[models.{name}.monitor]"),
        clients=_clients(keys.table("clients"), f"[models.{name}.clients]"),
        policy=_policy(keys.table("policy"), f"[models.{name}.policy]"),
    )
    keys.nothing_else()
    if keys.table("clients") and (config.predictions is None or config.predictions.client is None):
        raise ConfigError(
            f"[models.{name}.clients] is there, but no column says who asked: set client in [models.{name}.predictions]"
        )
    return config


def _training(data: Mapping[str, object], where: str, root: Path) -> Training | None:
    if not data:
        return None
    keys = Keys(data, where)
    training = Training(path=_at(root, keys.need("path")), label=keys.text("label"))
    keys.nothing_else()
    return training


def _predictions(data: Mapping[str, object], where: str, root: Path) -> Predictions | None:
    if not data:
        return None
    keys = Keys(data, where)
    optional = ("confidence", "latency_s", "error", "label", "label_time", "model", "request_id", "client", "query")
    predictions = Predictions(
        path=_at(root, keys.need("path")),
        time=keys.need("time"),
        prediction=keys.need("prediction"),
        engine=keys.text("engine", "duckdb") or "duckdb",
        keep=keys.span("keep", timedelta(0)) or None,
        slices=keys.texts("slices"),
        features=keys.texts("features") or None,
        texts=keys.texts("texts"),
        positive=keys.text("positive"),
        tolerance=keys.number("tolerance"),
        discover=keys.texts("discover"),
        **{key: keys.text(key) for key in optional},
    )
    keys.nothing_else()
    return predictions


def _monitoring(data: Mapping[str, object], where: str) -> Monitoring:
    keys = Keys(data, where)
    default = Monitoring()
    monitor = Monitoring(
        window=keys.window("window", default.window),
        false_alarm_every=keys.span("false_alarm_every", default.false_alarm_every),
        floors=_floors(keys, where),
        replay_limit=keys.span("replay_limit", default.replay_limit),
    )
    keys.nothing_else()
    return monitor


def _floors(monitor: Keys, where: str) -> Floors:
    """A name for all of them, or a table of those that are not the default."""
    given = monitor.table_or_one_of("floors", tuple(FLOORS))
    if isinstance(given, str):
        return FLOORS[given]
    keys, default = Keys(given, f"{where.removesuffix(']')}.floors]"), Floors()
    shares = {word: keys.share(word, getattr(default, word)) for word in SHARES}
    floors = Floors(**shares, one_window=keys.flag("one_window"))
    keys.nothing_else()
    return floors


def _clients(data: Mapping[str, object], where: str) -> Clients:
    keys = Keys(data, where)
    default = Clients()
    clients = Clients(
        window=keys.span("window", default.window),
        false_alarm_every=keys.span("false_alarm_every", default.false_alarm_every),
        trusted=keys.texts("trusted"),
    )
    keys.nothing_else()
    return clients


def _policy(data: Mapping[str, object], where: str) -> PolicyTable | None:
    if not data:
        return None
    keys = Keys(data, where)
    policy = PolicyTable(
        signed_by=keys.texts("signed_by"),
        approvers=keys.texts("approvers"),
        approvals=keys.count("approvals"),
        require=keys.texts("require"),
        max_age=keys.span("max_age", timedelta(days=30)),
        signatures=keys.count("signatures", 1),
    )
    keys.nothing_else()
    if not policy.signed_by:
        raise ConfigError(f'{where} names no signer: signed_by = ["release@example.org"] says whose signature counts')
    if not 1 <= policy.signatures <= len(set(policy.signed_by)):
        raise ConfigError(
            f"{where} wants {policy.signatures} signatures and names {len(set(policy.signed_by))} signers: "
            "signatures is from 1 to as many as signed_by names"
        )
    return policy


def _at(root: Path, path: str) -> str:
    """A path from the project's folder on; an address elsewhere as it is."""
    return path if ELSEWHERE.match(path) else str(root / path)


def _second(root: Path, place: str) -> str:
    if "://" in place:
        return place
    return f"sealed:{root / place.removeprefix('sealed:')}" if place.startswith("sealed:") else _at(root, place)
