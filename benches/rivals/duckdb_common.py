"""DuckDB with its PostgreSQL extension, which comes as a package of its own."""

import importlib.util
import pathlib

import duckdb

from common import TABLE, URL


def connect(threads, read_only=True):
    package = importlib.util.find_spec("duckdb_extension_postgres_scanner").submodule_search_locations[0]
    (extension,) = pathlib.Path(package).glob("extensions/*/postgres_scanner.duckdb_extension")
    connection = duckdb.connect(config={"threads": threads})
    connection.execute(f"LOAD '{extension}'")
    access = ", READ_ONLY" if read_only else ""
    connection.execute(f"ATTACH '{URL}' AS pg (TYPE postgres{access})")
    return connection, f"pg.public.{TABLE}"
