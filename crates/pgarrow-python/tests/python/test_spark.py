"""Spark, by a local cluster of two executor processes, and a real server."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from _dist_support import ORDERS, changing, environment, execute, exported, need, plain, rows, run_page

need("pyspark", "pyarrow", "psycopg", programs=("java",))

import pgarrow_engine as pg
import pgarrow_engine.spark
import pyspark
from pgarrow_engine._dist_access import Access
from pgarrow_engine._dist_reader import Slice
from pgarrow_engine._dist_writer import Loaded, Writer, prepared
from pgarrow_engine.spark import PgarrowDataSource
from pyspark import TaskContext, cloudpickle
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def spark(dsn: str) -> Iterator[SparkSession]:
    """Two executor processes with one core each."""
    # Spark's JVM, and the planner's processes that it starts, have the environment of this moment.
    os.environ.update(environment(dsn))
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["SPARK_HOME"] = os.path.dirname(pyspark.__file__)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["TZ"] = "UTC"
    time.tzset()
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executorEnv.TZ": "UTC",
        "spark.sql.python.filterPushdown.enabled": "true",
    }
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("pgarrow")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("FATAL")
    pgarrow_engine.spark.register(session)
    yield session
    session.stop()


@pytest.fixture(scope="module")
def steady(dsn: str) -> str:
    """A table of some hundred pages."""
    execute(
        dsn,
        "CREATE TABLE steady (id int8, note text, day date, at timestamptz, price numeric(12,2), key uuid, "
        "tags int4[], doc jsonb, span interval, ok bool, ratio float8, raw bytea)",
        "INSERT INTO steady SELECT g, repeat('ä', (g % 50)::int), date '2020-01-01' + g % 1000, "
        "timestamptz '2020-01-01 UTC' + g * interval '1 second 1 microsecond', g / 8.0, "
        "md5(g::text)::uuid, ARRAY[g, NULL], jsonb_build_object('g', g), g * interval '1 day 1 microsecond', "
        "g % 3 = 0, g / 3.0::float8, decode(md5(g::text), 'hex') FROM generate_series(1, 20000) g",
        "UPDATE steady SET day = NULL, at = NULL, price = NULL, tags = NULL, doc = NULL WHERE id % 7 = 0",
    )
    return "steady"


#: The columns of `steady`, so that Spark and the other client give the same values.
COMPARED = (
    "id, note, day, at AT TIME ZONE 'UTC', price, key::text, tags, doc::text, span::text, ok, ratio, raw"
)


def counted(frame: DataFrame) -> Counter[tuple[Any, ...]]:
    return Counter(plain(row) for row in frame.collect())


# Reading


def test_two_executors_read_one_moment_while_others_write(spark: SparkSession, dsn: str, steady: str) -> None:
    changed = "changed"
    execute(dsn, f"CREATE TABLE changed AS TABLE {steady}")
    with changing(dsn, changed), pgarrow_engine.spark.hold(dsn, table=changed, slice_bytes="1M") as held:
        time.sleep(0.5)
        frame = held.read(spark)
        assert frame.rdd.getNumPartitions() == len(held.tokens) > 3
        found = counted(frame)
        expected = rows(dsn, f"SELECT {COMPARED} FROM {changed}", snapshot=exported(held.tokens[0]))
        now = rows(dsn, f"SELECT {COMPARED} FROM {changed}")
        assert found == expected
        assert now != expected
        # A second action reads the same moment.
        assert frame.count() == expected.total()
        assert len(executors(spark, frame)) == 2


def executors(spark: SparkSession, frame: DataFrame) -> set[str]:
    """Which executors read a frame's partitions: by the parents of the Python workers."""
    parents = frame.rdd.mapPartitions(lambda part: [(len(list(part)), os.getppid())][:1]).collect()
    return {str(parent) for _, parent in parents}


def test_the_schema_needs_no_rows_and_columns_can_be_chosen(
    spark: SparkSession, dsn: str, steady: str
) -> None:
    def reader() -> DataFrameReader:
        return spark.read.format("pgarrow").option("conninfo", dsn).option("table", steady)

    frame = reader().option("columns", "key,id").load()
    assert [(field.name, field.dataType.simpleString()) for field in frame.schema] == [
        ("key", "string"),
        ("id", "bigint"),
    ]
    types = {field.name: field.dataType.simpleString() for field in reader().load().schema}
    assert types["price"] == "decimal(12,2)"
    assert types["at"] == "timestamp"
    assert types["tags"] == "array<int>"


