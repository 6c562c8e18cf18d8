"""DuckDB to a Parquet file (zstd 1); a thread for each connection."""

import os
import tempfile

from common import CONNECTIONS, Clock, of_parquet
from duckdb_common import connect

connection, table = connect(CONNECTIONS)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "out.parquet")
    clock = Clock()
    (rows,) = connection.execute(
        f"COPY {table} TO '{path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    ).fetchone()
    clock.stop(rows, os.path.getsize(path))
    clock.print(of_parquet(path))
