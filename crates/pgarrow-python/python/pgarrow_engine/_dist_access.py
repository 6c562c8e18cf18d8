"""Transactions of a write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pgarrow_engine as pg


@dataclass(frozen=True)
class Access:
    """Whom and how to connect. It is pickled, and has no password."""

    conninfo: str | None
    #: The role that writes, by its exact name (SET ROLE); None: the one that connects.
    role: str | None = None

    @contextmanager
    def transaction(self) -> Iterator[pg.Transaction]:
        """A transaction in a session of its own, which commits at the end of the block."""
        with pg.connect(self.conninfo) as db, db.transaction() as transaction:
            if self.role is not None:
                name = self.role.replace('"', '""')
                transaction.execute(f'SET LOCAL ROLE "{name}"')
            yield transaction


def texts(transaction: pg.Transaction, sql: str) -> list[tuple[str, ...]]:
    """The rows of a statement as PostgreSQL prints them; NULL is an empty text."""
    return [tuple(value or "" for value in row) for row in transaction.query_text(sql)]
