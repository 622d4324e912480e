"""Which plain values stand for a value of an Arrow type, so that it can be journaled and come back.

A type's storage type holds the same values as integers, strings, bytes, lists and structs, which
MessagePack knows. `pyarrow.array` builds the type again from them, but for decimals, which it wants
as `Decimal`. Built from the values, not cast from the storage: a cast also converts what lies under
a null (an empty string is no decimal, an empty list no list of two).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

_PLAIN = (
    pt.is_null,
    pt.is_boolean,
    pt.is_integer,
    pt.is_floating,
    pt.is_string,
    pt.is_large_string,
    pt.is_binary,
    pt.is_large_binary,
)


class ExoticTypeError(Exception):
    """A type without a storage type: unions, intervals, list views, run ends, nested extensions."""


def storage_type(kind: pa.DataType) -> pa.DataType:
    """The storage type of `kind`; raises `ExoticTypeError`."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return _nested_storage(kind)


def _nested_storage(kind: pa.DataType) -> pa.DataType:
    if pt.is_struct(kind):
        names = [field.name for field in kind]
        if len(set(names)) != len(names) or not names:
            raise ExoticTypeError(f"{kind}")
        return pa.struct([pa.field(field.name, _nested_storage(field.type)) for field in kind])
    if pt.is_large_list(kind):
        return pa.large_list(_nested_storage(kind.value_type))
    if pt.is_list(kind) or pt.is_fixed_size_list(kind):
        return pa.list_(_nested_storage(kind.value_type))
    if pt.is_map(kind):
        return _map_storage(kind)
    if pt.is_dictionary(kind):
        return _nested_storage(kind.value_type)
    return _leaf_storage(kind)


def _map_storage(kind: pa.MapType[Any, Any, Any]) -> pa.DataType:
    if (kind.key_field.name, kind.item_field.name) != ("key", "value"):
        raise ExoticTypeError(f"{kind}")
    key = pa.field("key", _nested_storage(kind.key_type), nullable=False)
    return pa.list_(pa.struct([key, pa.field("value", _nested_storage(kind.item_type))]))


def _leaf_storage(kind: pa.DataType) -> pa.DataType:
    if pt.is_date32(kind) or pt.is_time32(kind):
        return pa.int32()
    if pt.is_temporal(kind) and not pt.is_interval(kind):
        return pa.int64()
    if pt.is_decimal(kind) or kind == pa.string_view():
        return pa.string()
    if pt.is_fixed_size_binary(kind) or kind == pa.binary_view():
        return pa.binary()
    if pt.is_float16(kind):
        return pa.float32()
    if any(is_plain(kind) for is_plain in _PLAIN):
        return kind
    raise ExoticTypeError(f"{kind}")


def build_array(values: list[Any], kind: pa.DataType) -> pa.Array[Any]:
    """An array of `kind` from values in its storage form."""
    if has_decimal(kind):
        values = [_with_decimals(value, kind) for value in values]
    return pa.array(values, kind)


def has_decimal(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind):
        return has_decimal(kind.value_type)
    return pt.is_decimal(kind) or any(has_decimal(child) for child in _children(kind))


def _children(kind: Any) -> list[pa.DataType]:
    return [kind.field(index).type for index in range(kind.num_fields)]


def _with_decimals(value: Any, kind: pa.DataType) -> Any:
    if value is None or not has_decimal(kind):
        return value
    if pt.is_decimal(kind):
        return Decimal(value)
    if pt.is_dictionary(kind):
        return _with_decimals(value, kind.value_type)
    if pt.is_struct(kind):
        return {field.name: _with_decimals(value[field.name], field.type) for field in kind}
    (item,) = _children(kind)  # of a list, or of a map, which is a list of entries
    return [_with_decimals(one, item) for one in value]


def readable_type(kind: pa.DataType) -> pa.DataType:
    """`kind` without nanoseconds, which Python's own times do not have."""
    if pt.is_struct(kind):
        return pa.struct([pa.field(field.name, readable_type(field.type)) for field in kind])
    if pt.is_large_list(kind):
        return pa.large_list(readable_type(kind.value_type))
    if pt.is_list(kind) or pt.is_fixed_size_list(kind):
        return pa.list_(readable_type(kind.value_type))
    return _readable_leaf(kind)


def _readable_leaf(kind: pa.DataType) -> pa.DataType:
    if pt.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", tz=kind.tz)
    if pt.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pt.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    return kind
