"""A table as Python gets it: WAY INTO, and then what common.py takes.

The clock begins when the modules are there, and before connecting. It ends with the pyarrow, polars or pandas table.
Modules are also those that others would import at first use, such as pandas by pyarrow, where it is installed.
"""

import sys

import pandas
import pyarrow as pa

WAY, INTO = sys.argv[1:3]
del sys.argv[1:3]

from common import CONNECTIONS, TABLE, URL, Clock, ranges, resident_bytes  # noqa: E402

if INTO == "polars":
    import polars
if "adbc" in WAY:
    # It imports polars, where that is installed.
    import adbc_driver_manager.dbapi  # noqa: F401

#: Of an interpreter that has imported pyarrow, and what that or ADBC's manager bring with them.
INTERPRETER = resident_bytes()
QUERY = f"SELECT * FROM {TABLE}"


def taken(arrow, objects=False):
    """Whatever speaks Arrow's C interface, as the table that is wanted."""
    if INTO == "polars":
        return polars.DataFrame(arrow)
    if objects:
        return pandas.DataFrame.from_arrow(arrow)
    table = pa.table(arrow)
    return table if INTO == "pyarrow" else table.to_pandas(types_mapper=pandas.ArrowDtype)


def pgarrow(read_mode, objects=False):
    import pgarrow_engine

    def read():
        with pgarrow_engine.connect(URL) as db:
            stream = db.read(table=TABLE, readers=CONNECTIONS, read_mode=read_mode)
            table = taken(stream, objects)
        pages = stream.report.get("pages")
        # As every run by pages: at most some pages have values out of line.
        if read_mode == "pages" and not (pages and pages["read"] >= 9 * pages["copied"]):
            sys.exit(f"RuntimeError: the table was not read by pages: {pages}")
        return table

    return read


def adbc(driver):
    if INTO == "pandas":
        import sqlalchemy  # noqa: F401  pandas looks whether a connection is one of its.

    def read():
        if INTO == "polars":
            return polars.read_database_uri(QUERY, URL, engine="adbc")
        with driver.connect(URL) as connection:
            if INTO == "pandas":
                return pandas.read_sql(QUERY, connection, dtype_backend="pyarrow")
            with connection.cursor() as cursor:
                cursor.execute(QUERY)
                return cursor.fetch_arrow_table()

    return read


def pgarrow_adbc():
    import pgarrow_engine.dbapi

    return adbc(pgarrow_engine.dbapi)


def postgresql_adbc():
    import adbc_driver_postgresql.dbapi

    return adbc(adbc_driver_postgresql.dbapi)


def connectorx():
    """polars calls it by `read_database_uri`."""
    import connectorx

    queries = [f"{QUERY} WHERE {condition}" for condition in ranges(CONNECTIONS)]

    def read():
        if INTO == "polars":
            return polars.read_database_uri(queries, URL, engine="connectorx", protocol="binary")
        kind = "arrow" if INTO == "pyarrow" else "pandas"
        return connectorx.read_sql(URL, queries, return_type=kind, protocol="binary")

    return read


def duckdb():
    """Its extension is one more module, so that connecting is not in its time."""
    from duckdb_common import connect

    connection, table = connect(CONNECTIONS)

    def read():
        result = connection.execute(f"SELECT * FROM {table}")
        return {"pyarrow": result.to_arrow_table, "polars": result.pl, "pandas": result.df}[INTO]()

    return read


def read_sql():
    import sqlalchemy

    engine = sqlalchemy.create_engine("postgresql+psycopg" + URL[URL.index("://") :])
    return lambda: pandas.read_sql(QUERY, engine)


WAYS = {
    "copy": lambda: pgarrow("copy"),
    "pages": lambda: pgarrow("pages"),
    "objects": lambda: pgarrow("copy", objects=True),
    "pgarrow-adbc": pgarrow_adbc,
    "adbc": postgresql_adbc,
    "connectorx": connectorx,
    "duckdb": duckdb,
    "read-sql": read_sql,
}


def batches(table):
    if INTO == "polars":
        table = table.to_arrow()
    if INTO == "pandas":
        table = pa.Table.from_pandas(table, preserve_index=False)
    return table.to_batches()


read = WAYS[WAY]()
clock = Clock()
table = read()
clock.stop(len(table), table.nbytes if INTO == "pyarrow" else 0)
if INTO == "pyarrow":
    clock.outcome["beyond_bytes"] = max(clock.outcome["peak_bytes"] - INTERPRETER - table.nbytes, 0)
clock.print(batches(table))
