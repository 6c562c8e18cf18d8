"""DuckDB's PostgreSQL extension, inserting an Arrow table that is in memory."""

import time

import pyarrow as pa
from load_common import batches, ended

from common import Clock
from duckdb_common import connect

schema, rows = batches()
in_memory = pa.Table.from_batches(rows, schema)
clock = Clock()
connection, target = connect(1, read_only=False)
started = time.monotonic()
connection.execute(f"INSERT INTO {target} SELECT * FROM in_memory")
connection.close()
ended(clock, in_memory.num_rows, started)
