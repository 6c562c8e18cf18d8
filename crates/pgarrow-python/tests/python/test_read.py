"""Reads: what comes out, by every reader, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import decimal
import gc
import os
import pickle
import threading
import uuid
import weakref
from collections.abc import Callable
from typing import Any

import arro3.core
import duckdb
import nanoarrow
import pandas
import pgarrow_engine as pg
import polars
import pyarrow as pa
import pytest
from conftest import Psql, eventually

ROWS = 20_000


@pytest.fixture(scope="module", autouse=True)
def tables(psql: Psql) -> None:
    psql(
        f"""CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(12,2), placed date NOT NULL, note text,
            "Odd name" int, tags text[], at timestamptz);
        INSERT INTO orders SELECT i, CASE WHEN i % 7 <> 0 THEN i * 1.25 END, date '2020-01-01' + i % 1000,
            CASE WHEN i % 3 <> 0 THEN 'note ' || i END, i % 5, ARRAY['a', NULL, 'b' || i],
            timestamptz '2024-02-29 12:00+01' + i * interval '1 second'
            FROM generate_series(1, {ROWS}) i;
        CREATE TABLE wide AS SELECT i, repeat(md5(i::text), 20) AS body FROM generate_series(1, 60000) i;
        CREATE TABLE badly (d date, n numeric(5,1));
        INSERT INTO badly VALUES ('2024-01-01', 1), ('infinity', 2), ('2024-01-02', 'NaN');
        ANALYZE"""
    )


def expected(psql: Psql) -> tuple[Any, ...]:
    return psql("SELECT count(*), sum(id), sum(total), count(note) FROM orders")[0]


def of_table(table: pa.Table) -> tuple[Any, ...]:
    total = sum((x for x in table["total"].to_pylist() if x is not None), decimal.Decimal(0))
    return (
        table.num_rows,
        sum(table["id"].to_pylist()),
        total,
        table.num_rows - table["note"].null_count,
    )


READERS: dict[str, Callable[[pg.Stream], pa.Table]] = {
    "pyarrow": pa.table,
    "record batch reader": lambda s: pa.RecordBatchReader.from_stream(s).read_all(),
    "polars": lambda s: polars.DataFrame(s).to_arrow(),
    "pandas": lambda s: (
        pa.table(pandas.DataFrame.from_arrow(s)) if hasattr(pandas.DataFrame, "from_arrow") else pa.table(s)
    ),
    "nanoarrow": lambda s: pa.table(nanoarrow.ArrayStream(s)),
    "arro3": lambda s: pa.table(arro3.core.Table.from_arrow(s)),
    "duckdb": lambda s: pa.table(duckdb.sql("SELECT * FROM s")),
    "batches": lambda s: pa.Table.from_batches([pa.record_batch(batch) for batch in s]),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_sees_the_same(name: str, db: pg.Connection, psql: Psql) -> None:
    stream = db.read(table="orders", columns=["id", "total", "note"], readers=2, batch_rows=3000)
    table = READERS[name](stream)
    assert of_table(table) == expected(psql)
    assert stream.report is not None and stream.report.rows == ROWS


@pytest.mark.parametrize("rows", [1, 2, 3, 1000])
def test_batches_have_the_size_that_was_asked_for(rows: int, db: pg.Connection) -> None:
    stream = db.read(query="SELECT i, md5(i::text) FROM generate_series(1, 1500) i", batch_rows=rows)
    sizes = [batch.num_rows for batch in stream]
    assert sum(sizes) == 1500 and max(sizes) <= rows
    assert stream.report is not None and stream.report.rows == 1500


def test_columns_conditions_and_parameters(db: pg.Connection) -> None:
    columns = ["Odd name", "id"]
    stream = db.read(
        table="orders", columns=columns, where="id BETWEEN $1 AND $2", params=[5, 7], ordered=True
    )
    assert pa.table(stream).to_pydict() == {"Odd name": [0, 1, 2], "id": [5, 6, 7]}
    assert pa.table(db.read(table="orders", limit=10)).num_rows == 10
    assert pa.table(db.read(table="orders", columns=[])).num_columns == 0
    counted = sum(batch.num_rows for batch in db.read(table="orders", columns=[]))
    assert counted == ROWS


@pytest.mark.parametrize(
    ("value", "pg_type"),
    [
        (None, "int"),
        (True, "bool"),
        (-5, "int"),
        (1.5, "float8"),
        (float("nan"), "float8"),
        (decimal.Decimal("-1.230"), "numeric"),
        ("it's \\ text", "text"),
        ("", "text"),
        (b"\x00\xff\\", "bytea"),
        (datetime.date(1999, 12, 31), "date"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=datetime.timezone.utc), "timestamptz"),
        (datetime.time(23, 59, 59, 999999), "time"),
        (datetime.timedelta(days=-1, seconds=5, microseconds=7), "interval"),
        (uuid.UUID(int=7), "uuid"),
        ([1, None, 3], "int[]"),
        (["a", None, 'b"\\,{}', "", "NULL"], "text[]"),
        ([[1, 2], [3, 4]], "int[]"),
    ],
)
def test_values_of_parameters(value: object, pg_type: str, db: pg.Connection, psql: Psql) -> None:
    sql = f"SELECT ($1::{pg_type})::text AS x"
    (found,) = pa.table(db.read(query=sql, params=[value]))["x"].to_pylist()
    ((wanted,),) = psql(f"SELECT (%s::{pg_type})::text", value)
    assert found == wanted


def test_a_value_without_a_form_is_refused(db: pg.Connection) -> None:
    with pytest.raises(TypeError, match="params: a value of the type object"):
        db.read(query="SELECT $1", params=[object()])
    with pytest.raises(TypeError, match="params: write a list"):
        db.read(query="SELECT $1", params="abc")


def test_a_value_that_does_not_fit_is_an_exception_with_its_place(db: pg.Connection) -> None:
    with pytest.raises(pg.ValueRefused) as refused:
        list(db.read(table="badly", columns=["d"]))
    error = refused.value
    assert (error.schema, error.table, error.column, error.row) == ("public", "badly", "d", 2)
    assert error.kind == "value" and any("infinity" in hint for hint in error.hints)
    # Arguments, not flags.
    assert 'infinity="null"' in str(error) and "--" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is pg.ValueRefused and again.hints == error.hints and str(again) == str(error)
    # The hints help.
    table = pa.table(db.read(table="badly", infinity="null", column={"n": "text"}))
    assert table["d"].null_count == 1 and table["n"].to_pylist() == ["1.0", "2.0", "NaN"]
    table = pa.table(db.read(table="badly", column={"d": {"infinity": "null"}, "n": {"nan": "null"}}))
    assert (table["d"].null_count, table["n"].null_count) == (1, 1)


def test_a_stream_is_read_once(db: pg.Connection) -> None:
    stream = db.read(table="orders")
    pa.table(stream)
    for again in (lambda: pa.table(stream), lambda: next(stream), lambda: list(stream)):
        with pytest.raises(pg.StateError, match="read again for another"):
            again()
    ended = db.read(table="orders")
    assert sum(batch.num_rows for batch in ended) == ROWS
    # Behind the end, it stays the end.
    assert list(ended) == []
    with pytest.raises(pg.StateError, match="read to its end"):
        pa.table(ended)


def test_a_schema_that_is_asked_for_changes_no_value(db: pg.Connection) -> None:
    """Casts on the way out would turn what does not fit into NULL."""
    stream = db.read(query="SELECT 300 AS a")
    reader = pa.RecordBatchReader.from_stream(stream)
    assert reader.schema.field("a").type == pa.int32() and reader.read_all()["a"].to_pylist() == [300]
    with pytest.raises((pa.ArrowInvalid, ValueError, TypeError)):
        small = pa.schema([pa.field("a", pa.int8())])
        pa.RecordBatchReader.from_stream(db.read(query="SELECT 300 AS a"), schema=small).read_all().cast(
            small
        )


def test_closing_ends_the_backend(db: pg.Connection, backends: Callable[[], int]) -> None:
    before = backends()
    with db.read(query="SELECT pg_sleep(60), i FROM generate_series(1, 10) i", readers=1) as stream:
        eventually(lambda: backends() > before or before > 0)
    eventually(lambda: backends() <= before)
    with pytest.raises(pg.StateError, match="closed"):
        next(stream)
    # Dropped in the middle, too.
    stream = db.read(table="wide", batch_rows=1)
    next(stream)
    del stream
    gc.collect()
    eventually(lambda: backends() <= before)


def test_cancelling_from_another_thread(db: pg.Connection) -> None:
    stream = db.read(query="SELECT i, pg_sleep(60) FROM generate_series(1, 2) i")
    threading.Timer(0.2, stream.cancel).start()
    with pytest.raises(pg.Cancelled, match=r"a call of cancel\(\)"):
        next(stream)
    given = db.read(query="SELECT i, pg_sleep(60) FROM generate_series(1, 2) i")
    threading.Timer(0.2, given.cancel).start()
    with pytest.raises(Exception, match=r"a call of cancel\(\)"):
        pa.table(given)


def test_a_stream_ends_with_its_connection(dsn: str, backends: Callable[[], int]) -> None:
    db = pg.connect(dsn)
    stream = db.read(table="wide", batch_rows=1)
    next(stream)
    db.close()
    with pytest.raises(pg.Cancelled, match="the close of its connection"):
        for _ in stream:
            pass
    for use in (
        lambda: db.read(table="orders"),
        lambda: db.inspect(table="orders"),
        lambda: db.plan(table="orders"),
        lambda: db.transaction(),
    ):
        with pytest.raises(pg.StateError, match="the connection is closed"):
            use()
    assert db.closed and "closed" in repr(db)
    db.close()
    eventually(lambda: backends() == 0)


def test_a_stream_outlives_a_connection_that_nobody_holds(dsn: str) -> None:
    stream = pg.connect(dsn).read(table="orders", batch_rows=100)
    gc.collect()
    assert sum(batch.num_rows for batch in stream) == ROWS


def test_threads_share_one_stream(db: pg.Connection) -> None:
    stream = db.read(table="orders", columns=["id"], batch_rows=97)
    ids: list[int] = []
    lock = threading.Lock()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            for batch in stream:
                with lock:
                    ids.extend(pa.record_batch(batch)["id"].to_pylist())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors and sorted(ids) == list(range(1, ROWS + 1))


def test_many_streams_share_one_memory(dsn: str) -> None:
    memory = pg.Memory("128M")
    with pg.connect(dsn, memory=memory) as db:
        counts: list[int] = []

        def read() -> None:
            counts.append(pa.table(db.read(table="wide", memory="16M", readers=1)).num_rows)

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert counts == [60_000] * 6
    assert memory.limit == 128 << 20 and 0 < memory.peak <= memory.limit
    eventually(lambda: memory.used == 0)
    with pytest.raises(pg.OptionsError, match="16M"):
        pg.Memory("1M")


def test_asyncio_does_not_block_the_loop(db: pg.Connection) -> None:
    async def count(table: str) -> int:
        stream = await db.aread(table=table, batch_rows=500)
        return sum([batch.num_rows async for batch in stream])

    async def main() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        slow = await db.aread(query="SELECT pg_sleep(0.5)")
        counts = await asyncio.gather(count("orders"), count("wide"), count("orders"))
        async for _ in slow:
            pass
        ticking.cancel()
        return list(counts), ticks

    threads = threading.active_count()
    counts, ticks = asyncio.run(main())
    assert counts == [ROWS, 60_000, ROWS] and ticks > 50
    assert threading.active_count() == threads


def test_a_cancelled_task_ends_the_backend(db: pg.Connection, backends: Callable[[], int]) -> None:
    async def main() -> None:
        stream = await db.aread(query="SELECT pg_sleep(60)")

        async def read() -> None:
            async for _ in stream:
                pass

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(), 0.3)
        stream.close()

    before = backends()
    asyncio.run(main())
    eventually(lambda: backends() <= before)
    with pytest.raises(pg.OptionsError, match="nothing_there"):
        asyncio.run(db.aread(table="nothing_there"))


def test_tasks_share_one_stream(db: pg.Connection) -> None:
    """And threads: whoever waits learns what others got."""
    sql = "SELECT i, pg_sleep(0.1) FROM generate_series(1, 6) i"

    async def main(stream: pg.Stream) -> list[int]:
        async def count() -> int:
            return sum([batch.num_rows async for batch in stream])

        return list(await asyncio.wait_for(asyncio.gather(count(), count(), count()), 20))

    assert sum(asyncio.run(main(db.read(query=sql, batch_rows=1)))) == 6
    stream = db.read(query=sql, batch_rows=1)
    rows: list[int] = []
    thread = threading.Thread(target=lambda: rows.extend(batch.num_rows for batch in stream))
    thread.start()
    counts = asyncio.run(main(stream))
    thread.join(20)
    assert sum(counts) + sum(rows) == 6


def test_a_task_that_waits_learns_of_a_close(db: pg.Connection) -> None:
    async def main() -> None:
        stream = await db.aread(query="SELECT pg_sleep(60)")
        waiting = asyncio.ensure_future(anext(aiter(stream)))
        await asyncio.sleep(0.2)
        stream.close()
        with pytest.raises(pg.StateError, match="the stream is closed"):
            await asyncio.wait_for(waiting, 20)

    asyncio.run(main())


def test_tasks_that_give_up_leave_no_descriptors(db: pg.Connection) -> None:
    async def main() -> int:
        stream = await db.aread(query="SELECT pg_sleep(60)")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(aiter(stream)), 0.002)
        gc.collect()
        more = len(os.listdir("/proc/self/fd")) - before
        stream.close()
        return more

    assert asyncio.run(main()) <= 4


def test_reads_that_are_cancelled_while_they_are_planned(
    db: pg.Connection, backends: Callable[[], int]
) -> None:
    async def main(seconds: float) -> None:
        task = asyncio.create_task(db.aread(table="wide"))
        await asyncio.sleep(seconds)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).close()

    before = backends()
    for n in range(20):
        asyncio.run(main(n * 0.001))
    eventually(lambda: backends() <= before)


def test_progress(db: pg.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    samples: list[dict[str, Any]] = []
    assert pa.table(db.read(table="orders", progress=samples.append, batch_rows=100)).num_rows == ROWS
    for _ in db.read(table="orders", progress=samples.append, batch_rows=100):
        pass
    assert samples and samples[-1]["rows"] == ROWS and samples[-1]["rows_expected"] > 0
    for _ in db.read(table="orders", progress=True):
        pass
    assert "rows" in capsys.readouterr().err
    with pytest.raises(TypeError, match="progress: write True, False or a function"):
        db.read(table="orders", progress=3)  # type: ignore[arg-type]

    # What the callback raises ends the read.
    def fails(sample: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        for _ in db.read(table="orders", progress=fails):
            pass


def test_a_callback_that_has_the_stream_does_not_keep_it(
    db: pg.Connection, backends: Callable[[], int]
) -> None:
    class Reader:
        def __init__(self) -> None:
            self.stream = db.read(query="SELECT pg_sleep(60)", progress=self.show)

        def show(self, sample: object) -> None:
            pass

    before = backends()
    reader = weakref.ref(Reader())
    gc.collect()
    assert reader() is None
    eventually(lambda: backends() <= before)


def test_callbacks_that_read(db: pg.Connection) -> None:
    sql = "SELECT i, pg_sleep(0.15) FROM generate_series(1, 4) i"
    inner: list[int] = []
    others = db.read(
        query=sql, batch_rows=1, progress=lambda _: inner.append(len(list(db.read(query="VALUES (1)"))))
    )
    assert len(list(others)) == 4 and set(inner) == {1}
    same: pg.Stream
    same = db.read(query=sql, batch_rows=1, progress=lambda _: next(same))
    with pytest.raises(pg.StateError, match="this thread is reading the stream already"):
        list(same)
    closed: pg.Stream
    closed = db.read(query=sql, batch_rows=1, progress=lambda _: closed.close())
    with pytest.raises((pg.Cancelled, pg.StateError)):
        list(closed)


def test_what_a_callback_raises_neither_hides_a_failure_nor_loses_a_batch(db: pg.Connection) -> None:
    def fails(sample: object) -> None:
        raise RuntimeError("enough")

    stream = db.read(table="orders", batch_rows=100, progress=fails)
    with pytest.raises(RuntimeError, match="enough"):
        next(stream)
    # A batch is gone, so there are no others.
    with pytest.raises(pg.StateError, match="the stream is closed"):
        next(stream)
    told: list[object] = []

    def fails_later(sample: object) -> None:
        told.append(sample)
        if len(told) > 1:
            raise RuntimeError("enough")

    with pytest.raises(pg.ServerError, match="division by zero"):
        list(db.read(query="SELECT 1 / (2 - i) FROM generate_series(1, 2) i", progress=fails_later))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1e19, 10**400])
def test_what_is_no_time(value: float, db: pg.Connection, dsn: str) -> None:
    for use in (
        lambda: db.read(table="orders", lock_timeout=value),
        lambda: db.plan(table="orders", hold_for=value),
        lambda: pg.connect(dsn, connect_timeout=value),
    ):
        with pytest.raises(pg.OptionsError, match="is no time"):
            use()


def test_what_is_no_text(db: pg.Connection) -> None:
    for arguments in (
        {"table": "\ud800"},
        {"query": "SELECT '\ud800'"},
        {"table": "orders", "columns": ["\ud800"]},
        {"query": "SELECT $1::text", "params": ["\ud800"]},
    ):
        with pytest.raises(pg.OptionsError, match="UTF-8 cannot hold this text"):
            db.read(**arguments)
    with pytest.raises(TypeError, match="to: write a path"):
        db.export(table="orders", to=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tabel": "orders"}, r"unexpected keyword argument 'tabel'"),
        ({"table": "orders", "batchrows": 1}, r"did you mean 'batch_rows'"),
        ({"table": 5}, "table: write a list of texts"),
        ({"table": "orders", "readers": "2"}, "readers: write a whole number, not str"),
        ({"table": "orders", "readers": True}, "readers: write a whole number, not bool"),
        ({"table": "orders", "ordered": 1}, "ordered: write True or False, not int"),
        ({"table": "orders", "columns": "id"}, "columns: write a list of exact names"),
        ({"table": "orders", "columns": [1]}, "columns: write a text, not int"),
        ({"table": "orders", "memory": 1.5}, "memory: write a number of bytes"),
        ({"table": "orders", "set": "work_mem=1"}, "set: write a dict"),
        ({"table": "orders", "column": [1]}, "column: write a dict"),
        ({"table": "orders", "lock_timeout": 0.5}, "lock_timeout: write whole seconds"),
    ],
)
def test_wrong_types_of_arguments(arguments: dict[str, Any], text: str, db: pg.Connection) -> None:
    with pytest.raises(TypeError, match=text):
        db.read(**arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "nothing to export; give table NAME or query SQL"),
        ({"table": "orders", "query": "SELECT 1"}, "give table or a query, not both"),
        ({"table": "nothing_there"}, 'there is no table "nothing_there"'),
        ({"table": "orders", "columns": ["Id"]}, '"Id"'),
        ({"table": "orders", "readers": 0}, "invalid value '0' for readers: write a whole number from 1 on"),
        ({"table": "orders", "numeric": "flot"}, "invalid value 'flot' for numeric"),
        ({"table": "orders", "memory": "1M"}, "it takes at least 16M"),
        ({"table": ["orders", "wide"]}, "batches have one schema"),
        ({"query": "SELECT 1", "columns": ["a"]}, "columns is for"),
        ({"query": "SELECT 1", "where": "true"}, "where is for table"),
        ({"query": "SELECT $1::int"}, r"\$1"),
        ({"query": "DELETE FROM orders"}, "SELECT"),
        ({"table": "orders", "column": {"id": "decimal(5,2)"}}, "id"),
    ],
)
def test_arguments_that_contradict_each_other(
    arguments: dict[str, Any], text: str, db: pg.Connection
) -> None:
    with pytest.raises(pg.OptionsError, match=text) as refused:
        db.read(**arguments)
    assert "--" not in str(refused.value) and isinstance(refused.value, ValueError)


def test_what_cannot_be_pickled_says_so(db: pg.Connection) -> None:
    with db.plan(table="orders") as plan, db.transaction() as transaction:
        for thing in (db, db.read(table="orders"), plan, transaction):
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(thing)
        assert pickle.loads(pickle.dumps(plan.tokens)) == plan.tokens


def test_connections_that_cannot_be(dsn: str) -> None:
    with pytest.raises(pg.ConnectionError) as refused:
        pg.connect("postgresql://nobody@127.0.0.1:1/x?password=canary")
    assert "canary" not in str(refused.value)
    with pytest.raises(pg.ServerError) as missing:
        pg.connect(dsn, connect_timeout=5).read(query="SELECT 1/0 AS a").__next__()
    assert missing.value.sqlstate == "22012"
    with pytest.raises(pg.OptionsError):
        pg.connect("postgresql://h/x?nothing=1")
    with pytest.raises(TypeError, match="conninfo"):
        pg.connect(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pool"):
        pg.connect(dsn, pool=-1)
