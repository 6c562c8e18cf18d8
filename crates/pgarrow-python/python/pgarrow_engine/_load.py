"""Into tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _native, _options
from ._connection import Connection, reported, target_of
from ._progress import Progress
from ._report import Report
from ._transaction import Transaction

if TYPE_CHECKING:
    import sys

    if sys.version_info >= (3, 11):
        from typing import Unpack
    else:
        from typing_extensions import Unpack

    from ._options import LoadOptions


def load(
    data: Any,
    *,
    into: str | None = None,
    target: Connection | Transaction | str | None = None,
    progress: Progress = None,
    **options: Unpack[LoadOptions],
) -> Report:
    """Loads batches or files into a table, as one transaction.

    Args:
        data: Anything with `__arrow_c_stream__` or `__arrow_c_array__`: a table or data frame of pyarrow,
            polars, pandas or DuckDB, a `Stream`. Or a path, or a list of paths: Parquet and Arrow files,
            folders of them, and what object stores have (`s3://…`).
        into: The table, as psql takes its name: folded to lower case unless it is `"quoted"`.
        target: The server: a connection, a conninfo, or None for the environment. Or a transaction, which
            the load becomes part of.
        progress: True draws a bar; a function gets a dict about five times a second.
        **options: As the command's options: `mode="create"`, `convert`, `key`, `commit_every`, … See
            `LoadOptions`.

    Returns:
        The report: `rows`, `seconds`, `warnings`, …

    Raises:
        OptionsError: The data's columns do not fit those of the table.
        ServerError: The server refuses a row. Then the table is as it was.
        InputError: The data could not be read.
        OutcomeUnknown: The connection was lost in the middle of COMMIT.
        KeyboardInterrupt: Nothing is loaded, unless Ctrl-C came in the last tenth of a second before
            the commit, or during ANALYZE or VACUUM behind it: then all rows are there.
    """
    _options.check("load", options, _options.LoadOptions)
    native = target._open() if isinstance(target, Transaction) else None
    conninfo = None if isinstance(target, Transaction) else target_of(target)
    flags = _options.flags({"into": into, "target": conninfo, **options})
    paths = _paths(data)
    if paths is None:
        return reported(lambda look: _native.load_batches(data, flags, native, look), progress)
    # Behind the dashes, so that no path is taken for an option.
    return reported(lambda look: _native.load_files([*flags, "--", *paths], native, look), progress)


def _paths(data: object) -> list[str] | None:
    """The paths, if it is files that are loaded."""
    if isinstance(data, (str, os.PathLike)):
        return [os.fsdecode(data)]
    if isinstance(data, Sequence) and not isinstance(data, (bytes, bytearray)) and len(data) > 0:
        if all(isinstance(part, (str, os.PathLike)) for part in data):
            return [os.fsdecode(part) for part in data]
    return None
