"""Ray Data, by worker processes of its own."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from _dist_support import ORDERS, changing, environment, execute, exported, need, plain, rows, run_page
from conftest import eventually

need("ray", "pyarrow", "psycopg")

import pgarrow_engine.ray
import pyarrow as pa
import ray

# Workers have no test modules.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Two worker processes."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    yield
    ray.shutdown()


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


COMPARED = "id, note, price::text, few, key::text, mood::text, doc::text"


def test_workers_read_one_moment_while_others_write(dsn: str, steady: str) -> None:
    execute(dsn, f"CREATE TABLE changed AS TABLE {steady}")
    with changing(dsn, "changed"), pgarrow_engine.ray.hold(dsn, table="changed", slice_bytes="128K") as held:
        expected = rows(dsn, f"SELECT {COMPARED} FROM changed", snapshot=exported(held.tokens[0]))
        assert len(held.tokens) > 3
        dataset = held.read()
        found = [
            plain(
                str(value) if name == "price" and value is not None else value for name, value in row.items()
            )
            for row in dataset.iter_rows()
        ]
        assert sorted(found, key=repr) == sorted(expected.elements(), key=repr)
        pids = {row["pid"] for row in dataset.map_batches(pids_of, batch_format="pyarrow").take_all()}
        assert os.getpid() not in pids
        assert dataset.count() == expected.total()


def pids_of(table: pa.Table) -> pa.Table:
    return pa.table({"pid": [os.getpid()]})


def test_the_schema_needs_no_rows(dsn: str, steady: str) -> None:
    with pgarrow_engine.ray.hold(dsn, table=steady, columns=["key", "few"]) as held:
        schema = held.read().schema()
        assert schema is not None
        assert dict(zip(schema.names, schema.types, strict=True)) == {"key": pa.string(), "few": pa.int32()}


def holders(dsn: str) -> int:
    return rows(
        dsn,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL "
        "AND pid <> pg_backend_pid() AND state = 'idle in transaction'",
    ).total()


def test_a_dataset_owns_its_snapshot(dsn: str, steady: str) -> None:
    dataset = pgarrow_engine.ray.read(dsn, table=steady, columns=["id"]).map_batches(lambda batch: batch)
    assert holders(dsn) == 1
    assert dataset.count() == 20000
    del dataset
    # Threads of the package may have it for a moment, and the server closes a session after the client has.
    eventually(lambda: gc.collect() >= 0 and holders(dsn) == 0)


def test_an_empty_table_has_a_schema(dsn: str) -> None:
    execute(dsn, "CREATE TABLE nothing (id int8, note text)")
    dataset = pgarrow_engine.ray.read(dsn, table="nothing")
    assert dataset.count() == 0
    schema = dataset.schema()
    assert schema is not None and schema.names == ["id", "note"]


def test_the_page_runs_as_it_is_written(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(dsn, *ORDERS)
    for name, value in environment(dsn).items():
        monkeypatch.setenv(name, value)
    printed = run_page("ray-dask.md", where="pgarrow_engine.ray")
    assert "20000" in printed and "placed" in printed


def test_a_snapshot_that_is_gone_is_a_clear_error(dsn: str, steady: str) -> None:
    with pgarrow_engine.ray.hold(dsn, table=steady) as held:
        dataset = held.read()
    with pytest.raises(Exception, match="snapshot of this read is gone"):
        dataset.count()
    with pytest.raises(TypeError, match="tabel"):
        pgarrow_engine.ray.read(dsn, table=steady, tabel="x")
