"""Spark's filters as SQL, where both give exactly the same rows; else Spark applies them itself.

Pushed: comparisons, IN, IS NULL and prefixes of columns whose built-in type has one meaning on both sides.
Left to Spark: everything with a doubt, such as text with padding, zero and NaN of floats, NULL in a list,
and values that an option changes on their way. Operators are schema-qualified, so a search path changes
nothing.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import datasource as ds

#: `pg_type.oid` of what can be compared: `src/include/catalog/pg_type.dat`. A domain has an OID of its own.
_KINDS = {
    "16": ("bool", pa.types.is_boolean),
    "20": ("int", pa.types.is_integer),
    "21": ("int", pa.types.is_integer),
    "23": ("int", pa.types.is_integer),
    "25": ("text", pa.types.is_string),
    "1043": ("text", pa.types.is_string),
    "700": ("float", pa.types.is_floating),
    "701": ("float", pa.types.is_floating),
    "1082": ("date", pa.types.is_date32),
    "1114": ("timestamp", pa.types.is_timestamp),
    "1184": ("timestamptz", pa.types.is_timestamp),
    "1700": ("decimal", pa.types.is_decimal128),
}

_POLICIES = ("infinity", "nan", "out_of_range", "lost_digits")

#: Kinds whose values a policy may change or make NULL.
_UNDER_POLICIES = ("date", "timestamp", "timestamptz", "decimal")

_OPERATORS: dict[type, str] = {
    ds.EqualTo: "=",
    ds.GreaterThan: ">",
    ds.GreaterThanOrEqual: ">=",
    ds.LessThan: "<",
    ds.LessThanOrEqual: "<=",
}

#: More values of an IN than this are left to Spark.
_VALUES_MAX = 1000


def comparable(schema: pa.Schema, arguments: Mapping[str, Any], *, is_utf8: bool) -> dict[str, str]:
    """The kinds of the columns that filters may be pushed for.

    `is_utf8`: the database's encoding is UTF8, in which order and search by bytes are Spark's.
    """
    chosen = arguments.get("column") or {}
    is_changed = any(arguments.get(name, "error") != "error" for name in _POLICIES)
    kinds = {}
    for field in schema:
        kind, is_type = _KINDS.get((field.metadata or {}).get(b"pg.oid", b"").decode(), ("", None))
        is_left = (
            is_type is None
            or not is_type(field.type)
            or field.name in chosen
            or (is_changed and kind in _UNDER_POLICIES)
            or (kind == "text" and not is_utf8)
        )
        if not is_left:
            kinds[field.name] = kind
    return kinds


def condition(filter: ds.Filter, kinds: Mapping[str, str]) -> str | None:
    """The filter as an SQL condition, or None if Spark has to apply it."""
    if isinstance(filter, ds.Not):
        child = condition(filter.child, kinds)
        return f"(NOT {child})" if child is not None else None
    attribute: tuple[str, ...] = getattr(filter, "attribute", ())
    kind = kinds.get(attribute[0]) if len(attribute) == 1 else None
    if kind is None:
        return None
    name = _identifier(attribute[0])
    if isinstance(filter, ds.IsNull):
        return f"({name} IS NULL)"
    if isinstance(filter, ds.IsNotNull):
        return f"({name} IS NOT NULL)"
    operand = f'{name}::pg_catalog.text COLLATE pg_catalog."C"' if kind == "text" else name
    if isinstance(filter, ds.In):
        return _in(operand, kind, filter.value)
    if isinstance(filter, ds.EqualNullSafe):
        if filter.value is None:
            return f"({name} IS NULL)"
        value = literal(kind, filter.value)
        # With NULL on the left this is false, and its negation true.
        return f"({name} IS NOT NULL AND {operand} OPERATOR(pg_catalog.=) {value})" if value else None
    if isinstance(filter, ds.StringStartsWith | ds.StringEndsWith | ds.StringContains):
        return _search(filter, operand, kind)
    operator = _OPERATORS.get(type(filter))
    value = literal(kind, getattr(filter, "value", None))
    if operator is None or value is None:
        return None
    return f"({operand} OPERATOR(pg_catalog.{operator}) {value})"


def _in(operand: str, kind: str, values: Any) -> str | None:
    # Spark looks up the floats of a long list by their bits.
    if kind == "float" or not 0 < len(values) <= _VALUES_MAX:
        return None
    literals = [literal(kind, value) for value in values]
    if None in literals:
        return None
    return f"({operand} OPERATOR(pg_catalog.=) ANY (ARRAY[{', '.join(text for text in literals if text)}]))"


def _search(
    filter: ds.StringStartsWith | ds.StringEndsWith | ds.StringContains, operand: str, kind: str
) -> str | None:
    value = literal(kind, filter.value)
    if kind != "text" or value is None:
        return None
    if isinstance(filter, ds.StringStartsWith):
        return f"pg_catalog.starts_with({operand}, {value})"
    if isinstance(filter, ds.StringContains):
        return f"(pg_catalog.strpos({operand}, {value}) OPERATOR(pg_catalog.>) 0)"
    end = f"pg_catalog.right({operand}, {len(filter.value)})"
    return f'({end} COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) {value})'


def literal(kind: str, value: Any) -> str | None:
    """The value as an SQL literal with its type, or None if its meaning may differ from Spark's."""
    if kind == "bool":
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind == "int":
        return f"'{value}'::pg_catalog.int8" if isinstance(value, int) and -(2**63) <= value < 2**63 else None
    if kind == "float":
        # Spark has rules of its own for zeros, NaN and infinities.
        is_plain = isinstance(value, float) and math.isfinite(value) and value != 0
        return f"'{value!r}'::pg_catalog.float8" if is_plain else None
    if kind == "decimal":
        if isinstance(value, int):
            value = decimal.Decimal(value)
        is_plain = isinstance(value, decimal.Decimal) and value.is_finite()
        return f"'{value:f}'::pg_catalog.numeric" if is_plain else None
    if kind == "date":
        return f"'{value.isoformat()}'::pg_catalog.date" if type(value) is datetime.date else None
    if kind in ("timestamp", "timestamptz") and isinstance(value, datetime.datetime):
        return _timestamp(kind, value)
    return text_literal(value) if kind == "text" and isinstance(value, str) else None


def _timestamp(kind: str, value: datetime.datetime) -> str | None:
    if kind == "timestamp":
        text = value.isoformat(sep=" ") if value.tzinfo is None else None
    else:
        utc = value.astimezone(datetime.timezone.utc) if value.tzinfo is not None else None
        text = utc.isoformat(sep=" ") if utc is not None else None
    return f"'{text}'::pg_catalog.{kind}" if text is not None else None


def text_literal(text: str) -> str | None:
    """A text as an SQL literal of type text; None if PostgreSQL cannot hold it."""
    quoted = quoted_text(text)
    return f"{quoted}::pg_catalog.text" if quoted is not None else None


def quoted_text(text: str) -> str | None:
    """A text in quotes that mean the same under every setting; None if PostgreSQL cannot hold it."""
    if "\0" in text:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    quoted = text.replace("'", "''")
    return "E'{}'".format(quoted.replace("\\", "\\\\")) if "\\" in text else f"'{quoted}'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
