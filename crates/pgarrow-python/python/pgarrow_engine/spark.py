"""PySpark 4: `spark.read.format("pgarrow")` and `df.write.format("pgarrow")`.

One partition reads one slice, and all slices are of one snapshot, which the driver holds:

    import pgarrow_engine.spark
    with pgarrow_engine.spark.hold(table="orders") as held:
        held.read(spark).groupBy("placed").count().show()

Without `hold`, a read is one partition: one statement, with a snapshot of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

try:
    import pyarrow  # noqa: F401
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, Filter  # noqa: F401
    from pyspark.sql.types import StructType
except ImportError as _error:
    raise ImportError(
        "pgarrow_engine.spark needs PySpark 4.1 or later: pip install 'pyspark>=4.1' pyarrow"
    ) from _error

from ._dist_access import Access
from ._dist_conninfo import for_workers, has_password
from ._dist_errors import options_error
from ._dist_held import HeldPlan
from ._dist_hidden import Leftover, dropped_leftovers, found_leftovers
from ._dist_options import LOADING, OF_TOKENS, READING, TYPES, WHAT, parsed
from ._dist_profile import FIXED, spark_schema
from ._dist_reader import Reader, ReadPlan, chooser, kinds_of, unheld
from ._dist_writer import Writer, prepared

__all__ = ["Held", "Leftover", "PgarrowDataSource", "drop_leftovers", "hold", "leftovers", "register"]

_NAME = "pgarrow"

#: Options of the adapter itself.
_OF_ADAPTER = ("conninfo", "allow_password", "held", "pushdown", "time")
_OF_WRITER = ("conninfo", "allow_password", "table", "restart_key", "role")


class PgarrowDataSource(DataSource):
    """The data source `pgarrow`. Register it by `register(spark)`."""

    #: Whether this Spark keeps the plans of several scans of one DataFrame apart.
    keeps_scans_apart = False

    _plan: ReadPlan | None = None

    @classmethod
    def name(cls) -> str:
        return _NAME

    def schema(self) -> StructType:
        """The columns, from the catalog. No row is read."""
        return self._planned().struct

    def reader(self, schema: StructType) -> Reader:
        pushdown = _option(self.options, "pushdown", "auto").lower()
        if pushdown not in ("auto", "true", "false"):
            raise options_error("option 'pushdown': auto, true or false")
        is_pushing = self.keeps_scans_apart if pushdown == "auto" else pushdown == "true"
        return Reader(self._planned(), schema, is_pushing=is_pushing)

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceArrowWriter:
        # Spark has fewer types than PostgreSQL: a uuid is a string there. Each value is checked.
        arguments = {"convert": "check", **parsed(self.options, LOADING, also=_OF_WRITER)}
        table = _option(self.options, "table")
        if not table:
            raise options_error("option 'table': name the table to load")
        access = Access(_conninfo(self.options), _option(self.options, "role") or None)
        key = _option(self.options, "restart_key") or None
        return Writer(prepared(access, table, schema, arguments, key=key, is_overwriting=overwrite))

    def _planned(self) -> ReadPlan:
        # Spark pickles the data source after schema(), so the catalog is asked once.
        if self._plan is None:
            self._plan = self._new_plan()
        return self._plan

    def _new_plan(self) -> ReadPlan:
        conninfo = _conninfo(self.options)
        held = _option(self.options, "held")
        if not held:
            arguments = parsed(self.options, (*WHAT, *READING, *TYPES, "time"), also=_OF_ADAPTER)
            return unheld(conninfo, arguments)
        plan = ReadPlan.unpacked(held)
        given = parsed(self.options, (*OF_TOKENS, "where"), also=_OF_ADAPTER)
        plan.where = given.pop("where", None)
        plan.arguments = {**plan.arguments, **given}
        if "conninfo" in self.options:
            plan.conninfo = conninfo
        return plan


class PushingDataSource(PgarrowDataSource):
    """The data source for a Spark that keeps the plans of scans apart: filters are pushed by default."""

    keeps_scans_apart = True


def register(spark: SparkSession) -> None:
    """Makes the format `pgarrow` known to a session. A second call does no harm."""
    spark.dataSource.register(PushingDataSource if _keeps_scans_apart(spark) else PgarrowDataSource)


class Held(HeldPlan):
    """A held snapshot, to be read by Spark. `hold` makes it."""

    def __init__(
        self,
        conninfo: str | None,
        arguments: Mapping[str, Any],
        *,
        time: str,
        worker_conninfo: str | None,
        allow_password: bool,
    ) -> None:
        super().__init__(
            conninfo,
            {**FIXED, **arguments},
            chooser(time),
            worker_conninfo=worker_conninfo,
            allow_password=allow_password,
            call="hold",
        )
        self._struct = spark_schema(self._schema, {"time": time})
        self._kinds = kinds_of(self._plan, self._schema, self._arguments)

    @property
    def schema(self) -> StructType:
        """The Spark schema."""
        return self._struct

    def options(self) -> dict[str, str]:
        """Options for `spark.read.format("pgarrow").options(**…)`. No password is in them; a condition and
        the values of `params` are, unless PostgreSQL holds them."""
        tokens = [token.decode() for token in self._tokens]
        plan = ReadPlan(self._conninfo, self._struct.json(), self._kinds, self._for_tokens, tokens)
        allowed = {"allow_password": "true"} if has_password(self._conninfo) else {}
        return {"held": plan.packed(), "conninfo": self._conninfo, **allowed}

    def read(
        self, spark: SparkSession, *, where: str | None = None, pushdown: bool | None = None
    ) -> DataFrame:
        """A new DataFrame of the held rows, one partition for each slice.

        `where`: a condition in SQL, by which PostgreSQL chooses among the rows of a table. `pushdown`:
        whether Spark's filters are pushed to PostgreSQL; None: where Spark keeps scans apart. With True, a
        DataFrame may be filtered in one way only: see the page about Spark.
        """
        register(spark)
        reader = spark.read.format(_NAME).options(**self.options())
        if where is not None:
            if "table" not in self._arguments:
                raise options_error("where: of a table only; write the condition into the query")
            reader = reader.option("where", where)
        if pushdown is not None:
            reader = reader.option("pushdown", "true" if pushdown else "false")
        return reader.load()


def hold(
    conninfo: str | None = None,
    *,
    worker_conninfo: str | None = None,
    allow_password: bool = False,
    time: str = "text",
    **what: Any,
) -> Held:
    """Plans a table or a query, and holds the snapshot of its slices: use it by `with`.

    `conninfo`: as `pgarrow_engine.connect` takes it; its password stays in this process.
    `worker_conninfo`: what executors connect with; default: `conninfo` without its password, which executors
    take from their environment. `allow_password`: executors may get a password with Spark's options, which
    Spark may show.
    `time`: `"time"` reads `time` as Spark's TIME, where the default is text.
    `what`: `table` or `query`, `columns`, `where`, `params`, `slice_bytes`, `readers`, choices of types, as
    `Connection.plan` takes them.
    """
    return Held(conninfo, what, time=time, worker_conninfo=worker_conninfo, allow_password=allow_password)


def leftovers(conninfo: str | None = None, *, table: str) -> list[Leftover]:
    """The hidden tables of Spark's writes into `table`, also of those that go on."""
    return found_leftovers(conninfo, table)


