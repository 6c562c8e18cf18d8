"""Types for engines that take Arrow as it is, but know neither extension types nor dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ._dist_cast import is_uuid
from ._dist_held import HeldPlan


class PlainHeld(HeldPlan):
    """A held plan whose columns have plain Arrow types."""

    def __init__(
        self,
        conninfo: str | None,
        arguments: Mapping[str, Any],
        *,
        worker_conninfo: str | None,
        allow_password: bool,
        call: str,
    ) -> None:
        arguments = {"enum": "text", **arguments}
        super().__init__(
            conninfo,
            arguments,
            _choose,
            worker_conninfo=worker_conninfo,
            allow_password=allow_password,
            call=call,
        )

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows that workers get. uuid is text, json the server's text, enums are
        strings."""
        return plain(self._schema)


def _choose(schema: pa.Schema, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    columns = {**_uuids(schema), **(arguments.get("column") or {})}
    return {**arguments, "column": columns} if columns else arguments


def _uuids(schema: pa.Schema) -> dict[str, str]:
    return dict.fromkeys((field.name for field in schema if is_uuid(field)), "text")


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema without extension types, dictionaries and metadata."""
    return pa.schema([_plain_field(field) for field in schema])


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _plain_type(field.type), field.nullable)


def _plain_type(of: pa.DataType) -> pa.DataType:
    if isinstance(of, pa.BaseExtensionType):
        return _plain_type(of.storage_type)
    if pa.types.is_dictionary(of):
        return _plain_type(of.value_type)
    if pa.types.is_map(of):
        return pa.map_(_plain_field(of.key_field), _plain_field(of.item_field))
    if pa.types.is_list(of) or pa.types.is_fixed_size_list(of):
        return pa.list_(_plain_field(of.value_field))
    if pa.types.is_struct(of):
        return pa.struct([_plain_field(of.field(index)) for index in range(of.num_fields)])
    return of
