"""Batches to exactly the Arrow types that an engine asks for. No value changes, or an error says so."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ._dist_errors import options_error

#: A day in units of time64: `time '24:00:00'`, which PostgreSQL has and Spark has not.
_DAY = {"us": 86_400_000_000, "ns": 86_400_000_000_000}


def is_uuid(field: pa.Field) -> bool:
    """Whether it is a uuid: to pyarrow up to 17, the type is a number of bytes."""
    if isinstance(field.type, pa.BaseExtensionType):
        return bool(field.type.extension_name == "arrow.uuid")
    return (field.metadata or {}).get(b"ARROW:extension:name") == b"arrow.uuid"


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the types of `schema`, column by column, in the same order."""
    if batch.schema.names != schema.names:
        raise options_error("the columns are not those that were planned; read again")
    columns = [fitted_array(batch.column(index), field) for index, field in enumerate(schema)]
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * batch.num_rows, type=pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def fitted_array(array: pa.Array, field: pa.Field) -> pa.Array:
    """The array with the type of `field`. Lists, maps and structs are taken apart, so that names and
    nullability inside them fit, too."""
    to = field.type
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if array.type == to and not pa.types.is_nested(to):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_field))
    if pa.types.is_map(to):
        entries = pa.StructArray.from_arrays(
            [fitted_array(array.keys, to.key_field), fitted_array(array.items, to.item_field)],
            fields=[to.key_field, to.item_field],
        )
        return _with_children(array, to, [entries])
    if pa.types.is_list(to) and pa.types.is_list(array.type):
        return _with_children(array, to, [fitted_array(array.values, to.value_field)])
    if pa.types.is_struct(to):
        fields = [to.field(index) for index in range(to.num_fields)]
        children = [fitted_array(array.field(index), of) for index, of in enumerate(fields)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())
    if pa.types.is_time64(to):
        _check_times(array, field.name)
    return array.cast(to, safe=True)


def _with_children(array: pa.Array, to: pa.DataType, children: list[pa.Array]) -> pa.Array:
    """A list or a map with the same validity and offsets, and other values."""
    buffers = array.buffers()[:2]
    return pa.Array.from_buffers(to, len(array), buffers, array.null_count, array.offset, children)


def _check_times(array: pa.Array, name: str) -> None:
    latest = pc.max(array.cast(pa.int64())).as_py()
    if latest is not None and latest >= _DAY[array.type.unit]:
        raise options_error(f"column {name!r}: 24:00:00 is no time of Spark; option 'time' may be text")
