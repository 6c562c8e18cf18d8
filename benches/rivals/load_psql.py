r"""psql's own \copy of a binary file, or one psql into another. Its start and its connection are within."""

import os
import re
import resource
import subprocess
import sys

PSQL, HOW, SOURCE = sys.argv[4:7]

from load_common import FOLDER, TABLE, URL, ended  # noqa: E402

from common import Clock  # noqa: E402

psql = [PSQL, "-X", "-q", "-v", "ON_ERROR_STOP=1", URL]
how = {"check": True, "env": {**os.environ, "LC_ALL": "C"}, "stdout": subprocess.PIPE, "text": True}
timed = ["-c", r"\timing on", "-c"]
clock = Clock()
if HOW == "copy":
    output = subprocess.run([*psql, *timed, f"\\copy {TABLE} from '{FOLDER}/rows.bin' (format binary)"], **how).stdout
else:
    # What is read goes into a pipe, so that only the psql that loads may say how long it has taken.
    sender = subprocess.Popen([*psql, "-c", f"COPY {SOURCE} TO STDOUT (FORMAT binary)"], stdout=subprocess.PIPE)
    load = [*psql, *timed, f"COPY {TABLE} FROM STDIN (FORMAT binary)"]
    output = subprocess.run(load, stdin=sender.stdout, **how).stdout
    sender.stdout.close()
    if sender.wait():
        sys.exit("the psql that reads has failed")
# What psql itself says the statement took; the rest is its start and its end.
milliseconds = float(re.search(r"^Time: ([\d.]+) ms", output, re.MULTILINE)[1])
ended(clock, loading=milliseconds / 1e3, peak=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
