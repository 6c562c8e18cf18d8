"""Ray Data: a dataset whose read tasks are slices of one snapshot.

    import pgarrow_engine.ray
    ds = pgarrow_engine.ray.read(table="orders")

The driver holds the snapshot for as long as the dataset, or one that is made of it, is there. Ray reads when
rows are asked for, so keep the dataset until then, or use `hold`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

try:
    import ray.data
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask
except ImportError as _error:
    raise ImportError("pgarrow_engine.ray needs Ray Data: pip install 'ray[data]'") from _error

from ._dist_cast import fitted
from ._dist_held import read_slice
from ._dist_plain import PlainHeld

__all__ = ["Held", "hold", "read"]

_HOW = "pgarrow_engine.ray.hold or .read"


class Held(PlainHeld):
    """A held snapshot, to be read by Ray. `hold` makes it."""

    def read(self, **how: Any) -> ray.data.Dataset:
        """A dataset of the held rows, one read task for each slice.

        `how`: what `ray.data.read_datasource` takes, such as `concurrency` and `ray_remote_args`.
        """
        slices = _Slices(self)
        dataset: ray.data.Dataset = ray.data.read_datasource(
            slices, override_num_blocks=len(self.tokens), **how
        )
        return dataset


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
    read_options: Mapping[str, Any] | None = None,
    **what: Any,
) -> ray.data.Dataset:
    """A dataset of a table or a query, which owns its snapshot: it is let go when nobody has the dataset, or
    one made of it, any more.

    `read_options`: what `ray.data.read_datasource` takes. All others: as for `hold`.
    """
    held = hold(conninfo, worker_conninfo=worker_conninfo, allow_password=allow_password, **what)
    return held.read(**(read_options or {}))


class _Slices(Datasource):
    """The slices of a held plan as read tasks. In the driver it also keeps the plan alive."""

    def __init__(self, held: Held) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held: Held | None = held
        self._conninfo = held._conninfo
        self._options = held._for_tokens
        self._tokens = held.tokens
        self._schema = held.schema

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

    def get_name(self) -> str:
        return "Pgarrow"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        metadata = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None)
        return [
            ReadTask(
                functools.partial(_read, self._conninfo, token, self._options, self._schema),
                metadata,
                schema=self._schema,
                per_task_row_limit=per_task_row_limit,
            )
            for token in self._tokens
        ]


def _read(conninfo: str, token: bytes, options: Mapping[str, Any], schema: pa.Schema) -> Iterator[pa.Table]:
    is_empty = True
    for batch in read_slice(conninfo, token, options, how=_HOW):
        is_empty = False
        yield pa.Table.from_batches([fitted(batch, schema)])
    if is_empty:
        yield schema.empty_table()
