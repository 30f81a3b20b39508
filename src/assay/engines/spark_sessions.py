"""Sessions of Spark's: on this machine, on a cluster, or at a server of Spark Connect."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

from assay.engines.addresses import shown
from assay.errors import MissingExtraError, TableError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}
"""What answers depend on; set in a session of our own."""
LOCAL: Final = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
}
"""A session on this machine opens no port to others."""
RETRIES: Final = 6
MOST_WAIT_MS: Final = 4000
"""A server that does not answer is given up after 12 seconds; Spark itself waits more than ten minutes."""

_STARTING = threading.Lock()


@contextmanager
def session_at(address: str) -> Iterator[SparkSession]:
    """A session of our own beside the one that runs, or at a server; that of a server ends with its question.

    Args:
        address: A master, ``sc://host``, or empty for all processors of this machine.

    Raises:
        TableError: No server answers at that address.
        MissingExtraError: What Spark Connect needs is not installed.
    """
    from pyspark.sql import SparkSession

    if address.startswith("sc://"):
        with _connected(address) as session:
            yield session
        return
    with _STARTING:
        session = (SparkSession.getActiveSession() or _started(address or "local[*]")).newSession()
    _prepare(session)
    yield session


def _prepare(session: SparkSession) -> None:
    for name, value in SETTINGS.items():
        session.conf.set(name, value)


@contextmanager
def _connected(address: str) -> Iterator[SparkSession]:
    """By the builder of its own: that of `pyspark.sql` would make all of this process speak to a server."""
    from pyspark.errors import PySparkException

    host = shown(address.partition(";")[0])  # behind it a token may stand
    with _STARTING, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about pandas, which is not used
        try:
            from pyspark.sql.connect.client.retries import DefaultPolicy
            from pyspark.sql.connect.session import SparkSession
        except ImportError as err:
            raise MissingExtraError("Spark Connect", "spark") from err
        try:
            session = SparkSession.builder.remote(address).create()
        except (PySparkException, ValueError) as err:
            raise TableError(f"{host} is no address of Spark Connect: sc://HOST or sc://HOST:PORT is wanted") from err
    session.client.set_retry_policies([DefaultPolicy(max_retries=RETRIES, max_backoff=MOST_WAIT_MS)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it gave up is said below
            _prepare(session)  # type: ignore[arg-type]  # both kinds have what is asked of them here
    except PySparkException as err:
        session.client.close()
        raise TableError(f"no Spark Connect server answers at {host}") from err
    try:
        yield session  # type: ignore[misc]
    finally:
        session.stop()


def _started(master: str) -> SparkSession:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master).appName("assay").config("spark.ui.showConsoleProgress", "false")
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        for name, value in LOCAL.items():
            builder = builder.config(name, value)
    running: SparkSession = builder.getOrCreate()
    running.sparkContext.setLogLevel("OFF")  # its log shows values of records; errors reach us as exceptions
    return running


def functions_of(session: SparkSession) -> ModuleType:
    """The functions that go with a session: those of one at a server are others."""
    connect = type(session).__module__.startswith("pyspark.sql.connect.")
    return import_module("pyspark.sql.connect.functions" if connect else "pyspark.sql.functions")