def test_without_hold_a_read_is_one_partition(spark: SparkSession, dsn: str, steady: str) -> None:
    reader = spark.read.format("pgarrow").option("conninfo", dsn)
    frame = reader.option("query", f"SELECT id, note FROM {steady} WHERE id <= 10").load()
    assert frame.rdd.getNumPartitions() == 1
    assert counted(frame) == rows(dsn, f"SELECT id, note FROM {steady} WHERE id <= 10")
    table = spark.read.format("pgarrow").option("conninfo", dsn).option("table", steady)
    where = table.option("where", "id <= $1").option("params", "[10]").load()
    assert where.count() == rows(dsn, f"SELECT id FROM {steady} WHERE id <= 10").total()
    pushed = table.option("pushdown", "true").load().filter("id > 5")
    assert sorted(row.id for row in pushed.collect()) == [6, 7, 8, 9, 10]


def test_filter_pushdown_may_be_off(spark: SparkSession, dsn: str, steady: str) -> None:
    name = "spark.sql.python.filterPushdown.enabled"
    spark.conf.set(name, "false")
    try:
        with pgarrow_engine.spark.hold(dsn, table=steady, columns=["id"]) as held:
            assert held.read(spark, pushdown=True).filter("id = 3").count() == 1
    finally:
        spark.conf.set(name, "true")


NASTY = [
    "CREATE TABLE nasty (id int4, i int8, f float8, r float4, t text, v varchar(20), c char(5), d date, "
    "at timestamp, atz timestamptz, n numeric(10,3), b bool, u uuid)",
    "INSERT INTO nasty SELECT row_number() OVER (), i, f, r, t, t, left(t, 5), d, d + time "
    "'01:02:03.000001', "
    "(d + time '01:02:03.000001') AT TIME ZONE 'UTC', n, b, md5(t)::uuid FROM "
    "(VALUES (0::int8), (-1), (9223372036854775807), (NULL)) i(i), "
    "(VALUES (0::float8, 0::float4), ('-0', '-0'), ('NaN', 'NaN'), ('Infinity', '-Infinity'), (0.1, 0.1), "
    "(NULL, NULL)) f(f, r), "
    "(VALUES ('a'), ('a '), ('A'), ('ä'), (''), (E'it''s \\\\ %_'), ('z😀'), ('😀'), (NULL)) t(t), "
    "(VALUES (date '0001-01-01', 0::numeric, true), ('2020-02-29', -0.001, false), ('9999-12-31', "
    "9999999.999, NULL), "
    "(NULL, NULL, NULL)) d(d, n, b)",
]

#: Conditions, and whether all of them can be pushed.
FILTERS = [
    ("i = 0", True),
    ("i <> 0", True),
    ("i <=> NULL", True),
    ("i in (0, -1)", True),
    ("i not in (0, 9223372036854775807)", True),
    ("not (i > 0)", True),
    ("f > 0.05D", True),
    ("f < 0.05D", True),
    ("f = 0.1D", True),
    ("f = double('NaN')", False),
    ("f >= 0D", False),
    ("f = -0.0D", False),
    ("r = float(0.1)", True),
    ("r <= float(0.1)", True),
    ("t = 'a'", True),
    ("t <> 'a '", True),
    ("t > 'a'", True),
    ("t >= 'z' and t < '😁'", True),
    ("t in ('', 'ä')", True),
    ("t like 'a%'", True),
    ("t like '%😀'", True),
    ("contains(t, ' \\\\ ')", True),
    ("startswith(t, '')", True),
    ("v = 'a '", True),
    ("c = 'a'", False),
    ("d >= date'2020-02-29'", True),
    ("d = date'0001-01-01'", True),
    ("at > timestamp_ntz'2020-02-29 01:02:03'", True),
    ("at = timestamp_ntz'2020-02-29 01:02:03.000001'", True),
    ("atz <= timestamp'2020-02-29 01:02:03.000001'", True),
    ("n = -0.001", True),
    ("n > 0", True),
    ("b", True),
    ("not b", True),
    ("b is null and t is not null", True),
    ("u = '0CC175B9-C0F1-B6A8-31C3-99E269772661'", False),
    ("i = 0 or t = 'a'", False),
]


