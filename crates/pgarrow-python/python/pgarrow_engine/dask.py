"""Dask: a DataFrame whose partitions are slices of one snapshot.

    import pgarrow_engine.dask
    df = pgarrow_engine.dask.read(table="orders")

The client's process holds the snapshot for as long as the DataFrame, or one that is made of it, is there.
Dask reads when something is computed, so keep the DataFrame until then, or use `hold`.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

try:
    import dask.dataframe as dd
    import pandas as pd
except ImportError as _error:
    raise ImportError("pgarrow_engine.dask needs Dask: pip install 'dask[dataframe]'") from _error

from ._dist_cast import fitted
from ._dist_held import read_slice
from ._dist_plain import PlainHeld

__all__ = ["Held", "hold", "read"]

_HOW = "pgarrow_engine.dask.hold or .read"


class Held(PlainHeld):
    """A held snapshot, to be read by Dask. `hold` makes it."""

    def read(self) -> dd.DataFrame:
        """A DataFrame of the held rows, one partition for each slice.

        Columns have Arrow's types in pandas (`pd.ArrowDtype`), so integers with NULLs stay integers, and
        decimals decimals.
        """
        function = _ReadSlice(self._conninfo, self._for_tokens, self.schema)
        meta = _pandas(self.schema.empty_table())
        frame: dd.DataFrame = dd.from_map(  # type: ignore[no-untyped-call]
            function, self.tokens, meta=meta, label="pgarrow", enforce_metadata=False
        )
        return frame


def hold(
    conninfo: str | None = None,
    *,
    worker_conninfo: str | None = None,
    allow_password: bool = False,
    **what: Any,
) -> Held:
    """Plans a table or a query, and holds the snapshot of its slices until its `with` block ends.

    `conninfo`: as `pgarrow_engine.connect` takes it. Workers connect with `worker_conninfo`, by default the
    same without its password: they take that from their environment, unless `allow_password` lets it be sent.
    `what`: `table` or `query`, `columns`, `where`, `params`, `slice_bytes`, `readers`, choices of types, as
    `Connection.plan` takes them.
    """
    return Held(conninfo, what, worker_conninfo=worker_conninfo, allow_password=allow_password, call="hold")


def read(
    conninfo: str | None = None,
    *,
    worker_conninfo: str | None = None,
    allow_password: bool = False,
    **what: Any,
) -> dd.DataFrame:
    """A DataFrame of a table or a query, which owns its snapshot: it is let go when nobody has the DataFrame,
    or one made of it, any more. Arguments as for `hold`."""
    held = hold(conninfo, worker_conninfo=worker_conninfo, allow_password=allow_password, **what)
    frame = held.read()
    # Every DataFrame that is made of this one refers to its expression. Tasks do not, which the scheduler may
    # keep for longer.
    weakref.finalize(frame.expr, held.release)
    return frame


class _ReadSlice:
    """Reads one slice as a pandas DataFrame."""

    def __init__(self, conninfo: str, options: Mapping[str, Any], schema: pa.Schema) -> None:
        self._conninfo = conninfo
        self._options = options
        self._schema = schema

    def __dask_tokenize__(self) -> Any:
        return ("pgarrow", self._conninfo, sorted(self._options.items()), str(self._schema))

    def __call__(self, token: bytes, columns: list[str] | None = None) -> pd.DataFrame:
        batches = read_slice(self._conninfo, token, self._options, how=_HOW)
        table = pa.Table.from_batches((fitted(batch, self._schema) for batch in batches), self._schema)
        return _pandas(table if columns is None else table.select(columns))


def _pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
