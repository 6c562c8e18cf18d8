"""Keywords as the options of the command, which checks them."""

from __future__ import annotations

import difflib
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeAlias, TypedDict

from ._errors import OptionsError

Path: TypeAlias = "str | os.PathLike[str]"
#: Bytes as a number, or a text as in `"256M"`.
Size: TypeAlias = "int | str"
#: Seconds as a number, or a text as in `"10m"`.
Duration: TypeAlias = "int | float | str"
ColumnChoices: TypeAlias = "Mapping[str, str | Mapping[str, str | bool]]"


class TypeChoices(TypedDict, total=False):
    """What types become in Arrow, and what becomes of values that do not fit. See the book's page of
    policies."""

    infinity: Literal["error", "null", "saturate"]
    nan: Literal["error", "null"]
    out_of_range: Literal["error", "null", "saturate"]
    lost_digits: Literal["error", "round"]
    numeric: str
    interval: Literal["month-day-nano", "struct", "text"]
    arrays: Literal["list", "nested", "shaped"]
    enum: Literal["dictionary", "text"]
    trim: bool
    strings: Literal["utf8", "large-utf8", "utf8-view"]
    timestamp_unit: Literal["us", "ms", "ns"]
    encoding_policy: Literal["error", "replace", "latin1", "binary"]
    unknown_types: Literal["text", "error"]
    geometry: Literal["wkb", "ewkb"]
    column: ColumnChoices


class SessionOptions(TypedDict, total=False):
    """Settings of the sessions on the server."""

    role: str
    set: Mapping[str, str]
    read_timeout: Duration
    lock_timeout: Duration


class ReadingOptions(SessionOptions, total=False):
    """How rows are read."""

    readers: int
    memory: Size
    ordered: bool
    split_on: str
    slice_bytes: Size
    read_mode: Literal["auto", "copy", "select", "cursor", "pages"]
    inconsistent: bool


class PlanOptions(TypeChoices, ReadingOptions, total=False):
    """What `inspect`, `describe` and `plan` take."""


class ReadOptions(PlanOptions, total=False):
    """What `read` and `aread` take."""

    batch_rows: int
    batch_bytes: Size
    retries: int
    field_ids: bool


class TokenOptions(SessionOptions, total=False):
    """What `read_token` takes: a token says itself what types become."""

    memory: Size
    batch_rows: int
    batch_bytes: Size
    field_ids: bool


class HowOptions(TypedDict, total=False):
    """How tables are loaded."""

    mode: Literal["append", "truncate", "create", "replace", "upsert"]
    method: Literal["copy", "insert", "auto"]
    writers: int
    on_conflict: Literal["error", "skip", "update"]
    convert: Literal["widen", "check", "round"]
    types_from: Literal["metadata", "arrow"]
    identity: Literal["keep", "generate"]
    add_columns: bool
    no_freeze: bool
    vacuum: bool
    no_analyze: bool
    keep_going: bool
    key: str | Sequence[str]


class ExportOptions(ReadOptions, HowOptions, total=False):
    """What `export` takes."""

    overwrite: bool
    verify: bool
    report: Path
    metrics: Path
    compression: str
    row_group_rows: int
    file_size: Size
    partition_by: str | Sequence[str]
    keep_partition_columns: bool
    parquet_column: Mapping[str, str]
    parquet_compat: bool
    origin: bool
    sorted_by: str | Sequence[str]
    reject: Path
    reject_limit: int
    target: str
    into: str
    into_schema: str
    create_types: bool
    target_role: str
    target_set: Mapping[str, str]


class LoadOptions(HowOptions, SessionOptions, total=False):
    """What `load` takes."""

    into_schema: str
    columns: Sequence[str]
    format: Literal["parquet", "ipc", "ipc-stream"]
    commit_every: int
    restart_key: str
    reject: Path
    reject_limit: int
    report: Path
    overwrite: bool
    connect_timeout: Duration


class JobOptions(TypedDict, total=False):
    """What `run` takes; a job file has all the others."""

    report: Path
    metrics: Path
    reject: Path
    reject_limit: int
    take_over: bool
    resume: bool
    full: bool
    verify: bool
    keep_going: bool
    snapshot: str
    allow_mixed_snapshots: bool


#: A hundred years.
_SECONDS_MAX = 3_155_760_000


