"""The types that Spark can hold, and what the server is asked for so that a column has one of them.

Spark compares the Arrow schema of every batch with its own mapping, exactly. Where a column has no type that
Spark holds without loss, the server's own text is read instead: the value stays what it is.

    PostgreSQL ──▶ Arrow (describe) ──▶ Spark type? ──yes──▶ a cast in the worker
                                             └──no──▶ column={name: "text"} ──▶ string
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import types as spark

from ._dist_cast import is_uuid
from ._dist_errors import options_error

#: Choices that hold for every column. Spark has no dictionaries and no interval of months, days and time.
FIXED = {"enum": "text", "interval": "text"}

#: Digits of a decimal at most: `DecimalType.MAX_PRECISION`.
_PRECISION_MAX = 38


def spark_type(arrow: pa.DataType, *, is_time_held: bool) -> spark.DataType | None:
    """The Spark type that holds every value of an Arrow type, or None.

    `is_time_held`: `time` becomes Spark's TIME, which Spark 4.1 to 4.3 refuse in most places unless
    `spark.sql.timeType.enabled` is set.
    """
    types = pa.types
    if isinstance(arrow, pa.ExtensionType | pa.BaseExtensionType):
        return (
            None
            if arrow.extension_name == "arrow.uuid"
            else spark_type(arrow.storage_type, is_time_held=is_time_held)
        )
    simple = _SIMPLE.get(arrow)
    if simple is not None:
        return simple
    if types.is_decimal128(arrow):
        is_held = 0 <= arrow.scale <= arrow.precision <= _PRECISION_MAX
        return spark.DecimalType(arrow.precision, arrow.scale) if is_held else None
    if types.is_fixed_size_binary(arrow):
        return spark.BinaryType()
    if types.is_timestamp(arrow) and arrow.unit == "us":
        if arrow.tz is None:
            return spark.TimestampNTZType()
        return spark.TimestampType() if arrow.tz == "UTC" else None
    if types.is_time64(arrow) and arrow.unit == "us" and is_time_held:
        return spark.TimeType(6)
    if types.is_dictionary(arrow):
        return spark_type(arrow.value_type, is_time_held=is_time_held)
    if types.is_map(arrow):
        return _map_type(arrow, is_time_held)
    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        element = spark_type(arrow.value_type, is_time_held=is_time_held)
        return spark.ArrayType(element, arrow.value_field.nullable) if element is not None else None
    if types.is_struct(arrow):
        return _struct_type(arrow, is_time_held)
    return None


def _map_type(arrow: pa.MapType, is_time_held: bool) -> spark.DataType | None:
    key = spark_type(arrow.key_type, is_time_held=is_time_held)
    value = spark_type(arrow.item_type, is_time_held=is_time_held)
    if key is None or value is None:
        return None
    return spark.MapType(key, value, arrow.item_field.nullable)


def _struct_type(arrow: pa.StructType, is_time_held: bool) -> spark.DataType | None:
    fields = [arrow.field(index) for index in range(arrow.num_fields)]
    names = {field.name.lower() for field in fields}
    held = [spark_type(field.type, is_time_held=is_time_held) for field in fields]
    if not fields or len(names) != len(fields) or None in held:
        return None
    pairs = zip(fields, held, strict=True)
    return spark.StructType([spark.StructField(field.name, of, field.nullable) for field, of in pairs if of])


def text_choices(schema: pa.Schema, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The reading options under which every column has a Spark type.

    Each column without one is read as the server's text, unless `column` already says something about it:
    then the caller has to choose.
    """
    is_time_held = _is_time_held(arguments)
    choices = dict(_column_choices(arguments))
    for field in schema:
        if not is_uuid(field) and spark_type(field.type, is_time_held=is_time_held) is not None:
            continue
        if field.name in choices:
            raise options_error(
                f"column {field.name!r}: by its choice {choices[field.name]!r} it becomes {field.type}, "
                "which "
                "Spark does not hold; choose text"
            )
        choices[field.name] = "text"
    kept = {name: value for name, value in arguments.items() if name not in ("time", "column")}
    for name, value in FIXED.items():
        if kept.get(name, value) != value:
            raise options_error(f"{name}: Spark holds these as text only")
    return {**kept, **FIXED, **({"column": choices} if choices else {})}


