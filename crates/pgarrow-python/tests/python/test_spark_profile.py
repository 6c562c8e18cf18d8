"""The Spark adapter without Spark's JVM and without a server: types, casts, filters, connection texts."""

from __future__ import annotations

import datetime
import decimal

import pytest
from _dist_support import need

need("pyspark", "pyarrow")

import pgarrow_engine as pg
import pyarrow as pa
from pgarrow_engine._dist_cast import fitted, fitted_array
from pgarrow_engine._dist_conninfo import for_workers, has_password, without_password
from pgarrow_engine._dist_filters import comparable, condition, quoted_text
from pgarrow_engine._dist_options import READING, TYPES, WHAT, parsed
from pgarrow_engine._dist_profile import arrow_schema, spark_schema, text_choices
from pyspark.sql import datasource as ds
from pyspark.sql import types as spark
from pyspark.sql.pandas.types import to_arrow_schema

UTC = datetime.timezone.utc


def schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


def sparks_own(of: spark.StructType) -> pa.Schema:
    """The mapping that Spark compares batches with."""
    try:
        return to_arrow_schema(of, timezone="UTC")
    except TypeError:
        # Spark 4.1 has it without the argument.
        return to_arrow_schema(of)


# Types


def test_what_spark_cannot_hold_is_read_as_text() -> None:
    columns = schema(
        id=pa.int64(),
        big=pa.decimal256(50, 2),
        key=pa.uuid(),
        at=pa.time64("us"),
        span=pa.month_day_nano_interval(),
        spans=pa.list_(pa.month_day_nano_interval()),
        bytes=pa.binary(),
    )
    choices = text_choices(columns, {"table": "t"})
    assert choices["column"] == dict.fromkeys(["big", "key", "at", "span", "spans"], "text")
    assert choices["enum"] == choices["interval"] == "text"


def test_choices_of_the_caller_stay_and_contradictions_are_told() -> None:
    columns = schema(weight=pa.decimal128(20, 4), key=pa.uuid())
    arguments = {"column": {"weight": "decimal(20,4)"}}
    assert text_choices(columns, arguments)["column"] == {"weight": "decimal(20,4)", "key": "text"}
    with pytest.raises(pg.OptionsError, match="'weight'.*decimal256"):
        text_choices(schema(weight=pa.decimal256(50, 4)), {"column": {"weight": "decimal(50,4)"}})
    with pytest.raises(pg.OptionsError, match="'A' and 'a'|'a' and 'A'"):
        spark_schema(schema(a=pa.int32(), A=pa.int32()), {})


def test_every_type_that_is_held_fits_what_spark_demands() -> None:
    inner = pa.struct([pa.field("n", pa.uint32(), False), pa.field("of", pa.list_(pa.uint64()))])
    columns = [
        (pa.bool_(), [True, None]),
        (pa.int16(), [-1, None]),
        (pa.uint32(), [2**32 - 1, None]),
        (pa.uint64(), [2**64 - 1, None]),
        (pa.float16(), [1.5, None]),
        (pa.float64(), [float("inf"), None]),
        (pa.decimal128(38, 10), [decimal.Decimal("1.0000000001"), None]),
        (pa.string_view(), ["ä ", None]),
        (pa.binary(16), [b"0" * 16, None]),
        (pa.date32(), [datetime.date(1, 1, 1), None]),
        (pa.timestamp("us"), [datetime.datetime(9999, 12, 31, 23, 59, 59, 999999), None]),
        (pa.timestamp("us", tz="UTC"), [datetime.datetime(1, 1, 1, tzinfo=UTC), None]),
        (pa.list_(pa.int32()), [[1, None], None]),
        (pa.list_(inner), [[{"n": 1, "of": [1, None]}, None], None]),
        (pa.list_(pa.float32(), 2), [[1.0, 2.0], None]),
        (pa.map_(pa.string(), pa.string()), [[("a", None)], None]),
        (inner, [{"n": 2**32 - 1, "of": None}, None]),
        (pa.dictionary(pa.int32(), pa.string()), ["x", None]),
    ]
    arrays = [pa.array(values, of) for of, values in columns]
    names = [f"c{index}" for index in range(len(arrays))]
    batch = pa.RecordBatch.from_arrays(arrays, names=names)
    wanted = sparks_own(spark_schema(batch.schema, {}))
    for part in (batch, batch.slice(1), batch.slice(0, 1), batch.slice(0, 0)):
        found = fitted(part, wanted)
        assert wanted.equals(found.schema)
        found.validate(full=True)
        assert found.to_pylist() == part.to_pylist()


