"""Columns that go from the input into the results: their types, and their values on the way.

On the way, in the journal and in `Request.keep`, a value is in storage form (see
`sources.arrow_types`). A column of a type that has none, or of a JSONL file whose values have no
common type, becomes a string column of JSON text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from batchkit.sources.arrow_types import ExoticTypeError, build_array, storage_type
from batchkit.sources.base import Raw

_AS_JSON = b"batchkit.json"  # field metadata in the types' text
_encode = msgspec.json.Encoder(enc_hook=str).encode


class KeepColumn(msgspec.Struct, frozen=True):
    """One kept column."""

    name: str
    type: pa.DataType  # in the results
    storage: pa.DataType
    as_json: bool = False

    @classmethod
    def of(cls, name: str, kind: pa.DataType) -> KeepColumn:
        """A column as it comes back with type `kind`, or as JSON text where that cannot be."""
        try:
            storage = storage_type(kind)
            pa.array([], kind).cast(storage)
            build_array([None], kind)
        except (ExoticTypeError, pa.ArrowException):
            return cls.json(name)
        return cls(name, kind, storage)

    @classmethod
    def json(cls, name: str) -> KeepColumn:
        return cls(name, pa.string(), pa.string(), as_json=True)


def to_storage(columns: Sequence[KeepColumn], raw: Raw) -> list[Any]:
    """A row's kept values in storage form; null where the row lacks a column."""
    if raw.keep is not None:
        return raw.keep
    values: Mapping[str, Any] = raw.values or {}
    return [
        to_json(values.get(column.name)) if column.as_json else values.get(column.name)
        for column in columns
    ]


def to_json(value: Any) -> str | None:
    """JSON text of a kept value."""
    return None if value is None else _encode(value).decode()


def to_arrow(column: KeepColumn, values: Iterable[Any]) -> pa.Array[Any]:
    """The column of the results from values in storage form."""
    return build_array(list(values), column.type)


def plain_type(column: KeepColumn) -> pa.DataType:
    """The column's type in files of several batches: an IPC file has one dictionary a column."""
    return column.storage if pa.types.is_dictionary(column.type) else column.type


def to_plain(column: KeepColumn, values: Iterable[Any]) -> pa.Array[Any]:
    """`to_arrow` with `plain_type`."""
    return to_arrow(column, values).cast(plain_type(column))


def dump_columns(columns: Sequence[KeepColumn]) -> str:
    """Names and types as text: an Arrow schema in base64."""
    fields = [
        pa.field(column.name, column.type, metadata={_AS_JSON: b"1"} if column.as_json else None)
        for column in columns
    ]
    return base64.b64encode(pa.schema(fields).serialize().to_pybytes()).decode("ascii")


def load_columns(text: str) -> tuple[KeepColumn, ...]:
    """The columns of `dump_columns`."""
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
    return tuple(
        KeepColumn.json(field.name)
        if field.metadata and _AS_JSON in field.metadata
        else KeepColumn.of(field.name, field.type)
        for field in schema
    )
