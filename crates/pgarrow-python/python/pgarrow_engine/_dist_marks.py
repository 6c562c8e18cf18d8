"""Restart marks of writes: the table that loads in parts use as well, `pgarrow_load_marks` beside the target.

A write's mark is committed together with its rows. So a second commit of the same write finds the mark, and
loads nothing.
"""

from __future__ import annotations

import pgarrow_engine as pg

from ._dist_access import Access, texts
from ._dist_errors import options_error
from ._dist_hidden import Target, identifier, text

_TABLE = "pgarrow_load_marks"

#: Keys that the adapter has made itself begin with this. Their marks are removed after some days.
OWN = "spark write "

_DAYS_KEPT = 7


def table_of(target: Target) -> str:
    """The table of marks, quoted."""
    return f"{identifier(target.schema)}.{_TABLE}"


def ensure(access: Access, target: Target) -> None:
    """Makes the table of marks if it is missing, and checks that it may be trusted."""
    table = table_of(target)
    with access.transaction() as transaction:
        is_there = texts(transaction, f"SELECT pg_catalog.to_regclass({text(table)}) IS NOT NULL")[0][0]
    if is_there != "t":
        try:
            with access.transaction() as transaction:
                transaction.execute(
                    f"CREATE TABLE {table} (load pg_catalog.text PRIMARY KEY, target pg_catalog.text NOT "
                    "NULL, "
                    "rows pg_catalog.int8 NOT NULL, is_complete pg_catalog.bool NOT NULL, "
                    f"updated pg_catalog.timestamptz NOT NULL); COMMENT ON TABLE {table} IS "
                    "'How far loads by pgarrow have come. Without its row, a load starts anew.'"
                )
        except pg.ServerError as error:
            # Another session has made it at the same time.
            if getattr(error, "sqlstate", None) not in ("23505", "42P07"):
                raise
    with access.transaction() as transaction:
        _check(transaction, target)


def is_complete(transaction: pg.Transaction, target: Target, key: str) -> bool:
    """Whether the rows of this key are loaded.

    Raises if the key is that of a load into another table, or of one that is only partly done.
    """
    rows = texts(
        transaction,
        f"SELECT target, is_complete::pg_catalog.text FROM {table_of(target)} "
        f"WHERE load OPERATOR(pg_catalog.=) {text(key)}",
    )
    if not rows:
        return False
    into, complete = rows[0]
    if into != _shown(target):
        raise options_error(f"restart_key: this is the key of a load into {into}; choose another one")
    if complete != "true":
        raise options_error(
            "restart_key: this is the key of a load by parts that was not completed; choose another one"
        )
    return True


def completed(transaction: pg.Transaction, target: Target, keys: list[str]) -> set[str]:
    """Those of these keys whose rows are loaded."""
    if not keys:
        return set()
    values = ", ".join(text(key) for key in keys)
    rows = texts(
        transaction,
        f"SELECT load FROM {table_of(target)} WHERE is_complete AND load OPERATOR(pg_catalog.=) ANY "
        f"(ARRAY[{values}])",
    )
    return {row[0] for row in rows}


def set_mark(transaction: pg.Transaction, target: Target, key: str, rows: int) -> bool:
    """Marks the rows of a key as loaded, in the transaction that loads them. False: they are loaded already.

    Waits for another transaction that does the same, and for loads of this key by others.
    """
    table = table_of(target)
    lock = text(f"{table} {key}")
    transaction.execute(f"SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({lock}, 0))")
    if is_complete(transaction, target, key):
        return False
    made = texts(
        transaction,
        f"INSERT INTO {table} (load, target, rows, is_complete, updated) VALUES ({text(key)}, "
        f"{text(_shown(target))}, "
        f"{rows}, true, pg_catalog.clock_timestamp()) ON CONFLICT (load) DO NOTHING RETURNING 'made'",
    )
    if key.startswith(OWN):
        transaction.execute(
            f"DELETE FROM {table} WHERE is_complete AND target OPERATOR(pg_catalog.=) {text(_shown(target))} "
            f"AND pg_catalog.starts_with(load, {text(OWN)}) AND updated OPERATOR(pg_catalog.<) "
            f"(pg_catalog.now() OPERATOR(pg_catalog.-) '{_DAYS_KEPT} days'::pg_catalog.interval)"
        )
    return bool(made)


def _shown(target: Target) -> str:
    """The target's name as loads write it into their marks."""
    return f"{target.schema}.{target.name}"


def _check(transaction: pg.Transaction, target: Target) -> None:
    """Refuses a table of marks that another role, or somebody with other intentions, has made."""
    rows = texts(transaction, _CHECK.format(table=text(table_of(target)), target=target.oid))
    owner, is_trusted, is_plain = rows[0] if rows else ("nobody", "f", "f")
    if is_trusted != "t" or is_plain != "t":
        raise options_error(
            f"the restart marks in {table_of(target)} are not trusted: the table belongs to {owner}, or "
            "has another form "
            "than the one that is made. Drop it, or give it to the schema's owner"
        )


_CHECK = (
    "SELECT pg_catalog.pg_get_userbyid(c.relowner), "
    "c.relowner OPERATOR(pg_catalog.=) me.oid OR pg_catalog.pg_has_role(c.relowner, n.nspowner, 'USAGE') "
    "OR COALESCE(pg_catalog.pg_has_role(c.relowner, t.relowner, 'USAGE'), false) "
    "OR NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, c.relowner, 'USAGE'), "
    "c.relkind OPERATOR(pg_catalog.=) 'r' AND c.relpersistence OPERATOR(pg_catalog.=) 'p' AND NOT "
    "c.relrowsecurity "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid "
    "AND NOT g.tgisinternal) "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid) "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid OPERATOR(pg_catalog.=) c.oid "
    "OR h.inhparent OPERATOR(pg_catalog.=) c.oid) "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid "
    "AND NOT i.indisprimary) "
    "AND (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, a.atttypid, a.attnotnull, "
    "a.atthasdef), "
    "', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid "
    "AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2) OPERATOR(pg_catalog.=) "
    "'load 25 t f, target 25 t f, rows 20 t f, is_complete 16 t f, updated 1184 t f' "
    "FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
    "JOIN pg_catalog.pg_roles me ON me.rolname OPERATOR(pg_catalog.=) CURRENT_USER "
    "LEFT JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) '{target}'::pg_catalog.oid "
    "WHERE c.oid OPERATOR(pg_catalog.=) {table}::pg_catalog.regclass"
)
