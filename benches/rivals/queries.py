"""The whole table by many small queries through an ADBC driver: DRIVER ROWS BOUND, and then what common.py takes.

Each query asks for the ROWS rows from a number on, which is written into it or bound to it. The clock begins when the
driver is connected.
"""

import sys

DRIVER, ROWS, BOUND = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "bound"
del sys.argv[1:4]

from common import KINDS, TABLE, URL, Clock  # noqa: E402

if DRIVER == "pgarrow":
    import pgarrow_engine.dbapi as adbc
else:
    import adbc_driver_postgresql.dbapi as adbc

WHERE = "id = {0}" if ROWS == 1 else f"id >= {{0}} AND id < {{0}} + {ROWS}"
QUERY = f"SELECT * FROM {TABLE} WHERE {WHERE}"
with adbc.connect(URL) as connection, connection.cursor() as cursor:
    cursor.execute(f"SELECT count(*) FROM {TABLE}")
    (count,) = cursor.fetchone()
    bound = QUERY.format("$1::bigint")
    clock, rows, kept = Clock(), 0, []
    for first in range(1, count + 1, ROWS):
        if BOUND:
            cursor.execute(bound, (first,))
        else:
            cursor.execute(QUERY.format(first))
        table = cursor.fetch_arrow_table()
        rows += table.num_rows
        if KINDS is not None:
            kept += table.to_batches()
    clock.stop(rows)
    clock.print(kept)
