"""ADBC's PostgreSQL driver to record batches, which are dropped as they come. It has one connection."""

import adbc_driver_postgresql.dbapi as adbc

from common import TABLE, URL, Clock, drain

with adbc.connect(URL) as connection, connection.cursor() as cursor:
    clock = Clock()
    cursor.execute(f"SELECT * FROM {TABLE}")
    rows, kept = drain(cursor.fetch_record_batch())
    clock.stop(rows)
    clock.print(kept)