def test_pushed_filters_keep_exactly_the_rows_that_spark_keeps(spark: SparkSession, dsn: str) -> None:
    execute(dsn, *NASTY)
    with pgarrow_engine.spark.hold(dsn, table="nasty", slice_bytes="64K") as held:
        # What Spark itself says about each row.
        said = [f"({text}) AS c{number}" for number, (text, _) in enumerate(FILTERS)]
        whole = held.read(spark, pushdown=False).selectExpr("id", *said).collect()
        assert len(whole) == rows(dsn, "SELECT id FROM nasty").total()
        not_pushed = []
        for number, (text, is_pushed) in enumerate(FILTERS):
            frame = held.read(spark, pushdown=True).filter(text).select("id")
            plan = str(frame._jdf.queryExecution().optimizedPlan().toString())
            left = "Filter " in plan
            if left == is_pushed:
                not_pushed.append((text, plan))
            found = sorted(row.id for row in frame.collect())
            expected = sorted(row.id for row in whole if row[f"c{number}"])
            assert found == expected, text
    assert not not_pushed


def test_one_frame_filtered_in_two_ways_is_right_by_default(
    spark: SparkSession, dsn: str, steady: str
) -> None:
    """Spark 4.1 to 4.3 read the plan of the last pushdown for every scan of one DataFrame. So nothing is
    pushed there unless the caller asks for it."""
    with pgarrow_engine.spark.hold(dsn, table=steady, columns=["id"], where="id <> 4") as held:
        frame = held.read(spark)
        small = held.read(spark, where="id <= 5 OR id = 7 -- of few")
        assert sorted(row.id for row in small.collect()) == [1, 2, 3, 5, 7]
        one = held.read(spark, where="id <= 5", pushdown=True).filter("id > 3")
        assert [row.id for row in one.collect()] == [5]
        whole = rows(dsn, f"SELECT id FROM {steady} WHERE id <> 4", snapshot=exported(held.tokens[0])).total()
        both = frame.filter("id = 1").union(frame.filter("id = 2"))
        assert sorted(row.id for row in both.collect()) == [1, 2]
        assert frame.filter("id = 3").count() == 1
        assert frame.count() == whole


def test_whether_spark_keeps_scans_apart_is_known(spark: SparkSession, dsn: str, steady: str) -> None:
    with pgarrow_engine.spark.hold(dsn, table=steady, columns=["id"], where="id <= 100") as held:
        frame = held.read(spark, pushdown=True)
        assert frame.filter("id = 3").count() == 1
        assert (frame.count() == 100) == pgarrow_engine.spark._keeps_scans_apart(spark)


def test_policies_that_change_values_keep_filters_in_spark(spark: SparkSession, dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE policies (id int4, n numeric(6,2), d date)",
        "INSERT INTO policies VALUES (1, 'NaN', 'infinity'), (2, 5, '2020-01-01'), (3, NULL, NULL)",
    )
    with pgarrow_engine.spark.hold(dsn, table="policies", nan="null", infinity="null") as held:
        for text, ids in (("n > 1", [2]), ("d > date'2000-01-01'", [2]), ("n is null", [1, 3])):
            frame = held.read(spark, pushdown=True).filter(text)
            assert [row.id for row in frame.orderBy("id").collect()] == ids, text
    with pgarrow_engine.spark.hold(dsn, table="policies") as held:
        with pytest.raises(PySparkException, match="policies"):
            held.read(spark).collect()


def test_a_snapshot_that_is_gone_is_a_clear_error(spark: SparkSession, dsn: str, steady: str) -> None:
    held = pgarrow_engine.spark.hold(dsn, table=steady, slice_bytes="128K")
    frame = held.read(spark)
    assert frame.filter("id = 1").count() == 1
    held.check()
    execute(
        dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND state = 'idle in transaction' AND datname = current_database()",
    )
    with pytest.raises(PySparkException, match="snapshot of this read is gone.*pgarrow_engine.spark.hold"):
        frame.count()
    with pytest.raises(pg.Error):
        held.check()
    held.release()
    held.release()


HOLDER = """
import json, sys, time
import pgarrow_engine.spark
held = pgarrow_engine.spark.hold(sys.argv[1], table=sys.argv[2])
print(json.dumps(held.options()), flush=True)
time.sleep(600)
"""


