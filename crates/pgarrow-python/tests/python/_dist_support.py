"""What the tests of Spark, Ray and Dask have in common."""

from __future__ import annotations

import importlib.util
import json
import os
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
