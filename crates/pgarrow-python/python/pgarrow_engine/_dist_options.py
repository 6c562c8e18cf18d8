"""Options that came as texts, as Spark has them, to keyword arguments."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from ._dist_errors import options_error

#: What is read.
WHAT = ("table", "query", "columns", "where", "params", "only")

#: How a plan is cut and held.
PLANNING = ("readers", "slice_bytes", "split_on", "hold_for", "inconsistent", "ordered")

#: How rows are asked for.
READING = (
    "batch_rows",
    "batch_bytes",
    "memory",
    "read_mode",
    "role",
    "set",
    "read_timeout",
    "lock_timeout",
)

#: What values become.
TYPES = (
    "infinity",
    "nan",
    "out_of_range",
    "lost_digits",
    "numeric",
    "arrays",
    "trim",
    "encoding_policy",
    "unknown_types",
    "geometry",
    "column",
)

#: What read_token takes: a token carries the rest.
OF_TOKENS = ("batch_rows", "batch_bytes", "memory", "role", "set", "read_timeout", "lock_timeout")

#: Options of tokens alone: planning reads no batches.
OF_BATCHES = ("batch_rows", "batch_bytes")

#: How rows are loaded.
LOADING = ("convert",)

_OF_JSON = ("columns", "params", "column", "set")
_OF_BOOL = ("only", "trim", "inconsistent")


def parsed(options: Mapping[str, str], known: tuple[str, ...], also: tuple[str, ...] = ()) -> dict[str, Any]:
    """The options that `known` names, as keyword arguments. `also`: names that others look at.

    Names may have hyphens, as the command's, and any case. `columns`, `params`, `column` and `set` are JSON;
    `columns` may also be names with commas between them.
    """
    arguments: dict[str, Any] = {}
    for key, value in options.items():
        name = key.lower().replace("-", "_")
        if name in known:
            arguments[name] = _value(name, value)
        elif name not in also:
            near = difflib.get_close_matches(name, [*known, *also], n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise options_error(f"option {key!r}: pgarrow has no such option here{advice}")
    return arguments


def _value(name: str, text: str) -> Any:
    if name in _OF_BOOL:
        if text.lower() not in ("true", "false"):
            raise options_error(f"option {name!r}: true or false")
        return text.lower() == "true"
    if name == "columns" and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")]
    if name in _OF_JSON:
        try:
            return json.loads(text)
        except ValueError as error:
            raise options_error(f"option {name!r}: not JSON: {error}") from None
    if name in ("readers", "batch_rows") and text.isascii() and text.isdigit():
        return int(text)
    return text


def split(arguments: Mapping[str, Any], names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments that are named, and the others."""
    taken = {name: value for name, value in arguments.items() if name in names}
    return taken, {name: value for name, value in arguments.items() if name not in names}


def check_names(call: str, arguments: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuses arguments that a call does not have, as Python does."""
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}{advice}")


def check_what(arguments: Mapping[str, Any]) -> None:
    """One table or one query."""
    if ("table" in arguments) == ("query" in arguments):
        raise options_error("table, query: name one of them, and not both")