def test_a_holder_that_was_killed_is_a_clear_error(spark: SparkSession, dsn: str, steady: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, dsn, steady], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        options = json.loads(holder.stdout.readline())
        frame = spark.read.format("pgarrow").options(**options).load()
        assert frame.count() == rows(dsn, f"SELECT id FROM {steady}").total()
        holder.kill()
    with pytest.raises(PySparkException, match="snapshot of this read is gone.*pgarrow_engine.spark.hold"):
        frame.count()


ZOO = {
    "small": ("int2", "smallint"),
    "number": ("oid", "bigint"),
    "wide": ("numeric(50,2)", "string"),
    "free": ("numeric", "string"),
    "cash": ("money", "decimal(19,2)"),
    "clock": ("time", "string"),
    "zoned": ("timetz", None),
    "span": ("interval", "string"),
    "key": ("uuid", "string"),
    "doc": ("jsonb", "string"),
    "mood": ("mood", "string"),
    "address": ("inet", "string"),
    "flags": ("bit(5)", "string"),
    "place": ("point", "struct<x:double,y:double>"),
    "reach": ("int4range", None),
    "pair": ("pair", "struct<n:int,t:string>"),
    "keys": ("uuid[]", "string"),
    "moods": ("mood[]", "array<string>"),
    "times": ("timestamptz[]", "array<timestamp>"),
    "pairs": ("pair[]", "array<struct<n:int,t:string>>"),
    "words": ("tsvector", "string"),
    "padded": ("char(4)", "string"),
    "positive": ("positive", "int"),
}

ZOO_VALUES = (
    "-1, 4294967295, 123456789012345678901234567890123456789012345678.12, 'NaN', '-1.50', '24:00:00', "
    "'01:02:03.5+05:30', '1 mon -2 days 03:00:00.000001', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', "
    "'{\"a\": 1.10}', "
    "'happy', '10.0.0.1/8', B'01010', '(1.5,-0)', '[1,5)', '(1,x)', "
    "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}', "
    "'{happy,NULL}', '{2020-01-01 00:00:00+00,NULL}', '{\"(1,x)\",NULL}', 'a b', 'ab', 5"
)


def test_every_type_is_held_or_read_as_the_servers_text(spark: SparkSession, dsn: str) -> None:
    columns = ", ".join(f"{name} {of}" for name, (of, _) in ZOO.items())
    execute(
        dsn,
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TYPE pair AS (n int4, t text)",
        "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)",
        f"CREATE TABLE zoo ({columns})",
        f"INSERT INTO zoo VALUES ({ZOO_VALUES}), ({', '.join(['NULL'] * len(ZOO))})",
    )
    with pgarrow_engine.spark.hold(dsn, table="zoo") as held:
        frame = held.read(spark)
        types = {field.name: field.dataType.simpleString() for field in frame.schema}
        assert {name: types[name] for name, (_, of) in ZOO.items() if of} == {
            n: of for n, (_, of) in ZOO.items() if of
        }
        strings = [name for name, of in types.items() if of == "string"]
        texts = ", ".join(f"{name}::text" if name != "padded" else "padded" for name in strings)
        assert counted(frame.select(*strings)) == rows(dsn, f"SELECT {texts} FROM zoo")
        row = frame.filter("small = -1").collect()[0]
    assert row.number == 2**32 - 1 and row.cash == decimal.Decimal("-1.50") and row.padded == "ab  "
    assert row.pair.asDict() == {"n": 1, "t": "x"} and row.moods == ["happy", None] and row.positive == 5
    assert (
        row.times == [datetime.datetime(2020, 1, 1), None] and row.pairs[0].t == "x" and row.pairs[1] is None
    )
    assert row.place.x == 1.5


def test_passwords_do_not_reach_spark(spark: SparkSession, dsn: str, steady: str) -> None:
    with_password = f"{pgarrow_engine._dist_conninfo.for_workers(dsn)} password=hidden-word"
    with pytest.raises(PySparkException, match="conninfo.*password"):
        spark.read.format("pgarrow").option("conninfo", with_password).option("table", steady).load()
    with pgarrow_engine.spark.hold(with_password, table=steady, columns=["id"]) as held:
        assert "hidden-word" not in repr(held.options())
        frame = held.read(spark)
        assert frame.count() > 0
        assert "hidden-word" not in frame._jdf.queryExecution().toString()
    with pytest.raises(pg.OptionsError, match="worker_conninfo"):
        pgarrow_engine.spark.hold(dsn, worker_conninfo=with_password, table=steady)


