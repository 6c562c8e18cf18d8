"""Plans that are held, and the tokens of their slices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _native, _options
from ._errors import OptionsError
from ._options import Given
from ._progress import Progress, shown
from ._stream import Stream, opened

if TYPE_CHECKING:
    import sys

    if sys.version_info >= (3, 11):
        from typing import Unpack
    else:
        from typing_extensions import Unpack

    from ._connection import Connection
    from ._native import Schema
    from ._options import TokenOptions


class Plan:
    """A planned read whose snapshot is held. Made by `Connection.plan`, for `with`.

    All slices are of the same moment, whoever reads them and when, as long as the plan is held. A held
    snapshot keeps VACUUM from removing rows: let go soon.
    """

    def __init__(self, native: _native.Held, choices: Sequence[str]) -> None:
        self._native = native
        self._choices = list(choices)

    @property
    def tokens(self) -> list[bytes]:
        """A token for each slice, for `read_token`. No password is in them, but what is read is: a query's
        values, a condition."""
        return [_token(text, self._choices) for text in self._native.slices]

    @property
    def schema(self) -> Schema:
        """The schema of all slices, for whatever takes `__arrow_c_schema__`."""
        return self._native.schema

    @property
    def snapshot(self) -> str:
        """The snapshot, as `pg_current_snapshot()` prints it."""
        return self._native.snapshot

    @property
    def subject(self) -> str:
        """What is read: `public.orders`, or `the query`."""
        return self._native.subject

    @property
    def estimated_rows(self) -> int | None:
        """About how many rows there are, if the server knows."""
        return self._native.estimated[0]

    @property
    def estimated_bytes(self) -> int:
        """About how many bytes they have on the server's disk; 0 if that is not known."""
        return self._native.estimated[1]

    def query_text(self, sql: str) -> list[tuple[str | None, ...]]:
        """Runs a statement under the snapshot, and returns its rows as PostgreSQL prints them.

        A statement that fails, or is interrupted, takes the snapshot with it: plan again.
        """
        if not isinstance(sql, str):
            raise TypeError(f"sql: write a text, not {type(sql).__name__}")
        return [tuple(row) for row in self._native.query_text(sql)]

    def check(self) -> None:
        """Asks the server whether the snapshot is still there.

        Raises:
            ConnectionError, ServerError: It is gone.
            StateError: The plan was released.
        """
        self._native.check()

    def release(self) -> None:
        """Lets go of the snapshot. Does nothing the second time. A statement that runs under it is
        cancelled."""
        self._native.release()

    def __enter__(self) -> Plan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.release()
        except Exception as also:
            # What left the block is the reason.
            if error is None:
                raise
            if hasattr(error, "add_note"):
                error.add_note(f"the plan could not be released either: {also}")

    def __repr__(self) -> str:
        return f"<pgarrow_engine.Plan of {self.subject}, {len(self._native.slices)} slices>"

    def __reduce__(self) -> Any:
        return self._native.__reduce__()


def read_token(
    source: Connection | str | None,
    token: bytes,
    *,
    progress: Progress = None,
    **options: Unpack[TokenOptions],
) -> Stream:
    """Reads the slice of a token, under the snapshot that its plan holds.

    Args:
        source: A connection to the same server, or its conninfo; None is the environment, as psql has it.
        token: One of `Plan.tokens`, or a token of `pgarrow hold`.
        **options: `batch_rows`, `memory`, … What types become is in the token.

    Raises:
        ServerError: The snapshot is gone, since its plan was released or its process ended.
        OptionsError: It is no token, or the table was changed or replaced.
    """
    from ._connection import Connection, connect

    _options.check("read_token", options, _options.TokenOptions)
    text, choices = slice_of(token)
    given = Given(options)
    given.flags.extend(choices)
    connection = source if isinstance(source, Connection) else connect(source, pool=0)
    return opened(lambda tell: connection._native.read_slice(text, given, tell), shown(progress))


def _token(text: str, choices: list[str]) -> bytes:
    """A slice with the choices about types that it was planned with; without any, the command's own token."""
    if not choices:
        return text.encode()
    return json.dumps({"slice": json.loads(text), "choices": choices}).encode()


def slice_of(token: object) -> tuple[str, list[str]]:
    """The slice of a token, and its choices about types."""
    if not isinstance(token, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"token: write bytes, not {type(token).__name__}")
    refused = OptionsError("this is no token of a plan")
    try:
        text = token if isinstance(token, str) else bytes(token).decode()
        text.encode()
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise refused from None
    if not isinstance(parsed, dict):
        raise refused
    if "choices" not in parsed:
        return text, []
    choices = parsed["choices"]
    # A token comes from elsewhere: nothing but choices about types may be in it.
    known = {"--" + name.replace("_", "-") for name in _options.TYPE_CHOICES}
    if not isinstance(choices, list) or not all(
        isinstance(choice, str) and choice.split("=", 1)[0] in known for choice in choices
    ):
        raise refused
    return json.dumps(parsed.get("slice")), choices
