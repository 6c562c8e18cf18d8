"""The ADBC driver, by the driver manager of Python; side by side with adbc_driver_postgresql.

`PGARROW_ADBC_DRIVER` names another library than the wheel's.
"""

from __future__ import annotations

import builtins
import datetime
import decimal
import importlib
import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from conftest import eventually

adbc_driver_manager = pytest.importorskip("adbc_driver_manager")
dbapi: Any = pytest.importorskip("adbc_driver_manager.dbapi")

Psql = Any


def driver() -> str:
    named = os.environ.get("PGARROW_ADBC_DRIVER")
    if named:
        return named
    from pgarrow_engine import _native

    return str(_native.__file__)


def connect(dsn: str, **kwargs: Any) -> Any:
    return dbapi.connect(driver=driver(), entrypoint="PgarrowDriverInit", db_kwargs={"uri": dsn}, **kwargs)


def uri(dsn: str) -> str:
    """For libpq, which takes both forms, by a driver that wants a URI."""
    from urllib.parse import quote

    import psycopg.conninfo

    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    user, host = quote(str(parts.pop("user", "postgres"))), str(parts.pop("host", "localhost"))
    password, port, dbname = (
        parts.pop("password", None),
        parts.pop("port", 5432),
        quote(str(parts.pop("dbname", ""))),
    )
    login = user if password is None else f"{user}:{quote(str(password))}"
    return f"postgresql://{login}@{quote(host, safe='')}:{port}/{dbname}"


@pytest.fixture
def conn(dsn: str) -> Iterator[Any]:
    with connect(dsn) as connection:
        yield connection


def test_dbapi(conn: Any) -> None:
    with conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int, b text)")
        cursor.executemany("INSERT INTO t VALUES ($1, $2)", [(1, "x"), (2, None)])
        cursor.execute("SELECT a, b FROM t ORDER BY a")
        assert cursor.fetchone() == (1, "x")
        assert cursor.fetchall() == [(2, None)]
        cursor.execute("INSERT INTO t VALUES (3, 'y') RETURNING a")
        assert cursor.fetchall() == [(3,)]
        cursor.execute("SELECT b FROM t WHERE a = $1", parameters=(3,))
        assert cursor.fetch_arrow_table().to_pydict() == {"b": ["y"]}
        conn.rollback()
        with pytest.raises(dbapi.ProgrammingError) as caught:
            cursor.execute("SELECT * FROM t")
        assert caught.value.sqlstate == "42P01"
        assert "(SQLSTATE 42P01)" in str(caught.value)


def test_ingest_and_metadata(conn: Any, dsn: str) -> None:
    table = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]})
    with conn.cursor() as cursor:
        assert cursor.adbc_ingest("fruit", table, mode="create") == 3
        assert cursor.adbc_ingest("fruit", table.to_reader(), mode="append") == 3
        cursor.execute("SELECT count(*) FROM fruit")
        assert cursor.fetchone() == (6,)
        assert cursor.adbc_ingest("mine", table, mode="create", temporary=True) == 3
        with pytest.raises(dbapi.Error):
            cursor.adbc_ingest("fruit", table, mode="create")
    conn.commit()
    assert conn.adbc_get_info()["vendor_name"] == "PostgreSQL"
    assert conn.adbc_get_table_schema("fruit").names == ["id", "name"]
    assert "view" in conn.adbc_get_table_types()
    found = conn.adbc_get_objects(depth="columns", table_name_filter="fruit").read_all().to_pylist()
    tables = [t for c in found for s in c["catalog_db_schemas"] or [] for t in s["db_schema_tables"] or []]
    assert [column["column_name"] for t in tables for column in t["table_columns"]] == ["id", "name"]


def test_partitions(conn: Any, dsn: str, psql: Psql) -> None:
    psql("CREATE TABLE parts AS SELECT g AS a, repeat('x', 200) AS b FROM generate_series(1, 20000) AS g")
    psql("ANALYZE parts")
    with connect(dsn, autocommit=True) as planner, planner.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"pgarrow.slice_bytes": "512K"})
        partitions, schema = cursor.adbc_execute_partitions("TABLE parts")
        assert len(partitions) > 1
        psql("DELETE FROM parts")
        rows = 0
        for partition in partitions:
            with conn.cursor() as reader:
                reader.adbc_read_partition(partition)
                table = reader.fetch_arrow_table()
                assert schema is None or table.schema.equals(schema)
                rows += table.num_rows
        assert rows == 20_000
    # The server learns a moment later that its session has gone.
    caught: list[dbapi.Error] = []

    def is_gone() -> bool:
        with conn.cursor() as reader:
            try:
                reader.adbc_read_partition(partitions[0])
            except dbapi.Error as error:
                caught.append(error)
        return bool(caught)

    eventually(is_gone)
    assert caught[0].sqlstate