def spark_schema(schema: pa.Schema, arguments: Mapping[str, Any]) -> spark.StructType:
    """The Spark schema of what is read under `text_choices`."""
    is_time_held = _is_time_held(arguments)
    fields = []
    seen: dict[str, str] = {}
    for field in schema:
        name = field.name
        if name.lower() in seen:
            raise options_error(
                f"columns {seen[name.lower()]!r} and {name!r}: Spark takes them for one; give one another "
                "name in query"
            )
        seen[name.lower()] = name
        of = spark_type(field.type, is_time_held=is_time_held)
        if of is None:
            raise options_error(f"column {name!r}: Spark does not hold {field.type}; choose text")
        fields.append(spark.StructField(name, of, field.nullable))
    return spark.StructType(fields)


def arrow_schema(struct: spark.StructType) -> pa.Schema:
    """The Arrow schema that Spark demands of batches with this schema: its own mapping, exactly."""
    return pa.schema([pa.field(field.name, arrow_type(field.dataType), field.nullable) for field in struct])


def arrow_type(of: spark.DataType) -> pa.DataType:
    """The Arrow type of a Spark type, as `pyspark.sql.pandas.types.to_arrow_type` has it for UTC."""
    if isinstance(of, spark.DecimalType):
        return pa.decimal128(of.precision, of.scale)
    if isinstance(of, spark.ArrayType):
        return pa.list_(pa.field("element", arrow_type(of.elementType), of.containsNull))
    if isinstance(of, spark.MapType):
        key = pa.field("key", arrow_type(of.keyType), False)
        return pa.map_(key, pa.field("value", arrow_type(of.valueType), of.valueContainsNull))
    if isinstance(of, spark.StructType):
        return pa.struct(arrow_schema(of))
    return _ARROW[type(of).__name__]


def _is_time_held(arguments: Mapping[str, Any]) -> bool:
    choice = arguments.get("time", "text")
    if choice not in ("text", "time"):
        raise options_error("option 'time': text or time")
    if choice == "time" and not hasattr(spark, "TimeType"):
        raise options_error("option 'time': this PySpark has no TIME; it came with 4.1")
    return bool(choice == "time")


def _column_choices(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = arguments.get("column") or {}
    if not isinstance(choices, Mapping):
        raise options_error('column: a mapping of names to choices, as in {"weight": "decimal(20,4)"}')
    return choices


_ARROW: dict[str, pa.DataType] = {
    "BooleanType": pa.bool_(),
    "ByteType": pa.int8(),
    "ShortType": pa.int16(),
    "IntegerType": pa.int32(),
    "LongType": pa.int64(),
    "FloatType": pa.float32(),
    "DoubleType": pa.float64(),
    "StringType": pa.string(),
    "BinaryType": pa.binary(),
    "DateType": pa.date32(),
    "TimestampType": pa.timestamp("us", tz="UTC"),
    "TimestampNTZType": pa.timestamp("us"),
    "TimeType": pa.time64("ns"),
}

_SIMPLE: dict[pa.DataType, spark.DataType] = {
    pa.bool_(): spark.BooleanType(),
    pa.int8(): spark.ByteType(),
    pa.int16(): spark.ShortType(),
    pa.int32(): spark.IntegerType(),
    pa.int64(): spark.LongType(),
    pa.uint8(): spark.ShortType(),
    pa.uint16(): spark.IntegerType(),
    pa.uint32(): spark.LongType(),
    pa.uint64(): spark.DecimalType(20, 0),
    pa.float16(): spark.FloatType(),
    pa.float32(): spark.FloatType(),
    pa.float64(): spark.DoubleType(),
    pa.string(): spark.StringType(),
    pa.large_string(): spark.StringType(),
    pa.string_view(): spark.StringType(),
    pa.binary(): spark.BinaryType(),
    pa.large_binary(): spark.BinaryType(),
    pa.binary_view(): spark.BinaryType(),
    pa.date32(): spark.DateType(),
}
