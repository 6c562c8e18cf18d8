"""Exports, loads, plans, transactions and jobs."""

from __future__ import annotations

import glob
import itertools
import json
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import nanoarrow
import pandas
import pgarrow_engine as pg
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import Psql, eventually

ROWS = 30_000


@pytest.fixture(scope="module", autouse=True)
def tables(psql: Psql) -> None:
    psql(
        f"""CREATE TABLE orders AS SELECT i::bigint AS id, (i * 1.25)::numeric(12,2) AS total,
            CASE WHEN i % 3 <> 0 THEN 'note ' || i END AS note, repeat(md5(i::text), 5) AS body
            FROM generate_series(1, {ROWS}) i;
        ALTER TABLE orders ADD PRIMARY KEY (id);
        CREATE SCHEMA sales; CREATE TABLE sales.a AS SELECT 1 AS x; CREATE TABLE sales.b AS SELECT 'y' AS y;
        ANALYZE"""
    )


@pytest.fixture
def target(psql: Psql) -> Iterator[str]:
    """A table that nobody else uses."""
    psql("CREATE TABLE target (id bigint PRIMARY KEY, note text)")
    yield "target"
    psql("DROP TABLE IF EXISTS target")


def frame(rows: int = 100) -> pa.Table:
    return pa.table({"id": list(range(1, rows + 1)), "note": [f"n{i}" for i in range(rows)]})


# Exports


