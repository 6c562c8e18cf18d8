"""ADBC's PostgreSQL driver, ingesting record batches that are in memory."""

import time

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
from load_common import TABLE, URL, batches, ended

from common import Clock

schema, rows = batches()
clock = Clock()
with adbc.connect(URL) as connection, connection.cursor() as cursor:
    started = time.monotonic()
    reader = pa.RecordBatchReader.from_batches(schema, rows)
    n_rows = cursor.adbc_ingest(TABLE, reader, mode="append")
    connection.commit()
ended(clock, max(n_rows, 0), started)
