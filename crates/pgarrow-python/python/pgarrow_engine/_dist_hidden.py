"""Hidden tables beside a target: the rows of one attempt of a Spark task, until the write commits.

An attempt makes its table and fills it in one transaction, so a table is there with all its rows or not at
all. Its comment says in JSON which write it belongs to. It is unlogged: rows are written once, to the target;
after a crash of the server the table is empty, which the commit notices by the number of rows.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import pgarrow_engine as pg

from ._dist_access import Access, texts
from ._dist_errors import options_error
from ._dist_filters import quoted_text

#: As other loads of pgarrow name their hidden tables.
_INFIX = "_pgarrow_"

#: Bytes of a name at most: `NAMEDATALEN` - 1.
_NAME_BYTES_MAX = 63

#: The comment of other loads' hidden tables is another one, so these are never taken for theirs.
_COMMENT = "pgarrow spark write "

#: How long to wait for a lock on a table to be dropped: a session that holds one is about to end.
_LOCK_TIMEOUT = "3s"


@dataclass(frozen=True)
class Target:
    """The table that is loaded."""

    oid: int
    schema: str
    name: str

    @property
    def quoted(self) -> str:
        return f"{identifier(self.schema)}.{identifier(self.name)}"


@dataclass(frozen=True)
class Leftover:
    """A hidden table of a write by Spark."""

    #: Schema and name, quoted.
    table: str
    #: `pg_class.oid`.
    oid: int
    #: The write's own id, and its restart key.
    job: str
    key: str
    #: When the write began, in seconds since 1970, by the clock of Spark's driver.
    started: float


def identifier(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def quoted(value: str) -> str:
    """A text in quotes, as SQL takes it."""
    found = quoted_text(value)
    if found is None:
        raise options_error("a NUL byte, or half of a surrogate pair, in a name or a key")
    return found


def text(value: str) -> str:
    """A text as an SQL literal of type text."""
    return f"{quoted(value)}::pg_catalog.text"


def resolved(transaction: pg.Transaction, table: str) -> Target:
    """The table of this name, as the search path finds it."""
    sql = (
        "SELECT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind, c.relpersistence "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
        "c.relnamespace "
        f"WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({text(table)})"
    )
    rows = texts(transaction, sql)
    if not rows:
        raise options_error(f"table {table!r}: there is no such table; Spark writes into one that exists")
    oid, schema, name, kind, persistence = rows[0]
    if kind not in ("r", "p") or persistence == "t":
        raise options_error(f"table {table!r}: not a table that Spark can load")
    return Target(int(oid), schema, name)


def name_beside(name: str) -> str:
    """A unique name beside a table of this name."""
    end = _INFIX + secrets.token_hex(8)
    room = _NAME_BYTES_MAX - len(end)
    return name.encode()[:room].decode(errors="ignore") + end


def create(
    transaction: pg.Transaction, target: Target, columns: list[str], note: dict[str, Any]
) -> tuple[str, int]:
    """Makes a hidden table with these columns of the target; returns its quoted name and its OID.

    Nobody but its owner has rights on it, whatever default privileges say.
    """
    table = f"{identifier(target.schema)}.{identifier(name_beside(target.name))}"
    names = ", ".join(identifier(name) for name in columns)
    transaction.execute(
        f"CREATE UNLOGGED TABLE {table} AS SELECT {names} FROM {target.quoted} WITH NO DATA; "
        f"COMMENT ON TABLE {table} IS {quoted(_COMMENT + json.dumps(note))}"
    )
    rows = texts(
        transaction,
        "SELECT c.oid::pg_catalog.text, CASE WHEN a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid "
        "THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) ELSE 'PUBLIC' END, "
        "a.grantee OPERATOR(pg_catalog.<>) c.relowner "
        "FROM pg_catalog.pg_class c LEFT JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a ON true "
        f"WHERE c.oid OPERATOR(pg_catalog.=) {text(table)}::pg_catalog.regclass",
    )
    for grantee in sorted({row[1] for row in rows if row[2] == "t"}):
        transaction.execute(f"REVOKE ALL ON {table} FROM {grantee} CASCADE")
    return table, int(rows[0][0])


def note(target: Target, job: str, key: str, started: float) -> dict[str, Any]:
    """What the comment of a hidden table says."""
    return {
        "into": target.quoted,
        "job": job,
        "key": key,
        "started": started,
        "if": "the write has ended, drop it",
    }


def hidden_of(transaction: pg.Transaction, target: Target) -> list[Leftover]:
    """The hidden tables beside a target that this role may drop."""
    sql = (
        "SELECT c.oid::pg_catalog.text, c.relname, pg_catalog.obj_description(c.oid, 'pg_class') "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
        "c.relnamespace "
        f"WHERE n.nspname OPERATOR(pg_catalog.=) {text(target.schema)} AND c.relkind "
        "OPERATOR(pg_catalog.=) 'r' "
        f"AND pg_catalog.strpos(c.relname::pg_catalog.text, {text(_INFIX)}) OPERATOR(pg_catalog.>) 0 "
        "AND pg_catalog.pg_has_role(c.relowner, 'USAGE') "
        f"AND pg_catalog.starts_with(pg_catalog.obj_description(c.oid, 'pg_class'), {text(_COMMENT)}) "
        "ORDER BY c.oid"
    )
    found = []
    for oid, name, comment in texts(transaction, sql):
        try:
            said = json.loads(comment[len(_COMMENT) :])
            table = f"{identifier(target.schema)}.{identifier(name)}"
            leftover = Leftover(table, int(oid), said["job"], said["key"], float(said["started"]))
        except (ValueError, KeyError, TypeError):
            continue
        if said.get("into") == target.quoted:
            found.append(leftover)
    return found


def drop(access: Access, tables: list[Leftover]) -> list[Leftover]:
    """Drops the tables that are still what they were, each in a transaction of its own; returns those that
    are gone. One that another session uses stays."""
    dropped = []
    for table in tables:
        try:
            with access.transaction() as transaction:
                transaction.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                if is_same(transaction, table.table, table.oid):
                    transaction.execute(f"DROP TABLE {table.table}")
            dropped.append(table)
        except pg.ServerError:
            continue
    return dropped


def is_same(transaction: pg.Transaction, table: str, oid: int) -> bool:
    """Whether the name still means the table of this OID."""
    sql = f"SELECT pg_catalog.to_regclass({text(table)})::pg_catalog.oid::pg_catalog.text"
    return bool(texts(transaction, sql)[0][0] == str(oid))


def found_leftovers(conninfo: str | None, table: str) -> list[Leftover]:
    """The hidden tables of writes by Spark into a table."""
    with Access(conninfo).transaction() as transaction:
        return hidden_of(transaction, resolved(transaction, table))


def dropped_leftovers(conninfo: str | None, table: str, older_than: float) -> list[Leftover]:
    """Drops those whose write began more than this many seconds ago."""
    before = time.time() - older_than
    found = [leftover for leftover in found_leftovers(conninfo, table) if leftover.started < before]
    return drop(Access(conninfo), found)
