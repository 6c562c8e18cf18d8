"""The exceptions. All of them are `Error`s, and say as data what their texts say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Error(Exception):
    """Whatever pgarrow raises. Never has a password or a table's value in its text.

    Attributes:
        kind: What failed, in a word: `"options"`, `"server"`, `"value"`, …
        sqlstate: PostgreSQL's code of five characters, if the server refused.
        schema, table, column: Where, if it is about a place; else None.
        row: The row's number, from 1, among those that one connection had read; else None.
        hints: Arguments that help, as in `numeric=text`.
        report: The report of a run that ended without some of its tables, as a dict; else None.
    """

    kind: str = "other"
    sqlstate: str | None = None
    schema: str | None = None
    table: str | None = None
    column: str | None = None
    row: int | None = None
    hints: tuple[str, ...] = ()
    report: Mapping[str, object] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions travel between processes, with what they know.
        return (type(self), self.args, self.__dict__.copy())


class OptionsError(Error, ValueError):
    """Arguments, names or a statement that cannot be used."""

    kind = "options"


class ConnectionError(Error):
    """No connection, or it was lost. Another attempt may help."""

    kind = "connection"


class ServerError(Error):
    """PostgreSQL refused. `sqlstate` says why."""

    kind = "server"


class ProtocolError(Error):
    """The server did not keep to the protocol, or a count was wrong."""

    kind = "protocol"


class ValueRefused(Error):
    """A value does not fit its Arrow type. `column`, `row` and `hints` say which, and what helps."""

    kind = "value"


class OutputError(Error):
    """A file could not be written. None that looks whole is left."""

    kind = "output"


class InputError(Error):
    """What is to be loaded could not be read."""

    kind = "input"


class Cancelled(Error):
    """Stopped by `cancel()`, by `close()`, or by the end of the interpreter."""

    kind = "cancelled"


class OutcomeUnknown(Error):
    """The connection was lost in the middle of COMMIT: the rows may be in the table or not."""

    kind = "outcome_unknown"


class Differs(Error):
    """Files are not what their manifest says, or not what the server has."""

    kind = "differs"


class Incomplete(Error):
    """Some tables failed, and the others were committed. `report` says which."""

    kind = "incomplete"


class StateError(Error):
    """Something that is closed, used up, or was opened in another process."""

    kind = "state"


_ALL: tuple[type[Error], ...] = (
    OptionsError,
    ConnectionError,
    ServerError,
    ProtocolError,
    ValueRefused,
    OutputError,
    InputError,
    Cancelled,
    OutcomeUnknown,
    Differs,
    Incomplete,
    StateError,
)
_CLASSES: dict[str, type[Error]] = {"server_differs": Differs, **{cls.kind: cls for cls in _ALL}}


def make(
    kind: str,
    text: str,
    sqlstate: str | None,
    schema: str | None,
    table: str | None,
    column: str | None,
    row: int | None,
    hints: Sequence[str],
    report: str | None,
) -> Error:
    """Makes the exception of a failure. For the native module."""
    error = _CLASSES.get(kind, Error)(text)
    error.kind = kind
    error.sqlstate = sqlstate
    error.schema, error.table, error.column, error.row = schema, table, column, row
    error.hints = tuple(hints)
    if report is not None:
        from ._report import Report

        error.report = Report.of_json(report)
    return error