def test_wrong_options_are_told(spark: SparkSession, dsn: str, steady: str) -> None:
    def load(**options: str) -> DataFrame:
        return spark.read.format("pgarrow").option("conninfo", dsn).options(**options).load()

    with pytest.raises(PySparkException, match="name one of them"):
        load()
    with pytest.raises(PySparkException, match="no such option"):
        load(table=steady, tabel="x")
    with pytest.raises(PySparkException, match="absent"):
        load(table="absent")
    with pytest.raises(PySparkException, match="held"):
        load(held="nonsense")
    with pytest.raises(PySparkException, match="schema"):
        spark.read.format("pgarrow").option("conninfo", dsn).option("table", steady).schema(
            "id int"
        ).load().count()
    with pytest.raises(pg.OptionsError, match="name one of them"):
        pgarrow_engine.spark.hold(dsn)
    with pytest.raises(TypeError, match="tabel"):
        pgarrow_engine.spark.hold(dsn, table=steady, tabel="x")


# Writing


def hidden(dsn: str) -> int:
    return rows(
        dsn, "SELECT relname FROM pg_class WHERE relname LIKE '%\\_pgarrow\\_%' AND relkind = 'r'"
    ).total()


def target(dsn: str, name: str) -> str:
    execute(
        dsn,
        f"CREATE TABLE {name} (id int8 NOT NULL, note text, day date, at timestamptz, price numeric(12,2), "
        "ok bool, ratio float8, raw bytea, extra text DEFAULT 'made', pos int8 GENERATED ALWAYS AS IDENTITY)",
    )
    return name


def source(spark: SparkSession, n: int, partitions: int = 4) -> DataFrame:
    return spark.range(0, n, 1, partitions).selectExpr(
        "id",
        "if(id % 5 = 0, null, concat('ä', id)) note",
        "date_add(date'2020-01-01', cast(id % 100 as int)) day",
        "timestamp_micros(id * 1000001) at",
        "cast(id / 4 as decimal(12,2)) price",
        "id % 2 = 0 ok",
        "id / 3D ratio",
        "encode(concat('x', id), 'utf-8') raw",
    )


def write(frame: DataFrame, dsn: str, table: str, mode: str = "append", **options: str) -> None:
    frame.write.format(options.pop("format", "pgarrow")).option("conninfo", dsn).option(
        "table", table
    ).options(**options).mode(mode).save()


WRITTEN = "id, note, day, at AT TIME ZONE 'UTC', price, ok, ratio, raw"


def test_rows_are_written_and_hidden_tables_are_gone(spark: SparkSession, dsn: str) -> None:
    table = target(dsn, "written")
    frame = source(spark, 1000)
    write(frame, dsn, table)
    assert rows(dsn, f"SELECT {WRITTEN} FROM {table}") == counted(frame)
    assert rows(dsn, f"SELECT DISTINCT extra FROM {table}") == Counter([("made",)])
    write(frame, dsn, table)
    assert rows(dsn, f"SELECT id FROM {table}").total() == 2000
    write(source(spark, 10), dsn, table, "overwrite")
    assert rows(dsn, f"SELECT {WRITTEN} FROM {table}") == counted(source(spark, 10))
    write(source(spark, 0), dsn, table, "overwrite")
    assert rows(dsn, f"SELECT id FROM {table}").total() == 0
    assert hidden(dsn) == 0


def test_what_spark_reads_it_writes_back(spark: SparkSession, dsn: str, steady: str) -> None:
    execute(dsn, f"CREATE TABLE back (LIKE {steady})")
    with pgarrow_engine.spark.hold(dsn, table=steady, where="id <= 500") as held:
        write(held.read(spark), dsn, "back")
        expected = rows(
            dsn, f"SELECT c::text FROM {steady} c WHERE id <= 500", snapshot=exported(held.tokens[0])
        )
    assert rows(dsn, "SELECT c::text FROM back c") == expected


