"""What a program that checks its types may write: `test_types` runs mypy and pyright on it."""

from __future__ import annotations

import asyncio

import pgarrow_engine as pg
import pyarrow as pa


def read(dsn: str) -> int:
    with pg.connect(dsn, memory="1G", connect_timeout="10s") as db:
        stream = db.read(
            table="public.orders",
            columns=["id", "total"],
            where="total > $1",
            params=[100],
            numeric="float64",
        )
        rows = sum(batch.num_rows for batch in stream)
        table: pa.Table = pa.table(db.read(query="select 1 as a", readers=2, memory=64 << 20, progress=True))
        report: pg.Report = db.export(
            table="orders", to="orders.parquet", overwrite=True, compression="zstd:3"
        )
        pg.load(table, into="public.copy", target=db, mode="create", convert="check")
        with db.plan(table="orders", column={"total": {"nan": "null"}}, hold_for=60) as plan:
            tokens: list[bytes] = plan.tokens
        return rows + int(report.rows) + len(tokens)


async def read_later(db: pg.Connection) -> int:
    stream = await db.aread(table="orders")
    return sum([batch.num_rows async for batch in stream])


def refused(db: pg.Connection) -> str:
    try:
        next(db.read(table="orders"))
    except pg.ValueRefused as error:
        return f"{error.schema}.{error.table}.{error.column} {error.row} {error.hints}"
    except pg.ServerError as error:
        return error.sqlstate or ""
    return ""


if __name__ == "__main__":
    print(read(""), asyncio.run(read_later(pg.connect())), refused(pg.connect()))
