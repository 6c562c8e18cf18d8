"""Adds up the columns of record batches, with pyarrow: what stands against the server's own sums."""

import decimal

import pyarrow as pa
import pyarrow.compute as pc

decimal.getcontext().prec = 100
EXACT = pa.decimal128(38, 0)


def integers(array):
    return pc.sum(array.cast(pa.int64()).cast(EXACT)).as_py()


def number(array):
    if pa.types.is_decimal(array.type):
        return pc.sum(array.cast(pa.decimal256(76, array.type.scale))).as_py()
    if pa.types.is_integer(array.type):
        return integers(array)
    return pc.sum(array.cast(pa.float64())).as_py()


def length(array):
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return pc.sum(pc.binary_length(array)).as_py()
    return pc.sum(pc.binary_length(array.cast(pa.large_string()))).as_py()


def micros(array):
    if pa.types.is_time(array.type):
        return integers(array.cast(pa.time64("us")))
    return integers(array.cast(pa.timestamp("us", getattr(array.type, "tz", None))))


ADD = {
    "number": number,
    "float": lambda array: pc.sum(array.cast(pa.float64())).as_py(),
    "flag": lambda array: pc.sum(array.cast(pa.bool_())).as_py(),
    "length": length,
    "day": lambda array: integers(array.cast(pa.date32()).cast(pa.int32())),
    "micros": micros,
    "items": lambda array: pc.sum(pc.list_value_length(array)).as_py(),
}


def sums(batches, kinds):
    """A list of name, NULLs and sum; the sum is None where the rival's type cannot be added up."""
    found = {name: [0, decimal.Decimal(0)] for name in kinds}
    for batch in batches:
        for name, array in zip(batch.schema.names, batch.columns):
            column = found[name]
            column[0] += array.null_count
            if kinds[name] == "nulls" or column[1] is None:
                column[1] = None
                continue
            try:
                value = ADD[kinds[name]](array)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
                column[1] = None
                continue
            column[1] += decimal.Decimal(value or 0)
    return [
        {"name": name, "nulls": nulls, "sum": None if total is None else f"{total:f}"}
        for name, (nulls, total) in found.items()
    ]
