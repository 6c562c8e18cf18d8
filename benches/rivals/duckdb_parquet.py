"""DuckDB to a Parquet file (zstd 1); one thread, so one connection."""

import os
import tempfile

from common import Clock
from duckdb_common import connect

connection, table = connect(threads=1)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "out.parquet")
    clock = Clock()
    (rows,) = connection.execute(
        f"COPY {table} TO '{path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    ).fetchone()
    clock.stop(rows, os.path.getsize(path))
