"""Writing for Spark: exactly the rows of the attempts that succeeded, once, and in one transaction.

    task attempt ──▶ hidden table (made and filled in one transaction) ──▶ message
    commit       ──▶ one transaction: mark, INSERT … SELECT from the tables of the messages, DROP

An attempt whose message Spark does not pass on has loaded nothing into the target, however often it ran.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage
from pyspark.sql.types import StructType

import pgarrow_engine as pg

from ._dist_access import Access, texts
from ._dist_cast import fitted_array
from ._dist_errors import options_error, state_error
from ._dist_hidden import Leftover, Target, create, drop, hidden_of, identifier, is_same, note, resolved
from ._dist_marks import OWN, completed, ensure, is_complete, set_mark


@dataclass(frozen=True)
class WritePlan:
    """What executors and the commit need. It is pickled, and has no password."""

    access: Access
    target: Target
    columns: list[str]
    #: What `pgarrow_engine.load` takes.
    arguments: dict[str, Any]
    key: str
    job: str
    #: Seconds since 1970.
    started: float
    is_overwriting: bool
    #: The rows of this key were loaded before: nothing is to be done.
    is_done: bool

    @property
    def note(self) -> dict[str, Any]:
        return note(self.target, self.job, self.key, self.started)


@dataclass
class Loaded(WriterCommitMessage):
    """What one attempt has loaded: a hidden table, or nothing."""

    table: str | None
    oid: int
    rows: int


def prepared(
    access: Access,
    table: str,
    schema: StructType,
    arguments: dict[str, Any],
    *,
    key: str | None,
    is_overwriting: bool,
) -> WritePlan:
    """Checks target and columns, makes the table of marks, and removes what committed writes have left."""
    job = uuid.uuid4().hex
    started = time.time()
    with access.transaction() as transaction:
        target = resolved(transaction, table)
        columns = _checked_columns(transaction, target, schema)
    ensure(access, target)
    key = key or f"{OWN}{job}"
    with access.transaction() as transaction:
        is_done = is_complete(transaction, target, key)
        found = hidden_of(transaction, target)
        done = completed(transaction, target, sorted({leftover.key for leftover in found}))
    drop(access, [leftover for leftover in found if leftover.key in done])
    return WritePlan(access, target, columns, arguments, key, job, started, is_overwriting, is_done)


def _checked_columns(transaction: pg.Transaction, target: Target, schema: StructType) -> list[str]:
    rows = texts(
        transaction,
        "SELECT attname, attgenerated FROM pg_catalog.pg_attribute "
        f"WHERE attrelid OPERATOR(pg_catalog.=) '{target.oid}'::pg_catalog.oid "
        "AND attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT attisdropped",
    )
    generated = {name: bool(kind) for name, kind in rows}
    names = schema.fieldNames()
    for name in names:
        if name not in generated:
            raise options_error(f"column {name!r}: {target.quoted} has no column of exactly this name")
        if generated[name]:
            raise options_error(f"column {name!r} of {target.quoted} is generated: leave it out, by df.drop")
    if not names:
        raise options_error(f"the DataFrame has no columns for {target.quoted}")
    if len(set(names)) != len(names):
        raise options_error("two columns of the DataFrame have the same name")
    return names


class Writer(DataSourceArrowWriter):
    """Loads, commits and aborts under a plan. Spark pickles it for executors and for the commit."""

    def __init__(self, plan: WritePlan) -> None:
        self._plan = plan

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Loaded:
        plan = self._plan
        first = None if plan.is_done else next((batch for batch in iterator if batch.num_rows), None)
        if first is None:
            for _ in iterator:
                pass
            return Loaded(None, 0, 0)
        schema = _loadable(first.schema)
        batches = (_cast(batch, schema) for batch in chain([first], iterator))
        with plan.access.transaction() as transaction:
            table, oid = create(transaction, plan.target, plan.columns, plan.note)
            reader = pa.RecordBatchReader.from_batches(schema, batches)
            report = pg.load(reader, into=table, target=transaction, mode="append", **plan.arguments)
            rows = int(report["rows"])
        return Loaded(table, oid, rows)

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        plan = self._plan
        loaded = [message for message in messages if isinstance(message, Loaded)]
        if len(loaded) != len(messages):
            raise state_error("Spark commits a write of which a task has failed; nothing was loaded")
        with plan.access.transaction() as transaction:
            if set_mark(transaction, plan.target, plan.key, sum(message.rows for message in loaded)):
                self._move(transaction, loaded)
        self._clean()

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        self._clean()

    def _move(self, transaction: pg.Transaction, loaded: list[Loaded]) -> None:
        plan = self._plan
        if not is_same(transaction, plan.target.quoted, plan.target.oid):
            raise state_error(
                f"{plan.target.quoted} was replaced by another table while Spark wrote; nothing was loaded"
            )
        if plan.is_overwriting:
            transaction.execute(f"TRUNCATE {plan.target.quoted}")
        names = ", ".join(identifier(name) for name in plan.columns)
        for message in loaded:
            if message.table is None:
                continue
            _check_rows(transaction, message)
            transaction.execute(
                f"INSERT INTO {plan.target.quoted} ({names}) OVERRIDING SYSTEM VALUE "
                f"SELECT {names} FROM {message.table}; DROP TABLE {message.table}"
            )

    def _clean(self) -> None:
        """Drops the hidden tables of this write. A failure leaves them for the next write, or for
        `drop_leftovers`."""
        try:
            with self._plan.access.transaction() as transaction:
                found = hidden_of(transaction, self._plan.target)
            drop(self._plan.access, [leftover for leftover in found if leftover.job == self._plan.job])
        except pg.Error:
            pass


def _check_rows(transaction: pg.Transaction, message: Loaded) -> None:
    table = message.table or ""
    if not is_same(transaction, table, message.oid):
        raise state_error(f"{table}, with rows of this write, is gone; nothing was loaded: write again")
    rows = texts(transaction, f"SELECT pg_catalog.count(*)::pg_catalog.text FROM {table}")[0][0]
    if rows != str(message.rows):
        raise state_error(
            f"{table} has {rows} rows instead of {message.rows}: the server has crashed while Spark wrote; "
            "nothing was "
            "loaded: write again"
        )


def _loadable(schema: pa.Schema) -> pa.Schema:
    """Spark's Arrow types as a load takes them: instants in UTC, times in microseconds."""
    return pa.schema([_loadable_field(field) for field in schema])


def _loadable_field(field: pa.Field) -> pa.Field:
    return field.with_type(_loadable_type(field.type))


def _loadable_type(of: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(of) and of.tz is not None:
        return pa.timestamp(of.unit, tz="UTC")
    if pa.types.is_time64(of):
        return pa.time64("us")
    if pa.types.is_list(of):
        return pa.list_(_loadable_field(of.value_field))
    if pa.types.is_map(of):
        return pa.map_(_loadable_field(of.key_field), _loadable_field(of.item_field))
    if pa.types.is_struct(of):
        return pa.struct([_loadable_field(of.field(index)) for index in range(of.num_fields)])
    return of


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    pairs = zip(batch.columns, schema, strict=True)
    arrays = [array if array.type == field.type else fitted_array(array, field) for array, field in pairs]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


__all__ = ["Leftover", "Loaded", "WritePlan", "Writer", "prepared"]
