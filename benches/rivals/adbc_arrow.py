"""ADBC's PostgreSQL driver to record batches, which are dropped as they come."""

import adbc_driver_postgresql.dbapi as adbc

from common import TABLE, URL, Clock

with adbc.connect(URL) as connection, connection.cursor() as cursor:
    clock = Clock()
    cursor.execute(f"SELECT * FROM {TABLE}")
    clock.stop(sum(batch.num_rows for batch in cursor.fetch_record_batch()))