def test_the_mapping_is_sparks_own() -> None:
    inner = spark.StructType([spark.StructField("n", spark.LongType(), False)])
    fields: list[spark.DataType] = [
        spark.DecimalType(38, 10),
        spark.TimestampType(),
        spark.TimestampNTZType(),
    ]
    fields += [
        spark.ArrayType(inner, False),
        spark.MapType(spark.StringType(), inner, True),
        spark.ShortType(),
    ]
    fields += [spark.BinaryType(), spark.DateType(), spark.TimeType(6), spark.FloatType(), spark.ByteType()]
    of = spark.StructType([spark.StructField(f"c{n}", field, n % 2 == 0) for n, field in enumerate(fields)])
    assert arrow_schema(of).equals(sparks_own(of))


def test_extension_types_become_their_storage() -> None:
    keys = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None]))
    batch = pa.RecordBatch.from_arrays([keys], names=["doc"])
    wanted = sparks_own(spark_schema(batch.schema, {}))
    assert fitted(batch, wanted).to_pylist() == [{"doc": '{"a": 1}'}, {"doc": None}]
    old = pa.field("key", pa.binary(16), True, {"ARROW:extension:name": "arrow.uuid"})
    assert text_choices(pa.schema([old]), {})["column"] == {"key": "text"}
    nested = pa.schema([("keys", pa.list_(pa.uuid()))])
    assert text_choices(nested, {})["column"] == {"keys": "text"}


def test_time_is_times_only_below_a_day() -> None:
    columns = schema(at=pa.time64("us"))
    assert spark_schema(columns, {"time": "time"})[0].dataType == spark.TimeType(6)
    wanted = sparks_own(spark_schema(columns, {"time": "time"}))
    late = pa.array([86_399_999_999], pa.int64()).cast(pa.time64("us"))
    assert fitted(pa.RecordBatch.from_arrays([late], names=["at"]), wanted).column(0).type == pa.time64("ns")
    back = fitted_array(late.cast(pa.time64("ns")), pa.field("at", pa.time64("us")))
    assert back.equals(late)
    over = pa.array([86_400_000_000], pa.int64()).cast(pa.time64("us"))
    with pytest.raises(pg.OptionsError, match="24:00:00"):
        fitted(pa.RecordBatch.from_arrays([over], names=["at"]), wanted)


# Filters

KINDS = {
    "b": "bool",
    "i": "int",
    "f": "float",
    "t": "text",
    "d": "date",
    "at": "timestamp",
    "atz": "timestamptz",
    "n": "decimal",
    'q"x': "int",
}


def sql(filter: ds.Filter) -> str | None:
    return condition(filter, KINDS)


def test_filters_that_are_pushed() -> None:
    assert sql(ds.EqualTo(("i",), 5)) == "(\"i\" OPERATOR(pg_catalog.=) '5'::pg_catalog.int8)"
    assert sql(ds.GreaterThan(('q"x',), -1)) == '("q""x" OPERATOR(pg_catalog.>) \'-1\'::pg_catalog.int8)'
    assert sql(ds.Not(ds.EqualTo(("b",), True))) == '(NOT ("b" OPERATOR(pg_catalog.=) true))'
    assert sql(ds.IsNotNull(("t",))) == '("t" IS NOT NULL)'
    assert sql(ds.EqualNullSafe(("i",), None)) == '("i" IS NULL)'
    for filter in (
        ds.LessThan(("f",), 0.1),
        ds.LessThanOrEqual(("d",), datetime.date(1, 1, 1)),
        ds.GreaterThanOrEqual(("at",), datetime.datetime(2020, 1, 1)),
        ds.EqualTo(("atz",), datetime.datetime(2020, 1, 1, tzinfo=UTC)),
        ds.EqualTo(("n",), decimal.Decimal("1E+3")),
        ds.In(("t",), ("a", "b'\\")),
        ds.StringStartsWith(("t",), "ä%_"),
        ds.StringEndsWith(("t",), " "),
        ds.StringContains(("t",), ""),
        ds.EqualNullSafe(("i",), 1),
    ):
        assert sql(filter) is not None, filter


