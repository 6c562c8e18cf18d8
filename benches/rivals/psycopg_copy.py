"""psycopg's COPY in binary, rows as bytes, not decoded; a process for each connection, one snapshot for all."""

import multiprocessing

import psycopg

from common import CONNECTIONS, TABLE, URL, Clock, peak_bytes, ranges

SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def read(condition, snapshot, ready, start, results):
    with psycopg.connect(URL, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(SNAPSHOT)
        cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        ready.wait()
        start.wait()
        n_bytes = 0
        with cursor.copy(
            f"COPY (SELECT * FROM {TABLE} WHERE {condition}) TO STDOUT (FORMAT binary)"
        ) as copy:
            for data in copy:
                n_bytes += len(data)
        results.put((cursor.rowcount, n_bytes, peak_bytes()))


processes = multiprocessing.get_context("fork")
ready, start = processes.Barrier(CONNECTIONS + 1), processes.Event()
results = processes.SimpleQueue()
with psycopg.connect(URL, autocommit=True) as keeper, keeper.cursor() as cursor:
    cursor.execute(SNAPSHOT)
    (snapshot,) = cursor.execute("SELECT pg_export_snapshot()").fetchone()
    readers = [
        processes.Process(target=read, args=(condition, snapshot, ready, start, results))
        for condition in ranges(CONNECTIONS)
    ]
    for reader in readers:
        reader.start()
    ready.wait()
    clock = Clock()
    start.set()
    outcomes = [results.get() for _ in readers]
    for reader in readers:
        reader.join()
    rows, n_bytes, peaks = (sum(values) for values in zip(*outcomes))
    # Children are counted when they have ended: what they took for connecting is in their CPU time.
    clock.stop(rows, n_bytes, peaks)
    clock.print()
