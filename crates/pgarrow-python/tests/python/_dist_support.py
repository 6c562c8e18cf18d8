"""What the tests of Spark, Ray and Dask have in common."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def need(*modules: str, programs: tuple[str, ...] = ()) -> None:
    """Leaves the whole file out, and says loudly why, if something is not installed. With
    PGARROW_TEST_REQUIRE=all that is a failure."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    missing += [name for name in programs if shutil.which(name) is None]
    if not missing:
        return
    reason = f"NOT TESTED: {', '.join(missing)} is missing (see .ci/run for the versions)"
    if "all" in os.environ.get("PGARROW_TEST_REQUIRE", "").split(","):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def execute(dsn: str, *statements: str) -> None:
    """Runs statements by a client that is not ours, each in a transaction of its own."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def plain(row: Iterable[Any]) -> tuple[Any, ...]:
    """A row with values that can be counted."""
    return tuple(
        bytes(value) if isinstance(value, bytearray) else tuple(value) if isinstance(value, list) else value
        for value in row
    )


def rows(dsn: str, sql: str, *, snapshot: str | None = None) -> Counter[tuple[Any, ...]]:
    """The rows of a query as a multiset, by a client that is not ours, under a snapshot if one is given."""
    import psycopg

    with psycopg.connect(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        if snapshot is not None:
            connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        return Counter(plain(row) for row in connection.execute(sql))


def exported(token: bytes) -> str:
    """The name of a token's snapshot, as `SET TRANSACTION SNAPSHOT` takes it."""
    said = json.loads(token)
    return str(said.get("slice", said)["snapshot"]["exported"])


def environment(dsn: str) -> dict[str, str]:
    """A connection as the PG* environment."""
    import psycopg

    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    said = psycopg.conninfo.conninfo_to_dict(dsn)
    return {variable: str(said[name]) for name, variable in names.items() if name in said}


#: What the book's pages read, as in the tests of the command.
ORDERS = (
    "CREATE TABLE orders (id int8 PRIMARY KEY, placed date NOT NULL, total numeric(15,2), due date, tags "
    "text[], "
    'weight numeric, note text, updated timestamptz NOT NULL, "dueAt" timestamp)',
    "INSERT INTO orders SELECT g, date '2025-06-01' + g % 365, g % 500 + 0.5, date '2026-06-01', "
    "ARRAY['a', g::text], g * 0.25, repeat('note ', 10), now() - g * interval '1 minute', "
    "timestamp '2026-06-01 12:00' FROM generate_series(1, 20000) g",
    "ANALYZE orders",
)


def run_page(name: str, *, where: str = "") -> str:
    """Runs the blocks of a page of the book that contain a text, as one program. Returns what they print."""
    page = pathlib.Path(__file__).parents[4] / "docs" / "src" / name
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    chosen = [block for block in blocks if where in block]
    assert chosen, f"{name} has no blocks"
    printed = io.StringIO()
    names: dict[str, object] = {"__name__": "__page__"}
    with contextlib.redirect_stdout(printed):
        for block in chosen:
            exec(compile(block, name, "exec"), names)
    return printed.getvalue()


@contextmanager
def changing(dsn: str, table: str) -> Iterator[None]:
    """Changes a table with the columns `id` and `note` all the while: updates, deletes, inserts."""
    import psycopg

    stop = threading.Event()
    failures: list[BaseException] = []

    def change() -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                number = 0
                while not stop.is_set():
                    number += 1
                    connection.execute(f"UPDATE {table} SET note = note || '!' WHERE id % 97 = {number % 97}")
                    connection.execute(f"DELETE FROM {table} WHERE id % 101 = {number % 101}")
                    connection.execute(
                        f"INSERT INTO {table} (id, note) SELECT max(id) + 1, 'new' FROM {table}"
                    )
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures, failures
