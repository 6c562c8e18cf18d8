"""What the tests share: databases of a real server, and a second client for it.

`PGARROW_TEST_DSN` is the conninfo of a superuser of that server. `tests/it` sets it: `cargo test -p
pgarrow-python`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pgarrow_engine as pg
import psycopg
import pytest

Psql = Callable[..., "list[tuple[Any, ...]]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that would be left out fails where everything is required."""
    if os.environ.get("PGARROW_TEST_REQUIRE") == "all":
        for item in items:
            for mark in item.iter_markers("skipif"):
                if any(mark.args):
                    pytest.fail(
                        f"PGARROW_TEST_REQUIRE=all, but {item.nodeid} needs: {mark.kwargs.get('reason')}"
                    )


@pytest.fixture(scope="session")
def server() -> str:
    """The conninfo of a superuser."""
    dsn = os.environ.get("PGARROW_TEST_DSN")
    if not dsn:
        pytest.fail("PGARROW_TEST_DSN names no server: run `cargo test -p pgarrow-python`")
    return dsn


@pytest.fixture(scope="module")
def dsn(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The conninfo of a fresh database, for one file of tests."""
    name = f"{request.module.__name__.split('.')[-1]}_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as client:
        client.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield psycopg.conninfo.make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as client:
        client.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def db(dsn: str) -> Iterator[pg.Connection]:
    """A connection to it."""
    with pg.connect(dsn) as connection:
        yield connection


@pytest.fixture(scope="module")
def psql(dsn: str) -> Iterator[Psql]:
    """Runs statements by another client. Returns the rows of the last one."""
    with psycopg.connect(dsn, autocommit=True) as client:

        def run(sql: str, *params: object) -> list[tuple[Any, ...]]:
            cursor = client.execute(sql, params or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def backends(psql: Psql) -> Callable[[], int]:
    """How many sessions of ours the server has in this database."""
    sql = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
    return lambda: int(psql(sql)[0][0])


def eventually(check: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until it holds."""
    until = time.monotonic() + seconds
    while not check():
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} seconds")
        time.sleep(0.02)
