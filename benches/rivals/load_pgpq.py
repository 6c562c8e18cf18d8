"""pgpq encodes record batches that are in memory, psycopg sends them by COPY."""

import time

import psycopg
from load_common import TABLE, URL, batches, ended
from pgpq import ArrowToPostgresBinaryEncoder

from common import Clock

schema, rows = batches()
clock = Clock()
with psycopg.connect(URL) as connection, connection.cursor() as cursor:
    started = time.monotonic()
    encoder = ArrowToPostgresBinaryEncoder(schema)
    with cursor.copy(f"COPY {TABLE} FROM STDIN (FORMAT binary)") as copy:
        copy.write(encoder.write_header())
        for batch in rows:
            copy.write(encoder.write_batch(batch))
        copy.write(encoder.finish())
ended(clock, sum(batch.num_rows for batch in rows), started)
