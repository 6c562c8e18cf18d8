"""What a load by others is given: URL TABLE FOLDER. The folder has rows.arrow and rows.bin."""

import sys

URL, TABLE, FOLDER = sys.argv[1:4]
# What common.py reads of the arguments of a script that exports.
sys.argv[3:] = ["1", "0"]


def batches():
    """The schema and the rows, in memory before any clock runs."""
    import pyarrow as pa

    with pa.OSFile(f"{FOLDER}/rows.arrow", "rb") as file:
        reader = pa.ipc.open_file(file)
        return reader.schema, [reader.get_batch(n) for n in range(reader.num_record_batches)]


def ended(clock, rows=0, started=None, loading=None, peak=None):
    """`started`: what time.monotonic() said when it was connected. `loading`: or how long the load alone has taken."""
    clock.stop(rows, peak=peak)
    wall = clock.outcome["wall_seconds"]
    clock.outcome["start_seconds"] = wall - loading if loading is not None else started - clock.started
    clock.print()
