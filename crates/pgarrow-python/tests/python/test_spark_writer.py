"""Spark's writer without Spark's JVM: rights, names, roles, partitions, crashes, by a real server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from _dist_support import execute, need, rows

need("pyspark", "pyarrow", "psycopg")

import pgarrow_engine as pg
import psycopg
import pyarrow as pa
from pgarrow_engine._dist_access import Access
from pgarrow_engine._dist_hidden import dropped_leftovers, found_leftovers
from pgarrow_engine._dist_writer import Loaded, Writer, prepared
from pyspark.sql import types as spark


def struct(*names: str) -> spark.StructType:
    return spark.StructType([spark.StructField(name, spark.LongType()) for name in names])


def batches(n: int, *names: str) -> Iterator[pa.RecordBatch]:
    """Two batches, and one without rows in front."""
    for values in (range(0), range(n // 2), range(n // 2, n)):
        column = pa.array(values, pa.int64())
        yield pa.RecordBatch.from_arrays([column] * len(names), names=list(names))


def writer(
    access: Access,
    table: str,
    *names: str,
    key: str | None = None,
    is_overwriting: bool = False,
    **options: Any,
) -> Writer:
    plan = prepared(access, table, struct(*names), options, key=key, is_overwriting=is_overwriting)
    return Writer(plan)


def test_odd_names_are_names(dsn: str) -> None:
    long = "ä" * 31
    for schema, name in (('S "p"', 'T "x"; --'), ("public", long)):
        quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
        execute(
            dsn,
            'CREATE SCHEMA IF NOT EXISTS "{}"'.format(schema.replace('"', '""')),
            f'CREATE TABLE {quoted} ("A ""b" int8, "ü" int4)',
        )
        written = writer(Access(dsn), quoted, 'A "b', "ü", convert="check")
        written.commit([written.write(batches(10, 'A "b', "ü"))])
        assert rows(dsn, f"SELECT count(*), sum(ü) FROM {quoted}") == Counter([(10, 45)])
        assert found_leftovers(dsn, quoted) == []


def test_a_role_with_just_its_rights_writes_and_nobody_else_reads(dsn: str) -> None:
    execute(
        dsn,
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.target (id int8)",
        "CREATE ROLE spark_writer LOGIN",
        "CREATE ROLE spark_reader",
        "GRANT CREATE, USAGE ON SCHEMA shop TO spark_writer",
        "GRANT INSERT, SELECT ON shop.target TO spark_writer",
        "ALTER DEFAULT PRIVILEGES FOR ROLE spark_writer GRANT SELECT ON TABLES TO PUBLIC, spark_reader",
    )
    try:
        written = writer(Access(dsn, "spark_writer"), "shop.target", "id")
        message = written.write(batches(6, "id"))
        assert message.table is not None
        right = (
            f"SELECT has_table_privilege('spark_reader', {message.oid}, 'SELECT'), relowner::regrole::text"
        )
        assert rows(dsn, f"{right} FROM pg_class WHERE oid = {message.oid}") == Counter(
            [(False, "spark_writer")]
        )
        written.commit([message])
        assert rows(dsn, "SELECT count(*) FROM shop.target") == Counter([(6,)])
        # Another role cannot overwrite, since it may not TRUNCATE.
        over = writer(Access(dsn, "spark_writer"), "shop.target", "id", is_overwriting=True)
        message = over.write(batches(2, "id"))
        with pytest.raises(pg.ServerError) as refused:
            over.commit([message])
        assert refused.value.sqlstate == "42501"
        over.abort([message])
        assert rows(dsn, "SELECT count(*) FROM shop.target") == Counter([(6,)])
        assert found_leftovers(dsn, "shop.target") == []
    finally:
        execute(dsn, "DROP OWNED BY spark_writer CASCADE", "DROP ROLE spark_writer", "DROP ROLE spark_reader")


def test_marks_that_others_made_are_not_trusted(dsn: str) -> None:
    execute(
        dsn,
        "CREATE SCHEMA open",
        "CREATE TABLE open.target (id int8)",
        "CREATE TABLE open.pgarrow_load_marks (load text PRIMARY KEY, target text NOT NULL, rows int8 NOT "
        "NULL, "
        "is_complete bool NOT NULL, updated timestamptz NOT NULL DEFAULT now())",
    )
    with pytest.raises(pg.OptionsError, match="not trusted"):
        writer(Access(dsn), "open.target", "id")


def test_partitioned_tables_and_identities_are_written(dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE parted (id int8 GENERATED ALWAYS AS IDENTITY, k int8, twice int8 GENERATED ALWAYS AS "
        "(1) STORED) "
        "PARTITION BY RANGE (k)",
        "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (5)",
        "CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (5) TO (100)",
    )
    written = writer(Access(dsn), "parted", "id", "k")
    written.commit([written.write(batches(10, "id", "k")), Loaded(None, 0, 0)])
    assert rows(dsn, "SELECT count(*), min(id), sum(twice) FROM parted_high") == Counter([(5, 5, 5)])
    with pytest.raises(pg.OptionsError, match="'twice'.*generated"):
        writer(Access(dsn), "parted", "k", "twice")


def test_a_replaced_target_is_noticed(dsn: str) -> None:
    execute(dsn, "CREATE TABLE replaced (id int8)")
    written = writer(Access(dsn), "replaced", "id")
    message = written.write(batches(4, "id"))
    execute(dsn, "ALTER TABLE replaced RENAME TO old", "CREATE TABLE replaced (id int8)")
    with pytest.raises(pg.StateError, match="was replaced"):
        written.commit([message])
    assert rows(dsn, "SELECT id FROM replaced").total() == 0
    written.abort([message])


def test_an_input_that_fails_leaves_nothing(dsn: str) -> None:
    execute(dsn, "CREATE TABLE failing (id int8)")

    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(4, "id")
        raise RuntimeError("upstream")

    written = writer(Access(dsn), "failing", "id")
    with pytest.raises(pg.Error, match="upstream"):
        written.write(broken())
    assert found_leftovers(dsn, "failing") == []
    with pytest.raises(pg.StateError, match="a task has failed"):
        written.commit([None])


def test_a_table_in_use_is_left_and_found_later(dsn: str) -> None:
    execute(dsn, "CREATE TABLE busy (id int8)")
    written = writer(Access(dsn), "busy", "id", key="busy")
    message = written.write(batches(4, "id"))
    with psycopg.connect(dsn) as other:
        other.execute(f"SELECT * FROM {message.table}")
        written.abort([message])
        assert [leftover.oid for leftover in found_leftovers(dsn, "busy")] == [message.oid]
    assert [leftover.oid for leftover in dropped_leftovers(dsn, "busy", 0)] == [message.oid]


def test_views_and_temporary_tables_are_refused(dsn: str) -> None:
    execute(dsn, "CREATE VIEW seen AS SELECT 1::int8 AS id")
    for table in ("seen", "pg_catalog.pg_stat_activity"):
        with pytest.raises(pg.OptionsError, match="not a table"):
            writer(Access(dsn), table, "id")
    with pytest.raises(pg.OptionsError, match="no such table"):
        writer(Access(dsn), "nowhere", "id")
