from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import boto3
import numpy as np
import pytest
from moto import mock_aws
from safetensors.numpy import save
from tests.unit.artifacts.test_plan import sharded

from assay.artifacts import distributed
from assay.artifacts.distributed import Opener, measure_objects, measure_on_spark
from assay.artifacts.measure import measure
from assay.artifacts.plan import Examined
from assay.errors import ArtifactError, ConfigError, FormatError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WEIGHTS = {"x": np.arange(3, dtype="f4"), "y": np.ones((2, 2), dtype="i8")}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = sharded(tmp_path / "m", {"1": "1.safetensors", "2": "2.safetensors"})
    (root / "sub").mkdir()
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_bytes(b"main")
    (root / "sub" / "w.safetensors").write_bytes(save(WEIGHTS))
    np.savez_compressed(root / "sub" / "packed.npz", x=WEIGHTS["x"])
    (root / "big").write_bytes(os.urandom(2 * 1024 * 1024 + 7))
    (root / "empty").write_bytes(b"")
    return root


def open_path(path: Path) -> BinaryIO:
    return path.open("rb")


def opened(root: Path) -> list[tuple[str, Opener]]:
    """Every file of a folder with what opens it, in no order."""
    files = sorted((path for path in root.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    return [(path.relative_to(root).as_posix(), partial(open_path, path)) for path in files]


@pytest.mark.parametrize("threads", [1, 3, None])
def test_from_an_object_store_the_manifest_is_the_one_from_disk(model: Path, threads: int | None) -> None:
    assert measure_objects("m", opened(model), threads=threads) == measure(model)


def test_a_single_file_has_the_manifest_it_has_on_disk(model: Path) -> None:
    path = model / "sub" / "w.safetensors"
    assert measure_objects(path.name, [(path.name, partial(open_path, path))], ignore=()) == measure(path)


class Slow(io.BytesIO):
    """Gives one byte at a time, as sockets do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1 if size else 0)


def test_short_reads_are_no_end(model: Path) -> None:
    path = model / "sub" / "w.safetensors"
    content = path.read_bytes()
    assert measure_objects(path.name, [(path.name, lambda: Slow(content))], ignore=()) == measure(path)


def test_nothing_is_an_error() -> None:
    with pytest.raises(ArtifactError, match="model m has no files"):
        measure_objects("m", [(".git/HEAD", io.BytesIO)])


@pytest.mark.parametrize(
    ("names", "why"),
    [(["../a"], "empty, '.' or '..' part"), (["a", "A"], "A and a are one name"), (["a", "a"], "a and a are one name")],
)
def test_a_name_that_may_not_be_is_refused_before_anything_is_read(names: list[str], why: str) -> None:
    def never() -> BinaryIO:
        raise AssertionError

    with pytest.raises(ArtifactError, match=why):
        measure_objects("m", [(name, never) for name in names])


def gone() -> BinaryIO:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("name", ["a", "a.safetensors"])
def test_a_file_that_cannot_be_read_is_named(name: str) -> None:
    with pytest.raises(ArtifactError, match=f"{name} cannot be read: Input/output error"):
        measure_objects("m", [("b", io.BytesIO), (name, gone)])


def test_a_file_that_fails_in_the_middle_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(distributed, "examine", lambda *_: Examined())
    with pytest.raises(ArtifactError, match="a cannot be read: Input/output error"):
        measure_objects("m", [("a", lambda: Failing(b"1234"))])


def test_a_malformed_container_is_refused_and_named(model: Path) -> None:
    (model / "1.safetensors").write_bytes(b"12345678")
    with pytest.raises(ArtifactError) as caught:
        measure_objects("m", opened(model))
    assert {finding.subject for finding in caught.value.findings} == {"1.safetensors"}


def damaged(*_: object) -> NoReturn:
    raise FormatError("is not a sound npz file: its packed bytes are damaged")


def test_packed_bytes_that_are_damaged_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "packed_contents", damaged)
    path = model / "sub" / "packed.npz"
    with pytest.raises(ArtifactError, match=r"packed\.npz is not a sound npz file: its packed bytes are damaged"):
        measure_objects(path.name, [(path.name, partial(open_path, path))], ignore=())


def test_a_container_that_is_replaced_in_between_is_refused() -> None:
    contents = iter([save(WEIGHTS), save(WEIGHTS) + b"more"])
    with pytest.raises(ArtifactError, match=r"a\.safetensors changed while it was being read"):
        measure_objects("m", [("a.safetensors", lambda: io.BytesIO(next(contents)))])


@mock_aws
def test_a_model_in_a_bucket_has_the_manifest_it_has_on_disk(model: Path) -> None:
    store = boto3.client("s3", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
    store.create_bucket(Bucket="models")
    for key, opener in opened(model):
        with opener() as file:
            store.put_object(Bucket="models", Key=f"m/{key}", Body=file.read())

    def open_object(key: str) -> BinaryIO:
        return io.BytesIO(store.get_object(Bucket="models", Key=key)["Body"].read())

    keys = [one["Key"] for one in store.list_objects_v2(Bucket="models", Prefix="m/")["Contents"]]
    found = measure_objects("m", [(key.removeprefix("m/"), partial(open_object, key)) for key in keys])
    assert found == measure(model)


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[SparkSession]:
    from pyspark.sql import SparkSession

    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
    }
    builder = SparkSession.builder.master("local[2]").appName("assay")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.mark.slow
@pytest.mark.xdist_group("spark")
def test_on_executors_the_manifest_is_the_one_from_disk(model: Path, spark: SparkSession) -> None:
    assert measure_on_spark(spark, "m", opened(model)) == measure(model)
    (model / "1.safetensors").write_bytes(b"12345678")
    with pytest.raises(ArtifactError, match=r"1\.safetensors is not a sound safetensors file"):
        measure_on_spark(spark, "m", opened(model))


def test_a_session_that_cannot_run_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match="Spark Connect session"):
        measure_on_spark(object(), "m", [("a", io.BytesIO)])  # type: ignore[arg-type]  # stands for another session
