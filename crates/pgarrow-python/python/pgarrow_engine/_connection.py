"""Connections, and what they do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from . import _native, _options
from ._errors import StateError
from ._memory import Memory
from ._options import Given
from ._plan import Plan, slice_of
from ._progress import Progress, shown
from ._report import Report
from ._stream import Stream, opened, polled
from ._transaction import Transaction

if TYPE_CHECKING:
    import sys

    if sys.version_info >= (3, 11):
        from typing import Unpack
    else:
        from typing_extensions import Unpack

    from ._options import Duration, ExportOptions, PlanOptions, ReadOptions, Size


def connect(
    conninfo: str | None = None,
    *,
    memory: Memory | Size | None = None,
    connect_timeout: Duration | None = None,
    pool: int = 1,
) -> Connection:
    """Connects to a PostgreSQL database.

    Args:
        conninfo: What psql takes: a URI (`postgresql://me@localhost/shop`), `key=value` pairs, or the name
            of a database. What it leaves out comes from `PGHOST` and so on, and from `~/.pgpass`; with None,
            all of it.
        memory: Bytes that all reads and exports of the connection share; a `Memory` may also be that of other
            connections. Default: each has a limit of its own (its argument `memory`).
        connect_timeout: How long connecting may take, in seconds or as in `"10s"`. A server that is starting
            up is tried again until then. Default: `connect_timeout` of the conninfo, `PGCONNECT_TIMEOUT`, or
            for ever.
        pool: Idle sessions to keep for the next read. Reads at the same time open more.

    Raises:
        OptionsError: The conninfo cannot be used.
        ConnectionError: The server cannot be reached.
        ServerError: It refuses.
    """
    if conninfo is not None and not isinstance(conninfo, str):
        raise TypeError(f"conninfo: write a text or None, not {type(conninfo).__name__}")
    if isinstance(pool, bool) or not isinstance(pool, int) or not 0 <= pool <= 100_000:
        raise TypeError("pool: write a number of sessions, from 0 on")
    shared = memory if memory is None or isinstance(memory, Memory) else Memory(memory)
    seconds = None if connect_timeout is None else _options.seconds("connect_timeout", connect_timeout)
    return Connection(_native.Source(conninfo, seconds, None if shared is None else shared._native, pool))


class Connection:
    """A PostgreSQL database. Made by `connect`. Any thread may use it, several at once.

    It holds idle sessions only; each read opens the sessions that it needs. With `with`, it is closed at the
    end of the block, and what is still read then is stopped.
    """

    def __init__(self, native: _native.Source) -> None:
        self._native = native

    def read(
        self,
        *,
        table: str | None = None,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Sequence[object] | None = None,
        only: bool = False,
        limit: int | None = None,
        query_file: _options.Path | None = None,
        progress: Progress = None,
        **options: Unpack[ReadOptions],
    ) -> Stream:
        """Reads a table, a view or a query, under one snapshot.

        Args:
            table: A name as psql takes it: folded to lower case unless it is `"quoted"`.
            query: One SELECT, VALUES, TABLE or WITH, in place of a table.
            columns: The exact names of the table's columns to read, in this order. Default: all.
            where: A condition in SQL for the table's rows.
            params: The values of `$1`, `$2`, … in the query or condition. None is NULL; other values are
                given as PostgreSQL reads their text, and the server decides their types.
            only: Only the table's own rows, not those of tables that inherit from it.
            limit: At most this many rows, by one connection.
            query_file: A file with the query.
            progress: True draws a bar; a function gets a dict about five times a second.
            **options: As the command's options: `readers`, `memory`, `batch_rows`, `numeric`, `column`, … See
                `ReadOptions`, and the book's page "Options".

        Returns:
            The stream, already reading.

        Raises:
            OptionsError: There is no such table or column, or arguments contradict each other.
            ServerError: The server refuses.
            StateError: The connection is closed, or was opened in another process.
        """
        _options.check("read", options, _options.ReadOptions)
        given = _what(table, query, columns, where, params, only, limit, query_file, options)
        return opened(lambda tell: self._native.read(given, tell), shown(progress))

    async def aread(
        self,
        *,
        table: str | None = None,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Sequence[object] | None = None,
        only: bool = False,
        limit: int | None = None,
        query_file: _options.Path | None = None,
        **options: Unpack[ReadOptions],
    ) -> Stream:
        """`read` for asyncio: planning does not hold up the event loop, and `async for batch in stream`
        neither."""
        _options.check("aread", options, _options.ReadOptions)
        given = _what(table, query, columns, where, params, only, limit, query_file, options)
        opening = self._native.start_read(given, None)
        native = await polled(opening.poll, lambda stream: stream is not None)
        assert native is not None
        return Stream(native)

    def export(
        self,
        *,
        to: _options.Path | None = None,
        format: Literal["parquet", "ipc", "ipc-stream", "postgres", "none"] | None = None,
        table: str | Sequence[str] | None = None,
        schema: str | Sequence[str] | None = None,
        exclude_table: str | Sequence[str] | None = None,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Sequence[object] | None = None,
        only: bool = False,
        limit: int | None = None,
        query_file: _options.Path | None = None,
        slice: bytes | None = None,
        progress: Progress = None,
        **options: Unpack[ExportOptions],
    ) -> Report:
        """Writes tables or a query into a file, a folder, or tables of another server.

        An output appears only when it is complete.

        Args:
            to: A file, by whose ending the format is known (`.parquet`, `.arrow`, `.arrows`); or a folder,
                if it ends in `/`, which several tables need.
            format: The format, where the ending does not say it. `"postgres"`: into the server `target`.
            table: One or several tables, or patterns as in `"sales.*"`.
            schema: All tables of schemas, by their exact names.
            exclude_table: Patterns of tables to leave out.
            slice: A token of a plan, in place of a table: only that slice.
            progress: True draws a bar; a function gets a dict about five times a second.
            **options: As the command's options: `readers`, `memory`, `compression`, `partition_by`,
                `overwrite`, … See `ExportOptions`.

        The other arguments are those of `read`.

        Returns:
            The report: `rows`, `seconds`, `files`, `warnings`, …

        Raises:
            ValueRefused: A value does not fit; `hints` has the arguments that help.
            OutputError: The output could not be written.
        """
        _options.check("export", options, _options.ExportOptions)
        more: dict[str, object] = {
            "schema": schema,
            "exclude_table": exclude_table,
            "output": to,
            "to": format,
            **options,
        }
        if slice is not None:
            token, choices = slice_of(slice)
            more |= {"slice": token}
        given = _what(table, query, columns, where, params, only, limit, query_file, more)
        if slice is not None:
            given.flags.extend(choices)
        return reported(lambda look: self._native.export(given, look), progress)

    def inspect(
        self,
        *,
        table: str | Sequence[str] | None = None,
        schema: str | Sequence[str] | None = None,
        exclude_table: str | Sequence[str] | None = None,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Sequence[object] | None = None,
        only: bool = False,
        limit: int | None = None,
        query_file: _options.Path | None = None,
        **options: Unpack[PlanOptions],
    ) -> dict[str, Any]:
        """Says what columns become in Arrow and Parquet, what could stop an export, and which argument
        decides it.

        Reads no rows. Returns the object of `pgarrow inspect --json`: `subjects`, each with `columns`,
        `warnings`, …
        """
        _options.check("inspect", options, _options.PlanOptions)
        more = {"schema": schema, "exclude_table": exclude_table, **options}
        given = _what(table, query, columns, where, params, only, limit, query_file, more)
        return dict(json.loads(self._native.inspect(given)))

    def describe(
        self,
        *,
        table: str | Sequence[str] | None = None,
        schema: str | Sequence[str] | None = None,
        exclude_table: str | Sequence[str] | None = None,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Sequence[object] | None = None,
        only: bool = False,
        limit: int | None = None,
        query_file: _options.Path | None = None,
        **options: Unpack[PlanOptions],
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Says what would be read, in which slices and why, without reading it.

        Returns the object of `pgarrow plan --json`: one for a table or query, a list for several.
        """
        _options.check("describe", options, _options.PlanOptions)
        more = {"schema": schema, "exclude_table": exclude_table, **options}
        given = _what(table, query, columns, where, params, only, limit, query_file, more)
        described: dict[str, Any] | list[dict[str, Any]] = json.loads(self._native.describe(given))
        return described

    def plan(
        self,
        *,
        table: str | Sequence[str] | None = None,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Sequence[object] | None = None,
        only: bool = False,
        query_file: _options.Path | None = None,
        hold_for: Duration | None = None,
        **options: Unpack[PlanOptions],
    ) -> Plan:
        """Plans a read, and holds its snapshot while others read the slices.

        Args:
            hold_for: Let go of the snapshot after this time, in seconds or as in `"2h"`. Default: when the
                plan is released.
            **options: `readers` and `slice_bytes` decide how many slices there are; choices about types are
                part of the tokens.

        The other arguments are those of `read`.

        Returns:
            The plan, for `with`: its `tokens` are what `read_token` reads, in any process that reaches the
            server.
        """
        _options.check("plan", options, _options.PlanOptions)
        given = _what(table, query, columns, where, params, only, None, query_file, options)
        seconds = None if hold_for is None else _options.seconds("hold_for", hold_for)
        choices = {name: value for name, value in options.items() if name in _options.TYPE_CHOICES}
        return Plan(self._native.hold(given, seconds), _options.flags(choices))

    def transaction(self) -> Transaction:
        """Begins a transaction in a session of its own, for `with`: it commits at the end of the block.

        `load(…, target=transaction)` makes a load part of it.
        """
        if self.closed:
            raise StateError("the connection is closed; connect again")
        return Transaction(_native.Transaction(self._native.conninfo))

    def execute(self, sql: str) -> None:
        """Runs one or several statements in a session of their own, and discards their rows."""
        if not isinstance(sql, str):
            raise TypeError(f"sql: write a text, not {type(sql).__name__}")
        self._native.execute(sql)

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._native.is_closed

    def close(self) -> None:
        """Stops what is read, and ends idle sessions. Does nothing the second time."""
        self._native.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<pgarrow_engine.Connection, closed>"
        endpoint, database = self._native.place
        return f"<pgarrow_engine.Connection to {database} at {endpoint}>"

    def __reduce__(self) -> Any:
        return self._native.__reduce__()