def test_instants_and_nested_values_are_written_as_they_are(spark: SparkSession, dsn: str) -> None:
    execute(
        dsn,
        "CREATE TYPE point3 AS (x int4, name text)",
        "CREATE TABLE nested (at timestamptz, local timestamp, tags int4[], p point3, ps point3[], tiny "
        "int2, "
        "doc jsonb, key uuid, times timestamptz[])",
    )
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        frame = spark.sql(
            "SELECT timestamp_micros(1) at, timestamp_ntz'1969-12-31 00:00:00.000001' local, array(1, "
            "null) tags, "
            "named_struct('x', 1, 'name', 'a') p, array(named_struct('x', 1, 'name', 'a'), null) ps, "
            "cast(7 AS tinyint) tiny, '{\"a\": [1]}' doc, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' key, "
            "array(timestamp_micros(1), null) times"
        )
        write(frame, dsn, "nested")
        found = rows(dsn, "SELECT n::text, extract(epoch FROM at)::text FROM nested n")
        with pgarrow_engine.spark.hold(dsn, table="nested") as held:
            again = held.read(spark)
            assert again.withColumn("tiny", again.tiny.cast("tinyint")).subtract(frame).count() == 0
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    ((text, epoch), n) = found.popitem()
    assert n == 1 and epoch == "0.000001"
    assert '"1969-12-31 00:00:00.000001","{1,NULL}","(1,a)"' in text


class FailingWriter(Writer):
    """The first attempt of each task fails after it has loaded: by an error, or by the end of its process."""

    def write(self, iterator: Any) -> Loaded:
        message = super().write(iterator)
        context = TaskContext.get()
        assert context is not None
        if context.attemptNumber() == 0:
            if context.partitionId() % 2:
                os._exit(1)
            raise RuntimeError("after the load")
        return message


class FailingDataSource(PgarrowDataSource):
    @classmethod
    def name(cls) -> str:
        return "failing"

    def writer(self, schema: StructType, overwrite: bool) -> Any:
        return FailingWriter(super().writer(schema, overwrite)._plan)  # type: ignore[attr-defined]


def test_tasks_that_fail_after_loading_are_loaded_once(spark: SparkSession, dsn: str) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    spark.dataSource.register(FailingDataSource)
    table = target(dsn, "retried")
    frame = source(spark, 400)
    write(frame, dsn, table, format="failing")
    assert rows(dsn, f"SELECT {WRITTEN} FROM {table}") == counted(frame)
    assert hidden(dsn) == 0


def test_a_write_that_fails_leaves_the_table_as_it_was(spark: SparkSession, dsn: str) -> None:
    table = target(dsn, "refused")
    write(source(spark, 10), dsn, table)
    broken = source(spark, 100).selectExpr("if(id = 77, null, id) id", "note")
    with pytest.raises(PySparkException, match="null value in column"):
        write(broken, dsn, table, "overwrite")
    assert rows(dsn, f"SELECT id FROM {table}").total() == 10
    assert hidden(dsn) == 0


def attempts(dsn: str, table: str, schema: StructType, key: str | None = None) -> Writer:
    return Writer(prepared(Access(dsn), table, schema, {}, key=key, is_overwriting=False))


def batches(frame: DataFrame) -> Iterator[Any]:
    return iter(frame.toArrow().to_batches())


def test_speculative_duplicates_and_second_commits_load_once(spark: SparkSession, dsn: str) -> None:
    """Spark starts no second copy of a task on one host, so this runs what it would run."""
    table = target(dsn, "speculative")
    frame = source(spark, 100, 1)
    writer = attempts(dsn, table, frame.schema)
    first, second = writer.write(batches(frame)), writer.write(batches(frame))
    assert first.rows == second.rows == 100
    assert hidden(dsn) == 2
    writer.commit([second])
    assert rows(dsn, f"SELECT {WRITTEN} FROM {table}") == counted(frame)
    assert hidden(dsn) == 0
    writer.commit([second])
    assert rows(dsn, f"SELECT id FROM {table}").total() == 100


def test_an_attempt_that_ends_after_the_commit_is_removed_by_the_next_write(
    spark: SparkSession, dsn: str
) -> None:
    table = target(dsn, "late")
    frame = source(spark, 20, 1)
    writer = attempts(dsn, table, frame.schema)
    message = writer.write(batches(frame))
    writer.commit([message])
    writer.write(batches(frame))
    assert len(pgarrow_engine.spark.leftovers(dsn, table=table)) == 1
    write(frame, dsn, table)
    assert pgarrow_engine.spark.leftovers(dsn, table=table) == []
    assert rows(dsn, f"SELECT id FROM {table}").total() == 40