def drop_leftovers(conninfo: str | None = None, *, table: str, older_than: float) -> list[Leftover]:
    """Drops hidden tables of writes into `table` that began more than `older_than` seconds ago; returns them.

    A write that goes on for longer than that loses its rows, and fails: nothing of it is loaded.
    """
    return dropped_leftovers(conninfo, table, older_than)


def _option(options: Mapping[str, str], name: str, default: str = "") -> str:
    """An option of the adapter itself. Names may have hyphens, as all others."""
    return options.get(name) or options.get(name.replace("_", "-")) or default


def _conninfo(options: Mapping[str, str]) -> str:
    """What to connect with, for the planner and executors. Checked, since Spark shows options."""
    conninfo = options.get("conninfo")
    is_allowed = _option(options, "allow_password").lower() == "true"
    if has_password(conninfo) and not is_allowed:
        raise options_error(
            "option 'conninfo' has a password, which Spark may show in plans, logs and its UI: let "
            "executors take it "
            "from PGPASSWORD, ~/.pgpass or a service file, or set option 'allow_password' to true"
        )
    return conninfo if is_allowed and conninfo else for_workers(conninfo)


def _keeps_scans_apart(spark: SparkSession) -> bool:
    """Whether a pushed filter stays with its scan.

    In Spark 4.1 to 4.3, what the last pushdown planned is kept with the DataFrame's source, and every other
    scan of the same DataFrame reads that: `df.filter(…)` and then `df.count()` counts too few rows. Later
    versions keep it in the scan's builder.
    """
    package = "org.apache.spark.sql.execution.datasources.v2.python"
    try:
        class_of = cast(Any, spark.sparkContext._jvm).java.lang.Class.forName
        shared = {method.getName() for method in class_of(f"{package}.PythonDataSourceV2").getMethods()}
        own = {field.getName() for field in class_of(f"{package}.PythonScanBuilder").getDeclaredFields()}
        return "readInfo" in own and "setReadInfo" not in shared
    except Exception:
        # Spark Connect has no JVM here, and other versions have other classes.
        return False