def _what(
    table: str | Sequence[str] | None,
    query: str | None,
    columns: Sequence[str] | None,
    where: str | None,
    params: Sequence[object] | None,
    only: bool,
    limit: int | None,
    query_file: _options.Path | None,
    options: Any,
) -> Given:
    """What is read, and how."""
    what: dict[str, object] = {
        "table": table,
        "query": query,
        "where": where,
        "only": only,
        "limit": limit,
        "query_file": query_file,
    }
    return Given(what | dict(options), params, columns)


def reported(
    call: Callable[[Callable[[str | None], None] | None], tuple[str, list[str]]], progress: Progress
) -> Report:
    """Makes a call that shows how far it is. The report has all warnings, also of planning."""
    show, is_complete = shown(progress), False
    try:
        text, warnings = call(None if show is None else show.look)
        report = Report.of_json(text)
        if show is not None:
            fields = ("rows", "wire_bytes", "seconds")
            last = {name: report[name] for name in fields if name in report}
            show.tell({"event": "progress", "is_last": True, **last})
        is_complete = True
    finally:
        if show is not None:
            show.close(complete=is_complete)
    said = list(report.get("warnings") or [])
    report["warnings"] = said + [warning for warning in warnings if warning not in said]
    return report


def target_of(target: object) -> str | None:
    """The conninfo of what a load goes to."""
    if isinstance(target, Connection):
        if target.closed:
            raise StateError("the connection is closed; connect again")
        return target._native.conninfo
    if target is None or isinstance(target, str):
        return target
    raise TypeError(
        f"target: write a connection, a conninfo, a transaction or None, not {type(target).__name__}"
    )