def quoted(name: str) -> str:
    """An exact name, as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def size(name: str, value: object) -> str:
    """A number of bytes, or a text as in `256M`."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(
            f'{name}: write a number of bytes, or a text as in "256M", not {type(value).__name__}'
        )
    return str(value)


def seconds(name: str, value: object) -> float:
    """A number of seconds, or a text as in `10m`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # Neither negative, nor infinite, nor NaN.
        if 0 <= value <= _SECONDS_MAX:
            return float(value)
        raise OptionsError(f"{name}: {value!r} is no time; write seconds from 0 to {_SECONDS_MAX}")
    units = {"s": 1, "m": 60, "h": 3600}
    if isinstance(value, str) and value.isascii() and value[:-1].isdecimal() and value[-1:] in units:
        return seconds(name, int(value[:-1]) * units[value[-1]])
    raise TypeError(f'{name}: write a number of seconds, or a text as in "10s", "5m", "2h"')


def _text(name: str, value: object) -> list[str]:
    if not isinstance(value, str):
        raise TypeError(f"{name}: write a text, not {type(value).__name__}")
    return [_encodable(name, value)]


def _encodable(name: str, text: str) -> str:
    """Refuses halves of surrogate pairs, which are no text for anyone but Python."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OptionsError(f"{name}: UTF-8 cannot hold this text: it has half of a surrogate pair") from None
    return text


def _number(name: str, value: object) -> list[str]:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: write a whole number, not {type(value).__name__}")
    return [str(value)]


def _size(name: str, value: object) -> list[str]:
    return [size(name, value)]


