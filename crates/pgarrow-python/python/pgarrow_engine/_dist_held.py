"""A plan that is held while workers read its slices: what the adapters have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NoReturn

import pyarrow as pa
from typing_extensions import Self

import pgarrow_engine as pg

from ._dist_conninfo import for_workers, has_password
from ._dist_errors import is_snapshot_gone, options_error, snapshot_gone, state_error
from ._dist_options import OF_TOKENS, PLANNING, READING, TYPES, WHAT, check_what, split

#: Memory of one slice's buffers and batches, in a worker that reads several slices at once beside others.
WORKER_MEMORY = "128M"


class HeldPlan:
    """Slices of a table or a query, under one snapshot that this process holds.

    Leave its `with` block, call `release()`, or drop it: then the snapshot is gone, and slices that were not
    read cannot be read any more.
    """

    def __init__(
        self,
        conninfo: str | None,
        arguments: Mapping[str, Any],
        *,
        worker_conninfo: str | None,
        allow_password: bool,
        how: str,
    ) -> None:
        """`arguments`: what to read and how, as `Connection.plan` takes it."""
        known = (*WHAT, *PLANNING, *READING, *TYPES, "enum", "interval")
        _, unknown = split(arguments, known)
        if unknown:
            raise options_error(f"{next(iter(unknown))}: there is no such argument here")
        check_what(arguments)
        self._how = how
        self._for_tokens, _ = split(arguments, OF_TOKENS)
        self._conninfo = conninfo_of_workers(conninfo, worker_conninfo, allow_password=allow_password)
        planning = {name: value for name, value in arguments.items() if name not in ("batch_rows", "batch_bytes")}
        self._db = pg.connect(conninfo)
        self._plan = self._db.plan(**planning)
        self._plan.__enter__()
        self._tokens: list[bytes] = list(self._plan.tokens)
        self._schema: pa.Schema = pa.schema(self._plan.schema)

    @property
    def tokens(self) -> list[bytes]:
        """One token for each slice. A token has no password, and is read by `pgarrow_engine.read_token`."""
        return list(self._tokens)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the slices, before an engine's own types."""
        return self._schema

    @property
    def snapshot(self) -> str:
        """The snapshot's name on the server."""
        return str(self._plan.snapshot)

    def check(self) -> None:
        """Raises if the snapshot is gone."""
        self._plan.check()

    def release(self) -> None:
        """Lets go of the snapshot. A second call does nothing."""
        self._plan.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __reduce__(self) -> NoReturn:
        raise state_error("a held snapshot belongs to its process; tokens can be sent to others")


def conninfo_of_workers(
    conninfo: str | None, worker_conninfo: str | None, *, allow_password: bool
) -> str:
    """What workers connect with. `worker_conninfo` has precedence, and may not have a password unless that is
    allowed; one in `conninfo` stays here."""
    if allow_password:
        return worker_conninfo or conninfo or for_workers(None)
    if has_password(worker_conninfo):
        raise options_error(
            "worker_conninfo has a password, which would be sent around and may be shown: let workers take it from "
            "PGPASSWORD, ~/.pgpass or a service file, or say allow_password=True"
        )
    return for_workers(worker_conninfo if worker_conninfo is not None else conninfo)


def read_slice(
    conninfo: str, token: bytes, options: Mapping[str, Any], *, how: str, where: str | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches of one slice. `how`: the call that holds the snapshot, for errors. `where`: a further
    condition."""
    arguments = {"memory": WORKER_MEMORY, **options}
    if where is not None:
        arguments["where"] = where
    try:
        with pg.read_token(conninfo, token, **arguments) as stream:
            yield from pa.RecordBatchReader.from_stream(stream)
    except pg.Error as error:
        if is_snapshot_gone(error):
            raise snapshot_gone(how, error) from error
        raise
    except pa.ArrowException as error:
        if is_snapshot_gone(error):
            raise snapshot_gone(how, error) from error
        raise
