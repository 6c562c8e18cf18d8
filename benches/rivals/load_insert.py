"""psycopg, INSERT of 500 rows at once; the values are Python's already before the clock runs."""

import time

import psycopg
from load_common import TABLE, URL, batches, ended

from common import Clock

ROWS = 500
schema, rows = batches()
values = [row for batch in rows for row in zip(*(column.to_pylist() for column in batch.columns))]
one = f"({', '.join(['%s'] * len(schema))})"
clock = Clock()
with psycopg.connect(URL) as connection, connection.cursor() as cursor:
    started = time.monotonic()
    for first in range(0, len(values), ROWS):
        some = values[first : first + ROWS]
        cursor.execute(f"INSERT INTO {TABLE} VALUES {', '.join([one] * len(some))}", [v for row in some for v in row])
ended(clock, len(values), started)