def test_filters_with_a_doubt_are_left_to_spark() -> None:
    for filter in (
        ds.EqualTo(("unknown",), 5),
        ds.EqualTo(("i", "inner"), 5),
        ds.EqualTo(("i",), True),
        ds.EqualTo(("i",), decimal.Decimal(5)),
        ds.EqualTo(("i",), 2**63),
        ds.EqualTo(("f",), float("nan")),
        ds.GreaterThan(("f",), float("inf")),
        ds.EqualTo(("f",), -0.0),
        ds.In(("f",), (1.5,)),
        ds.In(("i",), (1, None)),
        ds.In(("i",), ()),
        ds.In(("i",), tuple(range(1001))),
        ds.EqualTo(("t",), "a\0b"),
        ds.EqualTo(("t",), "\ud800"),
        ds.EqualTo(("at",), datetime.datetime(2020, 1, 1, tzinfo=UTC)),
        ds.EqualTo(("atz",), datetime.datetime(2020, 1, 1)),
        ds.EqualTo(("d",), datetime.datetime(2020, 1, 1)),
        ds.EqualTo(("n",), decimal.Decimal("NaN")),
        ds.StringStartsWith(("i",), "1"),
        ds.Not(ds.EqualTo(("unknown",), 1)),
    ):
        assert sql(filter) is None, filter


def test_columns_whose_values_may_change_are_not_compared() -> None:
    def of(name: str, arrow: pa.DataType, oid: int) -> pa.Field:
        return pa.field(name, arrow, True, {"pg.oid": str(oid)})

    columns = pa.schema(
        [
            of("i", pa.int32(), 23),
            of("d", pa.date32(), 1082),
            of("n", pa.decimal128(5, 2), 1700),
            of("text", pa.string(), 25),
            of("padded", pa.string(), 1042),
            of("own", pa.int32(), 16400),
            of("as_text", pa.string(), 23),
        ]
    )
    assert set(comparable(columns, {}, is_utf8=True)) == {"i", "d", "n", "text"}
    assert set(comparable(columns, {}, is_utf8=False)) == {"i", "d", "n"}
    assert set(comparable(columns, {"nan": "null"}, is_utf8=True)) == {"i", "text"}
    assert set(comparable(columns, {"column": {"d": "infinity=null"}}, is_utf8=True)) == {"i", "n", "text"}


def test_texts_are_quoted_for_every_setting() -> None:
    assert quoted_text("it's") == "'it''s'"
    assert quoted_text("a\\'") == "E'a\\\\'''"


# Connection texts and options


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgres://me:secret@host/shop", "postgres://me@host/shop"),
        (
            "postgresql://me:s%2Fe@h1:1,h2:2/shop?password=x&sslmode=require",
            "postgresql://me@h1:1,h2:2/shop?sslmode=require",
        ),
        ("host=h password=secret user=me", "host=h user=me"),
        (r"host=h password='a b\'c' user=me", "host=h user=me"),
        ("host = h  Password = 'x'", "host=h"),
    ],
)
def test_passwords_are_taken_out(text: str, left: str) -> None:
    assert has_password(text)
    assert without_password(text) == left
    assert not has_password(left)


def test_what_workers_connect_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PGHOST",
        "PGPORT",
        "PGUSER",
        "PGDATABASE",
        "PGSERVICE",
        "PGHOSTADDR",
        "PGSSLMODE",
        "PGSSLROOTCERT",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGHOST", "it's")
    monkeypatch.setenv("PGPASSWORD", "secret")
    assert for_workers(None) == r"host='it\'s'"
    assert for_workers("shop") == r"dbname='shop' host='it\'s'"
    assert for_workers("host=a password=b") == "host=a"
    assert for_workers("postgres://me:x@h/d") == "postgres://me@h/d"
    assert for_workers("service=shop") == "service=shop"
    with pytest.raises(pg.OptionsError, match="conninfo"):
        for_workers("host=a password='open")


def test_options_have_the_names_of_the_command() -> None:
    known = (*WHAT, *READING, *TYPES)
    options = {"Table": "t", "batch-rows": "10", "column": '{"a": "text"}', "columns": "a, b", "only": "true"}
    assert parsed(options, known) == {
        "table": "t",
        "batch_rows": 10,
        "column": {"a": "text"},
        "columns": ["a", "b"],
        "only": True,
    }
    with pytest.raises(pg.OptionsError, match="'tabel'.*did you mean 'table'"):
        parsed({"tabel": "t"}, known)
    with pytest.raises(pg.OptionsError, match="'params'.*JSON"):
        parsed({"params": "[1"}, known)
