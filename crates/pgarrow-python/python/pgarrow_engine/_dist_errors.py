"""Errors of the adapters, as those of the package: their texts name arguments and options."""

from __future__ import annotations

import pgarrow_engine as pg

#: SQLSTATEs by which a server says that a snapshot is not there: invalid_parameter_value up to 16 or so,
#: undefined_object later.
_SNAPSHOT_GONE = ("22023", "42704")


def options_error(text: str) -> Exception:
    """What the caller has to change."""
    return pg.OptionsError(text)


def state_error(text: str) -> Exception:
    """A thing that was used when it could not be."""
    return pg.StateError(text)


def is_snapshot_gone(error: BaseException) -> bool:
    """Whether a slice could not be read since nobody holds its snapshot any more."""
    text = str(error).lower()
    return getattr(error, "sqlstate", None) in _SNAPSHOT_GONE and "snapshot" in text


def snapshot_gone(how: str, error: BaseException) -> Exception:
    """Says how to hold the snapshot for long enough. `how`: the call that holds it."""
    text = (
        f"the snapshot of this read is gone: {how} held it, and was left, released, or its process or its "
        f"connection has ended. Run the action while it is held, or read again. ({error})"
    )
    return pg.StateError(text)
