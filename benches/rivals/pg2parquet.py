"""The program pg2parquet to a Parquet file (zstd 1). It has one connection; connecting is in its times."""

import os
import resource
import subprocess
import tempfile

from common import TABLE, URL, Clock, of_parquet

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "out.parquet")
    command = ["pg2parquet", "export", "--quiet", "--connection", URL, "--table", TABLE]
    command += ["--output-file", path, "--compression", "zstd", "--compression-level", "1"]
    clock = Clock()
    # Without any password it asks for one.
    subprocess.run(command, check=True, env={"PGPASSWORD": "unused", **os.environ})
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    clock.stop(0, os.path.getsize(path), peak)
    import pyarrow.parquet

    clock.outcome["rows"] = pyarrow.parquet.ParquetFile(path).metadata.num_rows
    clock.print(of_parquet(path))
