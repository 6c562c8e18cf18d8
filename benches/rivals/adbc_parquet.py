"""ADBC's PostgreSQL driver to a Parquet file that pyarrow writes (zstd 1), batch by batch."""

import os
import tempfile

import adbc_driver_postgresql.dbapi as adbc
import pyarrow.parquet

from common import TABLE, URL, Clock, of_parquet

with (
    adbc.connect(URL) as connection,
    connection.cursor() as cursor,
    tempfile.TemporaryDirectory() as folder,
):
    path = os.path.join(folder, "out.parquet")
    clock = Clock()
    cursor.execute(f"SELECT * FROM {TABLE}")
    reader = cursor.fetch_record_batch()
    rows = 0
    with pyarrow.parquet.ParquetWriter(
        path, reader.schema, compression="zstd", compression_level=1
    ) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    clock.stop(rows, os.path.getsize(path))
    clock.print(of_parquet(path))
