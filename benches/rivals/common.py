"""What every rival's run prints: the outcome that pgarrow-bench reads."""

import json
import resource
import sys
import time

URL, TABLE = sys.argv[1], sys.argv[2]


def peak_bytes():
    """The process's own: ru_maxrss starts with that of the program which started it."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


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
            "peak_bytes": peak_bytes(),
            "bytes": n_bytes,
        }
        print(json.dumps(outcome))
