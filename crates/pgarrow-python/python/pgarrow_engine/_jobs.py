"""Jobs: many tables of one moment, by a job file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import _native, _options
from ._connection import Connection, reported, target_of
from ._errors import OptionsError
from ._progress import Progress
from ._report import Report

if TYPE_CHECKING:
    import sys

    if sys.version_info >= (3, 11):
        from typing import Unpack
    else:
        from typing_extensions import Unpack

    from ._options import Duration, JobOptions, Path, Size


def run(job: Path, *, progress: Progress = None, **options: Unpack[JobOptions]) -> Report:
    """Runs a job file: many tables into one folder, store or server, under one snapshot, committed together.

    Args:
        job: The path of the job file. The book's page "A nightly job" says what is in it.

    Returns:
        The report, with `manifest`.

    Raises:
        Incomplete: With `keep_going`: some tables failed, and the others were committed. It has the report.
    """
    _options.check("run", options, _options.JobOptions)
    flags = [*_options.flags(options), "--", *_options._path("job", job)]
    return reported(lambda look: _native.run_job(flags, look), progress)


def verify(
    place: Path,
    source: Connection | str | None = None,
    *,
    full: bool = False,
    memory: Size | None = None,
    role: str | None = None,
    connect_timeout: Duration | None = None,
    read_timeout: Duration | None = None,
    lock_timeout: Duration | None = None,
) -> dict[str, Any]:
    """Compares the files of a job's folder with their manifest, and with the server that they came from.

    Args:
        place: The folder, or its URL in an object store.
        source: The server. None: files are compared with the manifest alone.
        full: Compare every row, and not only counts and hashes.

    Returns:
        What was compared: `differences` is empty if files are what the manifest says, `server.differences`
            if they
        are what the server has.
    """
    options: dict[str, object] = {
        "memory": memory,
        "role": role,
        "connect_timeout": connect_timeout,
        "read_timeout": read_timeout,
        "lock_timeout": lock_timeout,
    }
    if not isinstance(full, bool):
        raise TypeError(f"full: write True or False, not {type(full).__name__}")
    if full and source is None:
        raise OptionsError("full compares rows with the server's; give source, too")
    flags = _options.flags(options)
    flags.extend(["--full"] if full else [])
    flags.extend(["--", *_options._path("place", place)])
    if source is not None:
        flags.append(target_of(source) or "")
    return dict(json.loads(_native.verify(flags)))
