"""What is known when somebody asks "why did it change?": the case a diagnosis is made from."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import pyarrow as pa

from assay.frameworks.base import Predictor
from assay.monitoring.schema import PredictionSchema

Secret = bytes
NO_COPIES: Mapping[str, Predictor] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ByteFacts:
    """What the digests and signatures say; facts, no statistics.

    Attributes:
        recorded_root: Root digest of the version the deployment record calls live; None when nothing is recorded.
        live_root: Root digest of the bytes that are deployed now; None when they could not be measured.
        live_signed: Whether those bytes carry a signature valid under the policy; None when not checked.
        live_signer: Identity of that signer, when there is one.
        served_roots: Root digests the logged rows say they were served by.
        signed_roots: Root digests known to be validly signed under the policy (the vault's versions).
        refused: Whether verification of the deployed bytes was refused because the bytes did not match.
    """

    recorded_root: str | None = None
    live_root: str | None = None
    live_signed: bool | None = None
    live_signer: str | None = None
    served_roots: tuple[str, ...] = ()
    signed_roots: tuple[str, ...] = ()
    refused: bool = False


@dataclass(frozen=True, slots=True)
class DeploymentFact:
    """One line of the deployment record.

    Attributes:
        root: Root digest of the version.
        since: When it went live, UTC.
        until: When it was replaced, UTC; None while it is live.
    """

    root: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """All that the evidence may look at.

    Attributes:
        schema: Which column is what, in all three tables.
        reference: Trusted rows from when the model was known to work; labels and predictions where known.
        before: Logged rows from before the change; may be empty.
        recent: Logged rows since the change; a diagnosis needs at least 20, replay any number.
        known_good: The verified known-good copy of the version recorded as live; None when there is none.
        bytes: What digests and signatures say.
        deployments: The deployment record; empty when there is none.
        copies: Verified known-good copies of other versions, by root digest, for rows those versions served.
        key: Secret bytes that make the replay sample unguessable beforehand and repeatable afterwards.
        alarms: The alarms that led here, one sentence each.
        no_copy: Why there is no known-good copy, when that is known; "" otherwise.
        data_changes: (when, what) of changes of data and software known from the audit log, for the time line.
    """

    schema: PredictionSchema
    reference: pa.Table
    before: pa.Table
    recent: pa.Table
    known_good: Predictor | None
    bytes: ByteFacts
    key: Secret
    deployments: tuple[DeploymentFact, ...] = ()
    copies: Mapping[str, Predictor] = field(default_factory=lambda: NO_COPIES)
    alarms: tuple[str, ...] = ()
    no_copy: str = ""
    data_changes: tuple[tuple[datetime, str], ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the feature columns, of whichever table has rows to tell them by."""
        for table in (self.reference, self.before, self.recent):
            if table.num_rows:
                return tuple(self.schema.features_of(table.column_names))
        return ()


def window_digest(table: pa.Table) -> str:
    """Hex SHA-256 of a table's rows, in their order, independent of how they are chunked."""
    sink = pa.BufferOutputStream()
    whole = table.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def sampling_seed(key: bytes, digest: str) -> int:
    """Seed of the samples drawn from a window: unguessable before, repeatable after.

    An attacker who could foresee which rows are replayed would serve only those honestly.

    Args:
        key: Secret bytes; the audit log's key, or one derived from it.
        digest: `window_digest` of the window.
    """
    return int.from_bytes(hmac.new(key, digest.encode(), hashlib.sha256).digest()[:8], "big")
