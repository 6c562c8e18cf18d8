"""DuckDB to record batches, which are dropped as they come; one thread, so one connection."""

from common import Clock
from duckdb_common import connect

connection, table = connect(threads=1)
clock = Clock()
reader = connection.execute(f"SELECT * FROM {table}").to_arrow_reader(65536)
clock.stop(sum(batch.num_rows for batch in reader))
