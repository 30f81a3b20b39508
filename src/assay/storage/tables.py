"""Every table of assay, for both databases.

``AUDIT`` is the append-only log, in a database of its own that commits with
``synchronous=FULL``. ``STATE`` is everything else. Times are ISO 8601 UTC text with a ``Z``, so
that SQLite and PostgreSQL order and compare them alike; JSON is canonical text.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

AUDIT = MetaData()
STATE = MetaData()

entries = Table(
    "entries",
    AUDIT,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False, index=True),
    Column("subject", String, nullable=False, index=True),
    Column("time", String, nullable=False),
    Column("body", LargeBinary, nullable=False),  # RFC 8785 JSON of the entry: what the leaf hashes
    Column("once", String, unique=True),  # outbox key: the same happening is logged once
)

nodes = Table(
    "nodes",
    AUDIT,
    Column("level", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    AUDIT,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
)

cursors = Table(
    "cursors",
    STATE,
    Column("name", String, primary_key=True),
    Column("position", Integer, nullable=False),
)

outbox = Table(
    "outbox",
    STATE,
    Column("key", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("time", String, nullable=False),
    Column("data", Text, nullable=False),
    Column("drained", Integer),  # log position once it is there
)

versions = Table(  # rollback state: the newest version of each signed name seen here
    "versions",
    STATE,
    Column("name", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("root", String, nullable=False),
    Column("seen", String, nullable=False),
)

statements = Table(  # signed statements about a model: DSSE envelopes, by the digest of their bytes
    "statements",
    STATE,
    Column("digest", String, primary_key=True),
    Column("model", String, nullable=False, index=True),
    Column("kind", String, nullable=False),  # validation, scan, lineage, approval, gate
    Column("root", String, nullable=False),  # model root digest it speaks of
    Column("created", String, nullable=False),
    Column("envelope", Text, nullable=False),
)

deployments = Table(
    "deployments",
    STATE,
    Column("id", Integer, primary_key=True),
    Column("model", String, nullable=False, index=True),
    Column("root", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("since", String, nullable=False),
    Column("until", String),
    Column("actor", String, nullable=False),
    Column("known_good", String),  # folder of the signed copy, for replay and rollback
    Column("position", Integer),  # log position of the deployment's entry
    Column("environment", String, nullable=False),
    Column("request", String, nullable=False),  # the release request it used up, or nothing
    Column("approvals", Text, nullable=False),  # JSON list of the reviews it used up
    Column("left_root", String, nullable=False),  # what a rollback left as bad, or nothing
)

baselines = Table(
    "baselines",
    STATE,
    Column("digest", String, primary_key=True),
    Column("model", String, nullable=False, index=True),
    Column("created", String, nullable=False),
    Column("body", Text, nullable=False),
)

windows = Table(  # counts of one evaluated window; a pure function of the rows and the baseline's edges
    "windows",
    STATE,
    Column("model", String, primary_key=True),
    Column("baseline", String, primary_key=True),
    Column("start", String, primary_key=True),
    Column("end", String, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("counts", Text, nullable=False),
    Column("summary", Text, nullable=False),  # what the dashboard draws: rates, means, intervals
)

alarms = Table(
    "alarms",
    STATE,
    Column("id", Integer, primary_key=True),
    Column("model", String, nullable=False, index=True),
    Column("baseline", String, nullable=False),
    Column("signal", String, nullable=False),
    Column("slice", Text),  # JSON {column: value} or null
    Column("window", String, nullable=False),
    Column("since", String, nullable=False),
    Column("size", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("log_e", Float, nullable=False),
    Column("detail", Text, nullable=False),
    Column("raised", String, nullable=False),
    UniqueConstraint("model", "baseline", "signal", "slice", "window"),
)

checks = Table(  # when each kind of check last ran for a model, and how it ended: what freshness is told from
    "checks",
    STATE,
    Column("model", String, primary_key=True),
    Column("kind", String, primary_key=True),  # bytes, data, validation, monitoring, diagnosis, log
    Column("time", String, nullable=False),
    Column("outcome", String, nullable=False),  # pass, fail, unknown
    Column("detail", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON, by kind
    Column("position", Integer),  # log position it is written at
)

diagnoses = Table(
    "diagnoses",
    STATE,
    Column("id", Integer, primary_key=True),
    Column("model", String, nullable=False, index=True),
    Column("time", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("position", Integer),
)

incidents = Table(
    "incidents",
    STATE,
    Column("id", Integer, primary_key=True),
    Column("fingerprint", String, nullable=False, index=True),  # what makes two alerts the same incident
    Column("model", String, nullable=False, index=True),
    Column("kind", String, nullable=False),  # integrity, performance, data, drift, audit
    Column("severity", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("state", String, nullable=False),  # open, acknowledged, resolved
    Column("opened", String, nullable=False),
    Column("updated", String, nullable=False),
    Column("owner", String),
    Column("level", Integer, nullable=False),  # escalation steps taken
    Column("escalate_at", String),
    Column("facts", Text, nullable=False),  # JSON list: what is known of it so far; a new fact is told again
    Column("former", Integer),  # the resolved incident this one repeats
)

incident_steps = Table(
    "incident_steps",
    STATE,
    Column("id", Integer, primary_key=True),
    Column("incident", ForeignKey("incidents.id"), nullable=False, index=True),
    Column("time", String, nullable=False),
    Column("kind", String, nullable=False),  # opened, seen-again, notified, escalated, acknowledged, resolved, …
    Column("actor", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("entry", Integer),  # log position that caused it, or that records it
)

handled = Table(  # log entries an incident was opened or fed from: each exactly once
    "handled",
    STATE,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("incident", ForeignKey("incidents.id"), nullable=False),
)

notifications = Table(
    "notifications",
    STATE,
    Column("id", Integer, primary_key=True),
    Column("incident", ForeignKey("incidents.id"), index=True),
    Column("audience", String, nullable=False),  # security, owners
    Column("channel", String, nullable=False),  # digest of its URL: the URL holds secrets and stays in assay.toml
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("due", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("sent", String),
    Column("error", Text),
)

timers = Table(
    "timers",
    STATE,
    Column("name", String, primary_key=True),
    Column("due", String, nullable=False),
    Column("every_s", Integer, nullable=False),
    Column("lease_until", String),
    Column("lease_owner", String),
)

Index("statements_of", statements.c.model, statements.c.kind, statements.c.root)