def test_a_restart_key_loads_once(spark: SparkSession, dsn: str) -> None:
    table = target(dsn, "keyed")
    for _ in range(2):
        write(source(spark, 50), dsn, table, **{"restart-key": "night 1"})
    assert rows(dsn, f"SELECT id FROM {table}").total() == 50
    write(source(spark, 50), dsn, table, restart_key="night 2")
    assert rows(dsn, f"SELECT id FROM {table}").total() == 100
    frame = source(spark, 50, 1)
    two = [attempts(dsn, table, frame.schema, "night 3") for _ in range(2)]
    messages = [writer.write(batches(frame)) for writer in two]
    for writer, message in zip(two, messages, strict=True):
        writer.commit([message])
    assert rows(dsn, f"SELECT id FROM {table}").total() == 150
    assert hidden(dsn) == 0
    other = target(dsn, "keyed_other")
    with pytest.raises(PySparkException, match="restart_key.*keyed"):
        write(source(spark, 50), dsn, other, restart_key="night 1")


def test_rows_lost_by_a_crash_of_the_server_are_noticed(spark: SparkSession, dsn: str) -> None:
    table = target(dsn, "crashed")
    frame = source(spark, 30, 1)
    writer = attempts(dsn, table, frame.schema)
    message = writer.write(batches(frame))
    execute(dsn, f"TRUNCATE {message.table}")
    with pytest.raises(pg.StateError, match="0 rows instead of 30"):
        writer.commit([message])
    assert rows(dsn, f"SELECT id FROM {table}").total() == 0
    execute(dsn, f"DROP TABLE {message.table}")
    with pytest.raises(pg.StateError, match="is gone"):
        writer.commit([message])
    writer.abort([message, None])
    assert hidden(dsn) == 0


def test_what_dead_jobs_left_can_be_found_and_dropped(spark: SparkSession, dsn: str) -> None:
    table = target(dsn, "remains")
    frame = source(spark, 30, 1)
    attempts(dsn, table, frame.schema, key="dead").write(batches(frame))
    (leftover,) = pgarrow_engine.spark.leftovers(dsn, table=table)
    assert leftover.key == "dead"
    assert pgarrow_engine.spark.drop_leftovers(dsn, table=table, older_than=3600) == []
    assert pgarrow_engine.spark.drop_leftovers(dsn, table=table, older_than=0) == [leftover]
    assert pgarrow_engine.spark.leftovers(dsn, table=table) == []


def test_wrong_targets_are_told(spark: SparkSession, dsn: str) -> None:
    table = target(dsn, "told")
    with pytest.raises(PySparkException, match="absent"):
        write(source(spark, 1), dsn, "absent")
    with pytest.raises(PySparkException, match="'ID'.*no column"):
        write(source(spark, 1).withColumnRenamed("id", "ID"), dsn, table)
    with pytest.raises(PySparkException, match="name the table"):
        source(spark, 1).write.format("pgarrow").option("conninfo", dsn).mode("append").save()
    assert repr(Slice("a token")) == "Slice()"


def test_the_page_runs_as_it_is_written(spark: SparkSession, dsn: str) -> None:
    execute(dsn, *ORDERS, "CREATE TABLE totals (id int8 PRIMARY KEY, total numeric(15,2))")
    printed = run_page("spark.md")
    assert "|    placed|count|" in printed and "[]" in printed
    count = rows(dsn, "SELECT count(*) FROM orders WHERE total > 100").popitem()[0][0]
    assert printed.split().count(str(count)) == 2
    assert rows(dsn, "SELECT count(*), max(total) FROM totals") == Counter(
        [(1000, decimal.Decimal("499.50"))]
    )
    run_page("spark.md", where="spark")
    assert rows(dsn, "SELECT count(*) FROM totals") == Counter([(1000,)])


def test_decimals_keep_every_digit(spark: SparkSession, dsn: str) -> None:
    query = "SELECT 12345678901234567890.123456789012345678::numeric(38,18) AS n, 1.10::numeric AS free"
    row = spark.read.format("pgarrow").option("conninfo", dsn).option("query", query).load().collect()[0]
    assert row.n == decimal.Decimal("12345678901234567890.123456789012345678")
    assert row.free == "1.10"