def _duration(name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    whole = seconds(name, value)
    if whole != int(whole) or whole < 1:
        raise TypeError(f'{name}: write whole seconds, or a text as in "10s", "5m", "2h"')
    return [f"{int(whole)}s"]


def _path(name: str, value: object) -> list[str]:
    try:
        return [os.fsdecode(value)]  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: write a path, not {type(value).__name__}") from None


def _names(name: str, value: object) -> list[str]:
    """A list of exact names, or a text as the command has it."""
    if isinstance(value, str):
        return _text(name, value)
    return [",".join(quoted(part) for part in _texts(name, value))]


def _several(name: str, value: object) -> list[str]:
    return _text(name, value) if isinstance(value, str) else _texts(name, value)


def _joined(name: str, value: object) -> list[str]:
    return _text(name, value) if isinstance(value, str) else [",".join(_texts(name, value))]


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise TypeError(f"{name}: write a list of texts, not {type(value).__name__}")
    return [text for part in value for text in _text(name, part)]


def _settings(name: str, value: object) -> list[str]:
    return [f"{setting}={chosen}" for setting, chosen in _mapping(name, value, "work_mem", "256MB")]


def _choices(name: str, value: object) -> list[str]:
    """`{"total": "text"}`, `{"at": {"infinity": "null"}}`."""
    made = []
    for column, chosen in _mapping(name, value, "total", "text"):
        if isinstance(chosen, Mapping):
            parts = [f"{key.replace('_', '-')}={_word(part)}" for key, part in chosen.items()]
            chosen = ",".join(parts)
        made.append(f"{quoted(column)}:{chosen}")
    return made


def _parquet_choices(name: str, value: object) -> list[str]:
    pairs = _mapping(name, value, "url", "encoding=delta-byte-array")
    return [f"{column}:{chosen}" for column, chosen in pairs]


def _word(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _mapping(name: str, value: object, key: str, example: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: write a dict, as in {{{key!r}: {example!r}}}, not {type(value).__name__}")
    for part in value:
        _text(name, part)
    return list(value.items())


_Kind = Callable[[str, object], "list[str]"]

#: How each option is written. Those that are there or not are `None`.
KINDS: dict[str, _Kind | None] = {
    "add_columns": None,
    "allow_mixed_snapshots": None,
    "arrays": _text,
    "batch_bytes": _size,
    "batch_rows": _number,
    "column": _choices,
    "columns": _names,
    "commit_every": _number,
    "compression": _text,
    "connect_timeout": _duration,
    "convert": _text,
    "create_types": None,
    "encoding_policy": _text,
    "enum": _text,
    "exclude_table": _several,
    "field_ids": None,
    "file_size": _size,
    "format": _text,
    "full": None,
    "geometry": _text,
    "identity": _text,
    "inconsistent": None,
    "infinity": _text,
    "interval": _text,
    "into": _text,
    "into_schema": _text,
    "keep_going": None,
    "keep_partition_columns": None,
    "limit": _number,
    "lock_timeout": _duration,
    "lost_digits": _text,
    "memory": _size,
    "method": _text,
    "metrics": _path,
    "mode": _text,
    "nan": _text,
    "no_analyze": None,
    "no_freeze": None,
    "numeric": _text,
    "on_conflict": _text,
    "only": None,
    "ordered": None,
    "origin": None,
    "out_of_range": _text,
    "output": _path,
    "overwrite": None,
    "parquet_column": _parquet_choices,
    "parquet_compat": None,
    "partition_by": _several,
    "query": _text,
    "query_file": _path,
    "read_mode": _text,
    "read_timeout": _duration,
    "readers": _number,
    "reject": _path,
    "reject_limit": _number,
    "report": _path,
    "restart_key": _text,
    "resume": None,
    "retries": _number,
    "role": _text,
    "row_group_rows": _number,
    "schema": _several,
    "set": _settings,
    "slice": _text,
    "slice_bytes": _size,
    "snapshot": _text,
    "sorted_by": _joined,
    "split_on": _text,
    "strings": _text,
    "table": _several,
    "take_over": None,
    "target": _text,
    "target_role": _text,
    "target_set": _settings,
    "timestamp_unit": _text,
    "to": _text,
    "trim": None,
    "types_from": _text,
    "unknown_types": _text,
    "vacuum": None,
    "verify": None,
    "where": _text,
    "writers": _number,
    "key": _names,
}

#: Options whose arguments have other names.
_ARGUMENTS = {"output": "to", "to": "format"}

#: The options that a token carries.
TYPE_CHOICES: frozenset[str] = frozenset(TypeChoices.__annotations__)


def flags(options: Mapping[str, object]) -> list[str]:
    """The options as the command line has them. `None` stands for an option that is not given."""
    made: list[str] = []
    for name, value in options.items():
        kind = KINDS[name]
        flag = "--" + name.replace("_", "-")
        if value is None:
            continue
        if kind is None:
            if not isinstance(value, bool):
                raise TypeError(f"{name}: write True or False, not {type(value).__name__}")
            made.extend([flag] if value else [])
            continue
        # In one word: a value may begin with a dash.
        made.extend(f"{flag}={part}" for part in kind(_ARGUMENTS.get(name, name), value))
    return made


def check(call: str, options: Mapping[str, object], *known: type) -> None:
    """Refuses keywords that a call does not have."""
    names: set[str] = set()
    for one in known:
        for base in one.__mro__:
            names.update(getattr(base, "__annotations__", {}))
        names.update(getattr(one, "__annotations__", {}))
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}{hint}")


def parameter(value: object) -> str | None:
    """The value of a parameter as PostgreSQL reads it. `None` is NULL."""
    if value is None:
        return None
    if isinstance(value, str):
        return _encodable("params", value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    if isinstance(value, (int, float, Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "{" + ",".join(_element(part) for part in value) + "}"
    raise TypeError(
        f"params: a value of the type {type(value).__name__} has no form that PostgreSQL reads; "
        "write its text"
    )


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    text = parameter(value)
    if isinstance(value, (list, tuple)):
        return str(text)
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def parameters(params: Sequence[object] | None) -> list[str | None]:
    """The values of `$1`, `$2`, …"""
    if isinstance(params, (str, bytes)) or (params is not None and not isinstance(params, Sequence)):
        raise TypeError("params: write a list of values")
    return [parameter(value) for value in params or ()]


class Given:
    """What a call gives to the native module."""

    def __init__(
        self,
        options: Mapping[str, object],
        params: Sequence[object] | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        self.flags = flags(options)
        self.params = parameters(params)
        # The command counts them; their values follow behind.
        self.flags.extend("--param=" for _ in self.params)
        self.columns = None if columns is None else _column_names(columns)


def _column_names(columns: object) -> list[str]:
    if isinstance(columns, str):
        raise TypeError('columns: write a list of exact names, as in ["id", "Total"]')
    return _texts("columns", columns)
