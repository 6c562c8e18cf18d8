"""Reading for Spark: the schema, the filters, a partition for each slice."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, Filter, InputPartition
from pyspark.sql.types import StructType

import pgarrow_engine as pg

from ._dist_cast import fitted
from ._dist_errors import options_error
from ._dist_filters import comparable, condition
from ._dist_held import WORKER_MEMORY, Choose, batches, planned, read_slice
from ._dist_options import OF_BATCHES, check_what, split
from ._dist_profile import FIXED, arrow_schema, spark_schema, text_choices

#: The call that holds snapshots, in errors.
HOW = "pgarrow_engine.spark.hold"


@dataclass
class ReadPlan:
    """What the planner knows and executors need. It is pickled, and has no password."""

    conninfo: str
    #: The Spark schema, as JSON.
    schema: str
    #: The kinds of the columns that filters may be pushed for.
    kinds: dict[str, str]
    #: What `Connection.read` takes, if nothing is held.
    arguments: dict[str, Any]
    #: The slices of a held plan.
    tokens: list[str] = field(default_factory=list)
    #: A further condition for a held table, in SQL.
    where: str | None = None

    @property
    def struct(self) -> StructType:
        return StructType.fromJson(json.loads(self.schema))

    def packed(self) -> str:
        """The plan as the text of an option."""
        return base64.b85encode(zlib.compress(json.dumps(self.__dict__).encode())).decode()

    @classmethod
    def unpacked(cls, text: str) -> ReadPlan:
        try:
            return cls(**json.loads(zlib.decompress(base64.b85decode(text))))
        except (ValueError, TypeError, zlib.error) as error:
            raise options_error(f"option 'held' is not what hold() made: {error}") from None


def chooser(time: str) -> Choose:
    """Decides about types for Spark. `time`: what becomes of `time`, "text" or "time"."""
    return lambda schema, arguments: text_choices(schema, {**arguments, "time": time})


def kinds_of(plan: pg.Plan, schema: pa.Schema, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The columns that filters may be pushed for: none of a query."""
    if "table" not in arguments:
        return {}
    encoding = plan.query_text("SELECT pg_catalog.getdatabaseencoding()")[0][0]
    return comparable(schema, arguments, is_utf8=encoding == "UTF8")


def unheld(conninfo: str, arguments: Mapping[str, Any]) -> ReadPlan:
    """The plan of a read that nobody holds: one partition."""
    check_what(arguments)
    time = str(arguments.get("time", "text"))
    asked = {name: value for name, value in arguments.items() if name != "time"}
    with pg.connect(conninfo) as db:
        plan, chosen = planned(db, {**FIXED, **asked, "readers": 1}, chooser(time))
        with plan:
            schema = pa.schema(plan.schema)
            kinds = kinds_of(plan, schema, chosen)
    batches, _ = split(asked, OF_BATCHES)
    return ReadPlan(conninfo, spark_schema(schema, {"time": time}).json(), kinds, {**chosen, **batches})


class Slice(InputPartition):
    """One slice of a held plan, or all that is read."""

    def __init__(self, token: str | None) -> None:
        super().__init__(None)
        self.token = token

    def __repr__(self) -> str:
        return "Slice()"


class Reader(DataSourceReader):
    """Reads under a plan. Spark pickles it for its executors."""

    def __init__(self, plan: ReadPlan, schema: StructType, *, is_pushing: bool) -> None:
        struct = plan.struct
        if schema != struct:
            raise options_error(
                "the schema of .schema(…) is not the table's; leave it out: values keep their types"
            )
        self._plan = plan
        self._where = f"({plan.where}\n)" if plan.where is not None else None
        self._is_pushing = is_pushing
        # Spark refuses a reader that has a pushFilters of its own where pushdown is off, and looks at
        # __func__ to see that. So one and the same reader works with pushdown on and off.
        self.pushFilters = PushFilters(self)  # type: ignore[method-assign]

    def push(self, filters: list[Filter]) -> Iterable[Filter]:
        """Takes the filters that PostgreSQL applies exactly as Spark would; returns the others."""
        if not self._is_pushing:
            return filters
        conditions = [condition(filter, self._plan.kinds) for filter in filters]
        taken = [text for text in (self._where, *conditions) if text is not None]
        self._where = " AND ".join(taken) or None
        return [filter for filter, text in zip(filters, conditions, strict=True) if text is None]

    def partitions(self) -> list[InputPartition]:
        if self._plan.tokens:
            return [Slice(token) for token in self._plan.tokens]
        return [Slice(None)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, Slice)
        schema = arrow_schema(self._plan.struct)
        for batch in self._batches(partition.token):
            yield fitted(batch, schema)

    def _batches(self, token: str | None) -> Iterator[pa.RecordBatch]:
        plan = self._plan
        if token is not None:
            return read_slice(plan.conninfo, token.encode(), plan.arguments, how=HOW, where=self._where)
        return self._batches_of_one_read()

    def _batches_of_one_read(self) -> Iterator[pa.RecordBatch]:
        arguments = {"memory": WORKER_MEMORY, **self._plan.arguments}
        where = arguments.get("where")
        if self._where is not None:
            arguments["where"] = f"({where}\n) AND {self._where}" if where else self._where
        with pg.connect(self._plan.conninfo) as db, db.read(**arguments) as stream:
            yield from batches(stream)


class PushFilters:
    """`Reader.pushFilters`, which Spark takes for the base class's."""

    __func__ = staticmethod(DataSourceReader.pushFilters)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __call__(self, filters: list[Filter]) -> Iterable[Filter]:
        return self._reader.push(filters)