def test_an_export_and_its_report(db: pg.Connection, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "orders.parquet"
    samples: list[dict[str, Any]] = []
    report = db.export(table="orders", to=path, readers=2, memory="256M", progress=samples.append)
    assert report.rows == report["rows"] == ROWS and report.status == "complete"
    assert report.files[0]["rows"] == ROWS and os.path.getsize(path) == report.files[0]["bytes"]
    assert "rows=30000" in repr(report) and isinstance(report, dict)
    with pytest.raises(AttributeError, match="the report has no field 'row'; it has"):
        print(report.row)
    assert samples[-1]["event"] == "progress" and samples[-1]["is_last"] and samples[-1]["rows"] == ROWS
    table = pyarrow.parquet.read_table(path)
    assert table.num_rows == ROWS
    sums = duckdb.sql(f"SELECT count(*), sum(id), count(note) FROM '{path}'").fetchall()
    assert sums == [(ROWS, ROWS * (ROWS + 1) // 2, ROWS - ROWS // 3)]
    with pytest.raises(
        pg.OutputError, match=r"exists; choose another name or allow overwriting \(overwrite\)"
    ):
        db.export(table="orders", to=path)
    assert db.export(table="orders", to=path, overwrite=True, limit=5).rows == 5


def test_folders_partitions_formats_and_several_tables(db: pg.Connection, tmp_path: pathlib.Path) -> None:
    report = db.export(
        query="SELECT *, id % 3 AS part FROM orders",
        to=f"{tmp_path}/parts/",
        partition_by=["part"],
        compression="zstd:3",
        row_group_rows=1000,
        parquet_column={"body": "dictionary=false"},
    )
    assert len({os.path.dirname(file["path"]) for file in report.files}) == 3
    report = db.export(schema="sales", to=f"{tmp_path}/sales/", exclude_table="sales.b", format="ipc")
    assert [os.path.basename(file["path"]) for file in report.files] == ["sales.a.arrow"]
    report = db.export(table=["sales.a", "orders"], to=f"{tmp_path}/both/", verify=True, keep_going=None)
    assert len(report.files) == 2 and report.verified["tables"] == 2
    report = db.export(
        table="orders", to=f"{tmp_path}/o.arrows", columns=["id"], where="id <= $1", params=[7]
    )
    assert pa.ipc.open_stream(f"{tmp_path}/o.arrows").read_all()["id"].to_pylist() == list(range(1, 8))
    assert db.export(table="orders", format="none").rows == ROWS


def test_an_export_that_fails_leaves_nothing(db: pg.Connection, psql: Psql, tmp_path: pathlib.Path) -> None:
    psql(
        "CREATE TABLE IF NOT EXISTS badly AS SELECT i, "
        "CASE i WHEN 5000 THEN 'infinity'::date ELSE 'epoch' END AS d FROM generate_series(1, 5000) i"
    )
    with pytest.raises(pg.ValueRefused) as refused:
        db.export(table="badly", to=tmp_path / "bad.parquet", report=tmp_path / "report.json")
    assert refused.value.column == "d"
    assert sorted(os.listdir(tmp_path)) == ["report.json"]
    failed = json.loads((tmp_path / "report.json").read_text())
    assert failed["status"] == "failed" and failed["error"]["kind"] == "value"
    report = db.export(table="badly", to=tmp_path / "b.parquet", reject=tmp_path / "rows.arrow")
    assert report.rows == 4999 and report.rows_rejected == 1
    assert pa.ipc.open_file(tmp_path / "rows.arrow").read_all().num_rows == 1


def test_what_raises_in_a_callback_ends_the_export(db: pg.Connection, tmp_path: pathlib.Path) -> None:
    def fails(sample: object) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        db.export(
            query="SELECT i, pg_sleep(30) FROM generate_series(1, 2) i",
            to=tmp_path / "x.parquet",
            progress=fails,
        )
    assert os.listdir(tmp_path) == []


def test_an_export_into_another_database(db: pg.Connection, server: str, psql: Psql) -> None:
    report = db.export(
        table="orders",
        format="postgres",
        target=db._native.conninfo,
        into="copied",
        mode="create",
        key=["id"],
    )
    assert report.load["rows"] == ROWS
    assert psql("SELECT count(*), sum(id) FROM copied") == psql("SELECT count(*), sum(id) FROM orders")
    psql("DROP TABLE copied")


# Loads


FRAMES: dict[str, Callable[[], Any]] = {
    "pyarrow table": frame,
    "pyarrow batch": lambda: frame().to_batches()[0],
    "pyarrow reader": lambda: frame().to_reader(max_chunksize=7),
    "polars": lambda: polars.DataFrame(frame()),
    "pandas": lambda: pandas.DataFrame({"id": range(1, 101), "note": [f"n{i}" for i in range(100)]}),
    "duckdb": lambda: duckdb.sql("SELECT i AS id, 'n' || (i - 1) AS note FROM range(1, 101) t(i)"),
    "nanoarrow": lambda: nanoarrow.ArrayStream(frame()),
}


@pytest.mark.parametrize("name", FRAMES)
def test_whatever_has_batches_can_be_loaded(name: str, db: pg.Connection, target: str, psql: Psql) -> None:
    report = pg.load(FRAMES[name](), into=target, target=db)
    assert report.rows == 100 and report.target == "public.target"
    assert psql("SELECT count(*), sum(id), min(note), max(id) FROM target") == [(100, 5050, "n0", 100)]


def test_a_stream_can_be_loaded(db: pg.Connection, psql: Psql) -> None:
    report = pg.load(db.read(table="orders", readers=2), into="copy_of_orders", target=db, mode="create")
    assert report.rows == ROWS
    same = (
        "SELECT count(*), sum(id), sum(total), md5(string_agg(coalesce(note, '-'), ',' ORDER BY id)) FROM {}"
    )
    assert psql(same.format("copy_of_orders")) == psql(same.format("orders"))
    # Types came along.
    assert psql(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'copy_of_orders'::regclass AND attname = 'total'"
    ) == [("numeric(12,2)",)]


def test_files_can_be_loaded(db: pg.Connection, target: str, psql: Psql, tmp_path: pathlib.Path) -> None:
    for index in range(3):
        part = frame(30).slice(index * 10, 10)
        pyarrow.parquet.write_table(part, tmp_path / f"-part-{index}.parquet")
    files = sorted(glob.glob(f"{tmp_path}/*.parquet"))
    assert pg.load(files, into=target, target=db).rows == 30
    psql("TRUNCATE target")
    assert pg.load(tmp_path, into=target, target=db, progress=lambda sample: None).rows == 30
    with pytest.raises(pg.InputError):
        pg.load(tmp_path / "nothing.parquet", into=target, target=db)


def test_data_that_fail_in_the_middle_load_nothing(db: pg.Connection, target: str, psql: Psql) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from frame(50).to_batches()
        raise RuntimeError("the canary of a source")

    reader = pa.RecordBatchReader.from_batches(frame().schema, batches())
    with pytest.raises(pg.InputError, match="the canary of a source"):
        pg.load(reader, into=target, target=db)
    assert psql("SELECT count(*) FROM target") == [(0,)]

    # The server refuses: the producer is not asked for ever.
    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            yield from frame(5).to_batches()

    with pytest.raises(pg.ServerError) as refused:
        pg.load(pa.RecordBatchReader.from_batches(frame().schema, endless()), into=target, target=db)
    assert refused.value.sqlstate == "23505"
    assert psql("SELECT count(*) FROM target") == [(0,)]


def test_what_raises_in_a_callback_ends_a_load(db: pg.Connection, target: str, psql: Psql) -> None:
    """The rows that were sent by then are not all of the data, and none of them stays."""

    def endless() -> Iterator[pa.RecordBatch]:
        for i in itertools.count():
            yield pa.record_batch({"id": pa.array([i], pa.int64()), "note": ["sent"]})

    def fails(sample: dict[str, Any]) -> None:
        if sample["rows"] > 0:
            raise LookupError("enough")

    data = pa.RecordBatchReader.from_batches(next(endless()).schema, endless())
    with pytest.raises(LookupError, match="enough"):
        pg.load(data, into=target, target=db, progress=fails)
    assert psql("SELECT count(*) FROM target") == [(0,)]


def test_modes_keys_and_restarts(db: pg.Connection, target: str, psql: Psql, tmp_path: pathlib.Path) -> None:
    assert pg.load(frame(10), into=target, target=db, restart_key="monday").rows == 10
    again = pg.load(frame(10), into=target, target=db, restart_key="monday")
    assert again.rows_sent == 0 and psql("SELECT count(*) FROM target") == [(10,)]
    newer = pa.table({"id": [1, 11], "note": ["new", "eleven"]})
    pg.load(newer, into=target, target=db, mode="upsert")
    assert psql("SELECT count(*), (SELECT note FROM target WHERE id = 1) FROM target") == [(11, "new")]
    bad = pa.table({"id": [1, 20], "note": ["twice", "twenty"]})
    report = pg.load(bad, into=target, target=db, reject=tmp_path / "rejected.arrow")
    assert (report.rows_sent, report.rows_rejected) == (1, 1)
    rejected = pa.ipc.open_file(tmp_path / "rejected.arrow").read_all()
    assert rejected["pgarrow_sqlstate"].to_pylist() == ["23505"]


@pytest.mark.parametrize(
    ("data", "arguments", "error", "text"),
    [
        (5, {}, TypeError, "data of the type int cannot be loaded"),
        (b"x", {}, TypeError, "data of the type bytes"),
        (frame(), {"into": None}, pg.OptionsError, "into"),
        (frame(), {"mode": "appendd"}, pg.OptionsError, "invalid value 'appendd' for mode"),
        (frame(), {"modus": "append"}, TypeError, "did you mean 'mode'"),
        (frame(), {"target": 5}, TypeError, "target: write a connection"),
        (frame(), {"commit_every": 10}, pg.OptionsError, "commit_every needs a restart_key"),
        (pa.table({"other": [1]}), {}, pg.OptionsError, "other"),
        (pa.table({"id": ["a"]}), {}, pg.OptionsError, "id"),
        (frame(), {"into": "nothing_there"}, pg.OptionsError, 'mode="create" makes it'),
    ],
)
def test_loads_that_are_refused(
    data: Any, arguments: dict[str, Any], error: type[Exception], text: str, db: pg.Connection, target: str
) -> None:
    with pytest.raises(error, match=text) as refused:
        pg.load(data, **({"into": target, "target": db} | arguments))
    assert "--" not in str(refused.value)


# Transactions


def test_a_load_in_a_transaction(db: pg.Connection, target: str, psql: Psql) -> None:
    with db.transaction() as transaction:
        transaction.execute("INSERT INTO target VALUES (1000, 'mine')")
        assert pg.load(frame(10), into=target, target=transaction).rows == 10
        assert transaction.query_text("SELECT count(*), $1::int + 1, NULL FROM target", [5]) == [
            ("11", "6", None)
        ]
        assert psql("SELECT count(*) FROM target") == [(0,)]
        with pytest.raises(pg.ServerError) as refused:
            pg.load(frame(5), into=target, target=transaction)
        assert refused.value.sqlstate == "23505"
        # The transaction goes on.
        assert transaction.query_text("SELECT count(*) FROM target") == [("11",)]
    assert psql("SELECT count(*) FROM target") == [(11,)]
    for use in (
        transaction.commit,
        lambda: transaction.execute("SELECT 1"),
        lambda: pg.load(frame(), into=target, target=transaction),
    ):
        with pytest.raises(pg.StateError, match="the transaction is over"):
            use()
    transaction.rollback()


def test_a_block_that_fails_takes_back(db: pg.Connection, target: str, psql: Psql) -> None:
    with pytest.raises(KeyError, match="mine"):
        with db.transaction() as transaction:
            pg.load(frame(10), into=target, target=transaction)
            raise KeyError("mine")
    assert psql("SELECT count(*) FROM target") == [(0,)]
    with pytest.raises(pg.ServerError) as refused:
        with db.transaction() as transaction:
            transaction.execute(
                "ALTER TABLE target ADD CONSTRAINT later UNIQUE (note) DEFERRABLE INITIALLY DEFERRED"
            )
            pg.load(pa.table({"id": [1, 2], "note": ["a", "a"]}), into=target, target=transaction)
    assert refused.value.sqlstate == "23505" and psql("SELECT count(*) FROM target") == [(0,)]


def test_a_killed_session(db: pg.Connection, psql: Psql) -> None:
    transaction = db.transaction()
    ((pid,),) = transaction.query_text("SELECT pg_backend_pid()")
    psql("SELECT pg_terminate_backend(%s)", int(pid or 0))
    with pytest.raises((pg.ServerError, pg.ConnectionError)):
        transaction.execute("SELECT 1")
    with pytest.raises(pg.Error):
        transaction.commit()


# Plans


def test_slices_of_one_moment(db: pg.Connection, dsn: str, psql: Psql) -> None:
    with db.plan(table="orders", slice_bytes="512K", readers=3, numeric="text") as plan:
        assert (
            len(plan.tokens) > 4
            and plan.subject == "public.orders"
            and ROWS / 2 < (plan.estimated_rows or 0) < ROWS * 2
        )
        assert all(isinstance(token, bytes) for token in plan.tokens) and plan.estimated_bytes > 0
        psql("UPDATE orders SET total = 0 WHERE id % 2 = 0; DELETE FROM orders WHERE id = 1")
        tables = [
            pa.table(pg.read_token(db if index else dsn, token)) for index, token in enumerate(plan.tokens)
        ]
        ids = sorted(id for table in tables for id in table["id"].to_pylist())
        assert ids == list(range(1, ROWS + 1))
        # What types become is part of the tokens.
        assert {table.schema.field("total").type for table in tables} == {pa.string()}
        assert pa.schema(plan.schema) == tables[0].schema
        assert plan.query_text("SELECT count(*) FROM orders WHERE total = 0") == [("0",)]
        plan.check()
        with pytest.raises(TypeError, match="unexpected keyword argument 'numeric'"):
            pg.read_token(db, plan.tokens[0], numeric="float64")  # type: ignore[call-arg]
        report = db.export(slice=plan.tokens[0], format="none")
        assert report.rows == tables[0].num_rows
    with pytest.raises(pg.StateError, match="the plan was released"):
        plan.check()
    with pytest.raises(pg.ServerError) as gone:
        pg.read_token(db, plan.tokens[0])
    # PostgreSQL 18 has a code of its own for it.
    assert gone.value.sqlstate in ("22023", "42704")
    plan.release()
    psql("INSERT INTO orders SELECT 1, 1.25, 'note 1', repeat(md5('1'), 5)")


def test_a_plan_is_released_while_a_thread_asks_it(
    db: pg.Connection, psql: Psql, backends: Callable[[], int]
) -> None:
    before = backends()
    said: list[str] = []

    def ask(plan: pg.Plan) -> None:
        try:
            plan.query_text("SELECT pg_sleep(60)")
        except pg.Error as error:
            said.append(f"{error.kind}: {error}")

    with db.plan(table="orders") as plan:
        thread = threading.Thread(target=ask, args=(plan,))
        thread.start()
        sleeping = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event = 'PgSleep'"""
        eventually(lambda: int(psql(sleeping)[0][0]) > 0)
    thread.join(20)
    assert said == ["cancelled: cancelled by the release of its plan"]
    eventually(lambda: backends() <= before)
    with pytest.raises(pg.StateError, match="the plan was released"):
        plan.check()


def test_a_session_ends_with_its_transaction(db: pg.Connection, backends: Callable[[], int]) -> None:
    before = backends()
    with db.transaction() as transaction:
        with pytest.raises(TypeError, match="sql: write a text"):
            transaction.query_text(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="params: write a list"):
            transaction.query_text("SELECT $1", "abc")
    other = db.transaction()
    other.rollback()
    eventually(lambda: backends() <= before)
    for over in (transaction, other):
        with pytest.raises(pg.StateError, match="the transaction is over"):
            over.execute("SELECT 1")


def test_a_plan_lets_go_in_time(db: pg.Connection, backends: Callable[[], int]) -> None:
    before = backends()
    plan = db.plan(table="orders", hold_for=1)
    eventually(lambda: backends() <= max(before, 1))
    eventually(lambda: is_over(plan))
    with pytest.raises(pg.StateError, match="the plan's time is over"):
        plan.check()
    plan.release()


def is_over(plan: pg.Plan) -> bool:
    try:
        plan.check()
    except pg.StateError:
        return True
    return False


def test_a_killed_holder(db: pg.Connection, psql: Psql) -> None:
    plan = db.plan(table="orders")
    ((pid,),) = plan.query_text("SELECT pg_backend_pid()")
    # Until it has ended: before that, its snapshot may still be there.
    psql("SELECT pg_terminate_backend(%s, 60000)", int(pid or 0))
    with pytest.raises((pg.ConnectionError, pg.ServerError), match="the held snapshot was lost"):
        plan.check()
    with pytest.raises(pg.ServerError):
        pg.read_token(db, plan.tokens[0])


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"{}",
        b"[]",
        b"5",
        b"\xff",
        b'{"slice": {}, "choices": []}',
        b'{"slice": {}, "choices": ["--query=x"]}',
    ],
)
def test_what_is_no_token(token: bytes, db: pg.Connection) -> None:
    with pytest.raises(pg.OptionsError):
        pg.read_token(db, token)


def test_tokens_of_the_wrong_type(db: pg.Connection) -> None:
    with pytest.raises(TypeError, match="token: write bytes, not int"):
        pg.read_token(db, 5)  # type: ignore[arg-type]


# What is known beforehand


def test_inspect_and_describe(db: pg.Connection) -> None:
    inspected = db.inspect(query="SELECT 1::numeric AS n, now() AS t")
    columns = inspected["subjects"][0]["columns"]
    assert [column["name"] for column in columns] == ["n", "t"]
    assert columns[0]["notes"][0]["option"].startswith("numeric=")
    assert len(db.inspect(schema="sales")["subjects"]) == 2
    described = db.describe(table="orders", slice_bytes="1M")
    assert (
        isinstance(described, dict)
        and described["subject"] == "public.orders"
        and len(described["slices"]) > 1
    )
    assert isinstance(db.describe(table=["orders", "sales.a"]), list)


# Jobs


def test_jobs_and_their_verification(db: pg.Connection, dsn: str, psql: Psql, tmp_path: pathlib.Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text(
        f"""[source]
connection = {json.dumps(dsn)}
tables = ["sales.*"]
[destination]
path = "out"
"""
    )
    report = pg.run(job, progress=lambda sample: None)
    assert report.status == "complete" and len(report.manifest["tables"]) == 2
    place = tmp_path / "out"
    verified = pg.verify(place)
    assert verified["differences"] == []
    verified = pg.verify(place, db, full=True)
    assert verified["server"]["differences"] == []
    psql("UPDATE sales.a SET x = 2")
    assert pg.verify(place, dsn)["server"]["differences"] != []
    psql("UPDATE sales.a SET x = 1")
    with pytest.raises(pg.OptionsError):
        pg.run(tmp_path / "nothing.toml")


# Every option of the command

#: Options of the command that are no keywords, and why.
NOT_THERE: dict[str, dict[str, str]] = {
    "export": {
        "to": "is `to`, of `--output`",
        "quiet": "nothing is printed",
        "progress": "is a callback here",
        "dry_run": "is `inspect` and `describe`",
        "params": "is there, with values in place of texts",
        "connect_timeout": "is for `connect`",
        "log_format": "nothing is printed",
    },
    "load": {
        "quiet": "nothing is printed",
        "progress": "is a callback here",
        "dry_run": "prints a table; see the book",
        "log_format": "nothing is printed",
    },
    "inspect": {"json": "always", "params": "", "connect_timeout": "is for `connect`", "log_format": ""},
    "plan": {"json": "always", "all": "always", "params": "", "connect_timeout": "", "log_format": ""},
    "hold": {
        "tokens": "an attribute",
        "overwrite": "there is no file",
        "quiet": "nothing is printed",
        "until_eof": "`release` ends it",
        "params": "",
        "connect_timeout": "is for `connect`",
        "schema": "tokens are of one table or query",
        "exclude_table": "tokens are of one table or query",
        "limit": "what has a limit has no slices",
        "log_format": "",
    },
    "run": {"quiet": "nothing is printed", "progress": "is a callback here", "log_format": ""},
    "verify": {"json": "always", "log_format": "", "set": "comparisons read as the server is set"},
}


def test_every_option_of_the_command_is_a_keyword() -> None:
    import inspect

    from pgarrow_engine import _native, _options

    def keywords(call: Callable[..., object], *more: type) -> set[str]:
        names = set(inspect.signature(call).parameters)
        for one in more:
            for base in (one, *one.__mro__, *getattr(one, "__orig_bases__", ())):
                names |= set(getattr(base, "__annotations__", {}))
        return names

    offered = {
        "export": keywords(pg.Connection.export, _options.ExportOptions),
        "load": keywords(pg.load, _options.LoadOptions),
        "inspect": keywords(pg.Connection.inspect, _options.PlanOptions),
        "plan": keywords(pg.Connection.describe, _options.PlanOptions),
        "hold": keywords(pg.Connection.plan, _options.PlanOptions),
        "verify": keywords(pg.verify),
    }
    for command, names in offered.items():
        missing = set(_native.options_of(command)) - names - set(NOT_THERE[command])
        assert not missing, (command, sorted(missing))
    for name, kind in _options.KINDS.items():
        assert kind is None or callable(kind), name
