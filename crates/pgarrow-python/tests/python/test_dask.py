"""Dask, by worker processes of its own."""

from __future__ import annotations

import gc
import os
import pickle
from collections import Counter
from collections.abc import Iterator

import pytest
from _dist_support import ORDERS, changing, environment, execute, exported, need, plain, rows, run_page
from conftest import eventually

need("dask", "distributed", "pandas", "pyarrow", "psycopg")

import pandas as pd
import pgarrow_engine as pg
import pgarrow_engine.dask
from distributed import Client, LocalCluster


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[Client]:
    """Two worker processes."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def steady(dsn: str) -> str:
    execute(
        dsn,
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE steady AS SELECT g::int8 AS id, repeat('ä', g % 50) AS note, (g / "
        "8.0)::numeric(12,2) AS price, "
        "nullif(g % 7, 0)::int4 AS few, md5(g::text)::uuid AS key, 'happy'::mood AS mood, "
        "jsonb_build_object('g', g) AS doc FROM generate_series(1, 20000) g",
    )
    return "steady"


COMPARED = "id, note, price, few, key::text, mood::text, doc::text"


def counted(frame: pd.DataFrame) -> Counter[tuple[object, ...]]:
    values = frame.astype(object).where(frame.notna(), None)
    return Counter(plain(row) for row in values.itertuples(index=False, name=None))


def test_workers_read_one_moment_while_others_write(dsn: str, steady: str) -> None:
    execute(dsn, f"CREATE TABLE changed AS TABLE {steady}")
    with changing(dsn, "changed"), pgarrow_engine.dask.hold(dsn, table="changed", slice_bytes="128K") as held:
        expected = rows(dsn, f"SELECT {COMPARED} FROM changed", snapshot=exported(held.tokens[0]))
        frame = held.read()
        assert frame.npartitions == len(held.tokens) > 3
        assert counted(frame.compute()) == expected
        assert len(frame) == expected.total()
        pids = set(frame.map_partitions(pid_of, meta=("pid", "int64")).compute())
        assert os.getpid() not in pids and len(pids) == 2


def pid_of(part: pd.DataFrame) -> pd.Series[int]:
    return pd.Series([os.getpid()])


def test_types_are_arrows_and_columns_are_chosen(dsn: str, steady: str) -> None:
    with pgarrow_engine.dask.hold(dsn, table=steady) as held:
        frame = held.read()
        types = {str(name): str(of) for name, of in frame.dtypes.items()}
        assert types["few"] == "int32[pyarrow]"
        assert types["price"] == "decimal128(12, 2)[pyarrow]"
        assert frame["few"].sum().compute() == rows(dsn, f"SELECT sum(few) FROM {steady}").popitem()[0][0]
        assert list(frame[["key", "id"]].compute().columns) == ["key", "id"]


def holders(dsn: str) -> int:
    return rows(
        dsn,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL "
        "AND pid <> pg_backend_pid() AND state = 'idle in transaction'",
    ).total()


def test_a_frame_owns_its_snapshot(dsn: str, steady: str) -> None:
    total = pgarrow_engine.dask.read(dsn, table=steady, columns=["id"])["id"].sum()
    assert holders(dsn) == 1
    assert total.compute() == 20000 * 20001 // 2
    del total
    # Threads of the package may have it for a moment, and the server closes a session after the client has.
    eventually(lambda: gc.collect() >= 0 and holders(dsn) == 0)


def test_an_empty_table_has_columns(dsn: str) -> None:
    execute(dsn, "CREATE TABLE nothing (id int8, note text)")
    frame = pgarrow_engine.dask.read(dsn, table="nothing").compute()
    assert len(frame) == 0 and list(frame.columns) == ["id", "note"]


def test_the_page_runs_as_it_is_written(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(dsn, *ORDERS)
    for name, value in environment(dsn).items():
        monkeypatch.setenv(name, value)
    printed = run_page("ray-dask.md", where="pgarrow_engine.dask")
    assert "20000" in printed and "placed" in printed


def test_a_snapshot_that_is_gone_is_a_clear_error(dsn: str, steady: str) -> None:
    with pgarrow_engine.dask.hold(dsn, table=steady) as held:
        frame = held.read()
        with pytest.raises(pg.StateError, match="tokens can be sent"):
            pickle.dumps(held)
    with pytest.raises(Exception, match="snapshot of this read is gone"):
        frame.compute()
    with pytest.raises(TypeError, match="tabel"):
        pgarrow_engine.dask.read(dsn, table=steady, tabel="x")
