"""Transactions that loads can be part of."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from . import _native
from ._errors import StateError
from ._options import parameters


class Transaction:
    """A transaction in a session of its own. Made by `Connection.transaction`, for `with`.

    It commits at the end of the block, and is rolled back if an exception leaves the block.
    """

    def __init__(self, native: _native.Transaction) -> None:
        # None when it is over: its session ends with it.
        self._native: _native.Transaction | None = native
        native.begin()

    def execute(self, sql: str) -> None:
        """Runs one or several statements, and discards their rows."""
        native = self._open()
        if not isinstance(sql, str):
            raise TypeError(f"sql: write a text, not {type(sql).__name__}")
        native.execute(sql)

    def query_text(self, sql: str, params: Sequence[object] = ()) -> list[tuple[str | None, ...]]:
        """Runs one statement, and returns its rows as PostgreSQL prints them; None is NULL."""
        native = self._open()
        if not isinstance(sql, str):
            raise TypeError(f"sql: write a text, not {type(sql).__name__}")
        rows = native.query_text(sql, parameters(params))
        return [tuple(row) for row in rows]

    def commit(self) -> None:
        """Commits. Afterwards the transaction can be used no more.

        Raises:
            ServerError: A deferred constraint failed, and nothing is committed.
            OutcomeUnknown: The connection was lost meanwhile.
        """
        native, self._native = self._open(), None
        native.commit()

    def rollback(self) -> None:
        """Takes everything back. Does nothing if the transaction is over."""
        native, self._native = self._native, None
        if native is not None:
            native.rollback()

    def _open(self) -> _native.Transaction:
        if self._native is None:
            raise StateError("the transaction is over; begin another")
        return self._native

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._native is None:
            return
        if kind is None:
            self.commit()
            return
        try:
            self.rollback()
        except Exception as also:
            # What left the block is the reason; the server rolls back by itself when the session is gone.
            if error is not None and hasattr(error, "add_note"):
                error.add_note(f"the transaction could not be rolled back either: {also}")

    def __reduce__(self) -> Any:
        raise TypeError("a transaction cannot be pickled: it is a session of this process")
