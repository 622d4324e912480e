"""Turns columns into Arrow types, and JSON values into what pyarrow stores in them.

`cell` decides alone whether a value fits its column, without pyarrow, so that an answer is refused
when it arrives and not when its part is written.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from batchkit.schema.answer import encode
from batchkit.schema.columns import Column, Kind

if TYPE_CHECKING:
    import pyarrow as pa

Path = tuple[str | int, ...]

_PYTHON: dict[Kind, tuple[type, ...]] = {
    Kind.STRING: (str,),
    Kind.INTEGER: (int, float),
    Kind.NUMBER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.DATE: (str,),
    Kind.DATE_TIME: (str,),
    Kind.LIST: (list,),
    Kind.STRUCT: (dict,),
}


class UnfitError(Exception):
    """A value that its column cannot hold, such as an integer past 64 bits."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def data_type(column: Column) -> pa.DataType:
    """The Arrow type of `column`."""
    import pyarrow as pa  # noqa: PLC0415  # `batchkit --help` must not load it

    scalars: dict[Kind, pa.DataType] = {
        Kind.STRING: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.DATE: pa.date32(),
        Kind.DATE_TIME: pa.timestamp("us", tz="UTC"),
        Kind.JSON: pa.string(),
    }
    match column.kind:
        case Kind.LIST:
            assert column.element is not None
            return pa.list_(data_type(column.element))
        case Kind.STRUCT:
            return pa.struct([(name, data_type(field)) for name, field in column.fields.items()])
        case scalar:
            return scalars[scalar]


def cell(column: Column, value: Any, path: Path = ()) -> Any:
    """What pyarrow stores for the JSON `value`, which stands at `path`; raises `UnfitError`.

    Keys of an object that its column does not name are left out.
    """
    if value is None:
        return None
    kind = column.kind
    if kind is Kind.JSON:
        return encode(value)
    if type(value) not in _PYTHON[kind]:
        raise UnfitError(path, f"{_brief(value)} is no value for a column of type {kind}")
    match kind:
        case Kind.LIST:
            assert column.element is not None
            element = column.element
            return [cell(element, value[i], (*path, i)) for i in range(len(value))]
        case Kind.STRUCT:
            return {
                name: cell(field, value.get(name), (*path, name))
                for name, field in column.fields.items()
            }
        case Kind.INTEGER | Kind.NUMBER | Kind.DATE | Kind.DATE_TIME:
            return _converted(kind, value, path)
        case _:
            return value


def _converted(kind: Kind, value: Any, path: Path) -> Any:
    try:
        match kind:
            case Kind.INTEGER:
                return _int64(value)
            case Kind.NUMBER:
                return float(value)
            case Kind.DATE:
                return date.fromisoformat(value)
            case _:
                return _instant(value)
    except (ValueError, OverflowError):
        raise UnfitError(path, f"{_brief(value)} does not fit a column of type {kind}") from None


def _int64(value: float) -> int:
    if value != math.floor(value) or not -(2**63) <= value < 2**63:
        raise OverflowError
    return int(value)


def _instant(text: str) -> datetime:
    """Microseconds are what a column holds: finer digits are cut off. A leap second is refused."""
    instant = datetime.fromisoformat(text.upper())
    if instant.tzinfo is None:
        raise ValueError(text)
    return instant.astimezone(UTC)


def _brief(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    return encode(value)
