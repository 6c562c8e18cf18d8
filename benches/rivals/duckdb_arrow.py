"""DuckDB to record batches, which are dropped as they come; a thread for each connection."""

from common import CONNECTIONS, Clock, drain
from duckdb_common import connect

connection, table = connect(CONNECTIONS)
clock = Clock()
rows, kept = drain(connection.execute(f"SELECT * FROM {table}").to_arrow_reader(65536))
clock.stop(rows)
clock.print(kept)
