"""What every rival's run is given, and what it prints: the outcome that pgarrow-bench reads.

Arguments: URL TABLE CONNECTIONS PAGES [KINDS]. KINDS is there in the first round, which is not counted: a JSON object
that says for each column what to add up, so that the answer can be compared with the server's.
"""

import json
import resource
import sys
import time

URL, TABLE = sys.argv[1], sys.argv[2]
CONNECTIONS, PAGES = int(sys.argv[3]), int(sys.argv[4])
KINDS = json.loads(sys.argv[5]) if len(sys.argv) > 5 else None


def _status_bytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


def peak_bytes():
    """The process's own: ru_maxrss starts with that of the program which started it."""
    return _status_bytes("VmHWM:")


def resident_bytes():
    """What the process has now."""
    return _status_bytes("VmRSS:")


def ranges(n):
    """Conditions that cut the table into n ranges of pages, for rivals that are given their pieces."""
    if n == 1:
        return ["true"]
    cuts = [PAGES * i // n for i in range(1, n)]
    lows = [""] + [f"ctid >= '({cut},0)'" for cut in cuts]
    highs = [f"ctid < '({cut},0)'" for cut in cuts] + [""]
    return [" AND ".join(filter(None, pair)) for pair in zip(lows, highs)]


class Clock:
    """Wall and CPU time (children included) from the start of the read to its end, and the peak memory."""

    def __init__(self):
        self.started, self.cpu = time.monotonic(), self._cpu()
        self.outcome = None

    @staticmethod
    def _cpu():
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    def stop(self, rows, n_bytes=0, peak=None):
        self.outcome = {
            "rows": rows,
            "wall_seconds": time.monotonic() - self.started,
            "cpu_seconds": self._cpu() - self.cpu,
            "peak_bytes": peak or peak_bytes(),
            "bytes": n_bytes,
        }

    def print(self, batches=None):
        """`batches`: what was read, to be added up if that was asked for."""
        if KINDS is not None and batches is not None:
            from sums import sums

            self.outcome["sums"] = sums(batches, KINDS)
        print(json.dumps(self.outcome))


def drain(batches):
    """Counts the rows and drops the batches as they come; keeps them when they are to be added up."""
    if KINDS is None:
        return sum(batch.num_rows for batch in batches), None
    kept = list(batches)
    return sum(batch.num_rows for batch in kept), kept


def of_parquet(path):
    """The batches of a Parquet file, if they are to be added up."""
    if KINDS is None:
        return None
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path).iter_batches()