def test_cancel(conn: Any) -> None:
    with conn.cursor() as cursor:
        canceller = threading.Timer(0.3, cursor.adbc_cancel)
        canceller.start()
        started = time.monotonic()
        with pytest.raises(dbapi.OperationalError):
            cursor.execute("SELECT pg_sleep(60)")
        assert time.monotonic() - started < 20
        canceller.join()
    conn.rollback()


def test_the_thin_module(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    thin = pytest.importorskip("pgarrow_engine.dbapi")
    with (
        thin.connect(dsn, numeric="text", column={"a": "text"}, autocommit=True) as conn,
        conn.cursor() as cursor,
    ):
        cursor.execute("SELECT 1 AS a, 1.50 AS b")
        assert cursor.fetchall() == [("1", "1.50")]
    with pytest.raises(TypeError):
        thin.connect(dsn, column="a:text")
    with pytest.raises(dbapi.Error, match="pgarrow.colour"):
        thin.connect(dsn, colour="red")
    # Without the driver manager, the error says what to install.
    monkeypatch.delitem(sys.modules, "pgarrow_engine.dbapi")
    there = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("adbc_driver_manager"):
            raise ModuleNotFoundError(name)
        return there(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match="pip install adbc-driver-manager"):
        importlib.import_module("pgarrow_engine.dbapi")


def test_the_page(dsn: str, tmp_path: pathlib.Path, psql: Psql, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pgarrow_engine.dbapi")
    from _dist_support import ORDERS, environment
    from test_book import blocks

    psql("DROP TABLE IF EXISTS orders")
    for statement in ORDERS:
        psql(statement)
    for name, value in environment(dsn).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__page__"}
    for block in blocks("docs/src/adbc.md"):
        exec(compile(block, "docs/src/adbc.md", "exec"), names)


#: Statements whose values are the same by both drivers.
SAME = [
    "SELECT 1::int2 AS a, 2::int4 AS b, 3::int8 AS c, NULL::int4 AS d",
    "SELECT 1.5::float4 AS a, 'NaN'::float8 AS b, true AS c",
    "SELECT 'é'::text AS a, 'x'::varchar(3) AS b, 'y'::char(3) AS c, 'z'::name AS d",
    "SELECT '\\x00ff'::bytea AS a",
    "SELECT date '2026-01-31' AS a, date '0001-01-01' AS b",
    "SELECT timestamp '2026-01-31 12:34:56.789012' AS a, timestamptz '2026-01-31 12:34:56+00' AS b",
    "SELECT time '12:34:56.789012' AS a",
    "SELECT '{1,2,NULL}'::int4[] AS a, '{}'::text[] AS b, NULL::int8[] AS c",
    "SELECT '{\"a\": 1}'::jsonb AS a, '{\"a\":1}'::json AS b",
    "SELECT g AS a, g::text AS b FROM generate_series(1, 100000) AS g",
    "SELECT * FROM generate_series(1, 0) AS g",
    "SELECT interval '1 mon 2 days 00:00:03.5' AS a",
    "SELECT ROW(1, 2)::pair AS a",
    "SELECT '5d7c0b1e-6d0f-4a3e-9c8f-2f3a4b5c6d7e'::uuid AS a",
]

#: Statements whose values differ: ours, theirs, and why.
DIFFERENT: list[tuple[str, Any, Any, str]] = [
    (
        "SELECT 12.50::numeric(10,2) AS a",
        decimal.Decimal("12.50"),
        "12.50",
        "a numeric with a declared precision is a decimal; theirs is always its text",
    ),
    (
        "SELECT 'ok'::mood AS a",
        "ok",
        "ok",
        "the same text; ours is a dictionary, made from the enum's labels",
    ),
    (
        "SELECT '10.0.0.1'::inet AS a",
        "10.0.0.1",
        None,
        "an address is the text that PostgreSQL prints; theirs is the binary form of the wire",
    ),
    (
        "SELECT 'a b'::tsvector AS a",
        "'a' 'b'",
        None,
        "a type that is not decoded is the server's text; theirs is the binary form of the wire",
    ),
    (
        "SELECT '12.50'::money AS a",
        decimal.Decimal("12.50"),
        None,
        "money is a decimal with the digits of lc_monetary; theirs is a number of cents",
    ),
    (
        "SELECT '[1,5)'::int4range AS a",
        {"lower": 1, "upper": 5, "lower_inclusive": True, "upper_inclusive": False, "empty": False},
        None,
        "a range is a struct; theirs is the binary form of the wire",
    ),
    (
        "SELECT timetz '12:00:00+02' AS a",
        {"time": datetime.time(12, 0), "offset": 7200},
        None,
        "a time with its offset is a struct; theirs is the binary form of the wire",
    ),
]


@pytest.fixture(scope="module")
def pair(dsn: str, psql: Psql) -> Iterator[tuple[Any, Any]]:
    theirs = pytest.importorskip("adbc_driver_postgresql.dbapi")
    psql("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    psql("CREATE TYPE pair AS (a int, b int)")
    with connect(dsn, autocommit=True) as ours, theirs.connect(uri(dsn), autocommit=True) as other:
        yield ours, other


def fetched(connection: Any, sql: str, parameters: Any = None) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters=parameters)
        table = cursor.fetch_arrow_table()
        assert isinstance(table, pa.Table)
        return table


@pytest.mark.parametrize("sql", SAME)
def test_the_same_values_as_theirs(pair: tuple[Any, Any], sql: str) -> None:
    ours, theirs = (fetched(connection, sql) for connection in pair)
    assert ours.column_names == theirs.column_names
    # NaN is no equal of itself.
    assert repr(ours.to_pydict()) == repr(theirs.to_pydict())


@pytest.mark.parametrize("sql, ours, theirs, why", DIFFERENT)
def test_what_differs_from_theirs(pair: tuple[Any, Any], sql: str, ours: Any, theirs: Any, why: str) -> None:
    mine, other = (fetched(connection, sql).column(0) for connection in pair)
    assert mine[0].as_py() == ours, why
    # Otherwise the reason is out of date.
    assert theirs is None or other[0].as_py() == theirs, why
    assert not mine.type.equals(other.type), why


def test_the_same_tables_after_ingestion(pair: tuple[Any, Any], psql: Psql) -> None:
    table = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int64()),
            "s": ["a", "é", None],
            "d": pa.array([datetime.date(2026, 1, 31), None, None], pa.date32()),
            "t": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
            "b": [b"\x00", None, b"\xff"],
            "f": [1.5, float("inf"), None],
            "l": [[1, 2], [], None],
        }
    )
    for connection, name in zip(pair, ("ours", "theirs"), strict=True):
        with connection.cursor() as cursor:
            assert cursor.adbc_ingest(name, table, mode="create") == 3
    assert psql("SELECT * FROM ours EXCEPT SELECT * FROM theirs") == []
    assert psql("SELECT * FROM theirs EXCEPT SELECT * FROM ours") == []
    types = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = '{}'::regclass AND attnum > 0"
    assert psql(types.format("ours")) == psql(types.format("theirs"))


def test_the_same_errors(pair: tuple[Any, Any]) -> None:
    for sql in ("SELEC 1", "SELECT * FROM nowhere", "SELECT 1 / 0", "SELECT 'x'::int"):
        states = []
        for connection in pair:
            with connection.cursor() as cursor, pytest.raises(dbapi.Error) as caught:
                cursor.execute(sql)
                cursor.fetchall()
            states.append(caught.value.sqlstate)
        # Theirs says nothing about errors that come while rows are read.
        assert states[0] is not None and states[1] in (states[0], None), sql


def test_the_same_bound_values(pair: tuple[Any, Any]) -> None:
    for sql, parameters in [
        ("SELECT $1::int8 + 1 AS a", (41,)),
        ("SELECT $1::text || 'x' AS a", ("é",)),
        ("SELECT $1::float8 AS a, $2::bool AS b", (1.5, True)),
        ("SELECT $1::date AS a", (datetime.date(2026, 1, 31),)),
        ("SELECT $1::bytea AS a", (b"\x00\xff",)),
    ]:
        ours, theirs = (fetched(connection, sql, parameters) for connection in pair)
        assert ours.to_pydict() == theirs.to_pydict(), sql
