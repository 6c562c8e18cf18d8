"""PostgreSQL into Arrow and back.

>>> import pgarrow_engine as pg
>>> db = pg.connect("postgresql://me@localhost/shop")
>>> stream = db.read(table="orders")      # anything that speaks Arrow takes it: polars, pyarrow, DuckDB, …

`connect` gives a `Connection`, which reads (`read`, `aread`), writes files (`export`), looks (`inspect`,
`describe`) and holds snapshots (`plan`). `load` is the way back. `run` runs a job file, `verify` compares
what it wrote. Options have the names of the `pgarrow` command: `--batch-rows` is `batch_rows`.
"""

from __future__ import annotations

import atexit
import os

from . import _native
from ._connection import Connection, connect
from ._errors import (
    Cancelled,
    ConnectionError,
    Differs,
    Error,
    Incomplete,
    InputError,
    OptionsError,
    OutcomeUnknown,
    OutputError,
    ProtocolError,
    ServerError,
    StateError,
    ValueRefused,
)
from ._jobs import run, verify
from ._load import load
from ._memory import Memory
from ._plan import Plan, read_token
from ._report import Report
from ._stream import Stream
from ._transaction import Transaction

__version__: str = _native.__version__

__all__ = [
    "Cancelled",
    "Connection",
    "ConnectionError",
    "Differs",
    "Error",
    "Incomplete",
    "InputError",
    "Memory",
    "OptionsError",
    "OutcomeUnknown",
    "OutputError",
    "Plan",
    "ProtocolError",
    "Report",
    "ServerError",
    "StateError",
    "Stream",
    "Transaction",
    "ValueRefused",
    "connect",
    "load",
    "read_token",
    "run",
    "verify",
]

# What is still read when the interpreter ends is stopped, also on the server.
atexit.register(_native.leave)
os.register_at_fork(after_in_child=_native.forked)
