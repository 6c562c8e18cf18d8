"""What every rival's run prints: the outcome that pgarrow-bench reads."""

import json
import resource
import sys
import time

URL, TABLE = sys.argv[1], sys.argv[2]


class Clock:
    """Wall and CPU time from the start of the read to its end, and the process's peak memory."""

    def __init__(self):
        self.started, self.cpu = time.monotonic(), self._cpu()

    @staticmethod
    def _cpu():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def stop(self, rows, n_bytes=0):
        outcome = {
            "rows": rows,
            "wall_seconds": time.monotonic() - self.started,
            "cpu_seconds": self._cpu() - self.cpu,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "bytes": n_bytes,
        }
        print(json.dumps(outcome))
