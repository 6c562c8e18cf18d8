"""DB-API 2.0 over the ADBC driver that this wheel contains.

    from pgarrow_engine import dbapi
    with dbapi.connect("postgresql://me@host/shop") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, total FROM orders WHERE total > $1", parameters=(100,))
        table = cursor.fetch_arrow_table()

Everything but `connect` is that of `adbc_driver_manager.dbapi`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from adbc_driver_manager import dbapi as _dbapi
except ImportError as _error:
    raise ImportError(
        "pgarrow_engine.dbapi needs the driver manager: pip install adbc-driver-manager"
    ) from _error

from . import _native

__all__ = ["connect"]

#: The function with which a driver manager begins to use the driver.
ENTRYPOINT = "PgarrowDriverInit"

_PLAIN = ("username", "password")


def connect(uri: str | None = None, *, autocommit: bool = False, **options: Any) -> _dbapi.Connection:
    """Connects to a database by the ADBC driver.

    `uri` is a connection string as psql takes it: a URI, or `key=value` pairs. What it leaves out comes from
    the `PG*` environment variables. With `autocommit`, each statement commits itself; otherwise `commit` and
    `rollback` of the connection end transactions.

    `options` are `username`, `password`, and the driver's own, without `pgarrow.` in front:
    `numeric="float64"`, `batch_rows=10_000`, `memory="64M"`, `column={"total": "decimal(20,4)"}`. They hold
    for all statements; `cursor.adbc_statement.set_options` sets them for one, with `pgarrow.` in front.
    """
    kwargs: dict[str, Any] = {} if uri is None else {"uri": uri}
    for name, value in options.items():
        if name == "column":
            kwargs.update(_columns(value))
        else:
            kwargs[name if name in _PLAIN else f"pgarrow.{name}"] = _text(value)
    return _dbapi.connect(_native.__file__, entrypoint=ENTRYPOINT, db_kwargs=kwargs, autocommit=autocommit)


def _columns(choices: object) -> dict[str, str]:
    if not isinstance(choices, Mapping):
        raise TypeError('column takes a mapping of names to choices: column={"total": "text"}')
    return {f"pgarrow.column.{name}": str(choice) for name, choice in choices.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
