"""A plan that is held while workers read its slices: what the adapters have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import pyarrow as pa

import pgarrow_engine as pg

from ._dist_conninfo import for_workers, has_password
from ._dist_errors import is_snapshot_gone, options_error, snapshot_gone, state_error
from ._dist_options import (
    OF_BATCHES,
    OF_TOKENS,
    PLANNING,
    READING,
    TYPES,
    WHAT,
    check_names,
    check_what,
    split,
)

#: Memory of one slice's buffers and batches, in a worker that reads several slices at once beside others.
WORKER_MEMORY = "128M"

#: What is planned and read, in the names of `Connection.plan` and `read_token`.
HOLDING = (*WHAT, *PLANNING, *READING, *TYPES, "enum", "interval")

_Self = TypeVar("_Self", bound="HeldPlan")

#: From the schema under the arguments to arguments under which an engine holds every column.
Choose = Callable[[pa.Schema, Mapping[str, Any]], Mapping[str, Any]]


class HeldPlan:
    """Slices of a table or a query, under one snapshot that this process holds.

    Leave its `with` block, call `release()`, or drop it: then the snapshot is gone, and slices that were not
    read cannot be read any more.
    """

    def __init__(
        self,
        conninfo: str | None,
        arguments: Mapping[str, Any],
        choose: Choose,
        *,
        worker_conninfo: str | None,
        allow_password: bool,
        call: str,
    ) -> None:
        """`arguments`: what to read and how, as `Connection.plan` and `read_token` take it. `choose`: decides
        about types. `call`: the function that made this, for errors."""
        check_names(call, arguments, HOLDING)
        check_what(arguments)
        self._for_tokens, _ = split(arguments, OF_TOKENS)
        self._conninfo = conninfo_of_workers(conninfo, worker_conninfo, allow_password=allow_password)
        self._db = pg.connect(conninfo)
        self._plan, self._arguments = planned(self._db, arguments, choose)
        self._tokens = self._plan.tokens
        self._schema = pa.schema(self._plan.schema)

    @property
    def tokens(self) -> list[bytes]:
        """One token for each slice. A token has no password, and is read by `pgarrow_engine.read_token`."""
        return list(self._tokens)

    @property
    def snapshot(self) -> str:
        """The snapshot, as `pg_current_snapshot()` prints it."""
        return self._plan.snapshot

    def query_text(self, sql: str) -> list[tuple[str | None, ...]]:
        """Runs a statement under the snapshot, and returns its rows as PostgreSQL prints them."""
        return self._plan.query_text(sql)

    def check(self) -> None:
        """Raises if the snapshot is gone."""
        self._plan.check()

    def release(self) -> None:
        """Lets go of the snapshot. A second call does nothing."""
        try:
            self._plan.release()
        except pg.Error:
            # Its session was lost, and the snapshot with it. Whoever needed it has an error of their own.
            pass
        self._db.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __reduce__(self) -> NoReturn:
        raise state_error("a held snapshot belongs to its process; tokens can be sent to others")


def planned(
    db: pg.Connection, arguments: Mapping[str, Any], choose: Choose
) -> tuple[pg.Plan, dict[str, Any]]:
    """A plan whose columns an engine holds, and the arguments that led to it."""
    _, given = split(arguments, OF_BATCHES)
    plan = db.plan(**given)
    try:
        chosen = dict(choose(pa.schema(plan.schema), given))
        if chosen == given:
            return plan, chosen
        plan.release()
        plan = db.plan(**chosen)
        # The table may have been altered between the two.
        if dict(choose(pa.schema(plan.schema), chosen)) != chosen:
            raise state_error("the columns were altered while they were planned; read again")
        return plan, chosen
    except BaseException:
        plan.release()
        raise


def conninfo_of_workers(conninfo: str | None, worker_conninfo: str | None, *, allow_password: bool) -> str:
    """What workers connect with. `worker_conninfo` has precedence, and may not have a password unless that is
    allowed; one in `conninfo` stays here."""
    if allow_password:
        return worker_conninfo or conninfo or for_workers(None)
    if has_password(worker_conninfo):
        raise options_error(
            "worker_conninfo has a password, which would be sent around and may be shown: let workers take "
            "it from "
            "PGPASSWORD, ~/.pgpass or a service file, or say allow_password=True"
        )
    return for_workers(worker_conninfo if worker_conninfo is not None else conninfo)


def read_slice(
    conninfo: str, token: bytes, options: Mapping[str, Any], *, how: str, where: str | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches of one slice. `how`: the call that holds the snapshot, for errors. `where`: a further
    condition."""
    if where is not None:
        token = filtered(token, where)
    try:
        with pg.read_token(conninfo, token, **{"memory": WORKER_MEMORY, **options}) as stream:
            yield from batches(stream)
    except pg.Error as error:
        if is_snapshot_gone(error):
            raise snapshot_gone(how, error) from error
        raise


def batches(stream: pg.Stream) -> Iterator[pa.RecordBatch]:
    """The batches of a stream for pyarrow. Errors stay those of pgarrow."""
    for batch in stream:
        yield pa.record_batch(batch)


def filtered(token: bytes, condition: str) -> bytes:
    """The token of a table's slice, with a further condition for its rows."""
    parsed = json.loads(token)
    slice = parsed["slice"] if "choices" in parsed else parsed
    before = slice.get("filter")
    slice["filter"] = condition if before is None else f"({before}\n) AND {condition}"
    return json.dumps(parsed).encode()
