"""The types of a JSONL file's kept columns, found while the file is scanned.

A column takes the narrowest type that holds all its values: null, bool, int64, float64 (integers up
to 2^53 mix with fractions), string, list or struct (a key that an object lacks is null). Anything
else, anywhere inside, makes the whole column JSON text: kinds that do not mix, integers beyond 64
bits, objects without keys or with more than `FIELDS_MOST`, nesting beyond `DEPTH_MOST`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from batchkit.errors import UsageError
from batchkit.sources.keep import KeepColumn
from batchkit.wording import shown, shown_names

FIELDS_MOST = 100  # beyond it an object is a mapping with the data in its keys
DEPTH_MOST = 16
_EXACT = 1 << 53  # integers beyond it are not all exact as float64
_INT64 = 1 << 63
_MISSING = object()

_LEAVES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
}


class _MixedError(Exception):
    """There is no common type."""


class _Shape:
    """What the values at one place of a column have in common."""

    __slots__ = ("fields", "is_exact", "item", "kind")

    def __init__(self) -> None:
        self.kind: type | None = None  # bool, int, float, str, list or dict; None: only nulls
        self.is_exact = True  # every integer is exact as float64
        self.item: _Shape | None = None
        self.fields: dict[str, _Shape] = {}

    def add(self, value: Any, depth: int = 0) -> None:
        if value is None:
            return
        kind = type(value)
        if kind is int:
            self._add_int(value)
        if kind is not self.kind:
            self.kind = self._join(kind)
        if kind is list:
            self._add_items(value, depth + 1)
        elif kind is dict:
            self._add_fields(value, depth + 1)

    def arrow_type(self) -> pa.DataType:
        if self.kind is None:
            return pa.null()
        if self.kind is list:
            return pa.list_(pa.null() if self.item is None else self.item.arrow_type())
        if self.kind is dict:
            if not self.fields:
                raise _MixedError  # Parquet has no struct without fields
            return pa.struct([(name, shape.arrow_type()) for name, shape in self.fields.items()])
        return _LEAVES[self.kind]

    def _join(self, kind: type) -> type:
        if self.kind is None:
            return kind
        if {kind, self.kind} == {int, float} and self.is_exact:
            return float
        raise _MixedError

    def _add_int(self, value: int) -> None:
        if not -_EXACT <= value <= _EXACT:
            self.is_exact = False
            if self.kind is float or not -_INT64 <= value < _INT64:
                raise _MixedError

    def _add_items(self, values: list[Any], depth: int) -> None:
        if depth > DEPTH_MOST:
            raise _MixedError
        for value in values:
            if self.item is None:
                self.item = _Shape()
            self.item.add(value, depth)

    def _add_fields(self, values: dict[str, Any], depth: int) -> None:
        if depth > DEPTH_MOST:
            raise _MixedError
        for name, value in values.items():
            shape = self.fields.get(name)
            if shape is None:
                if len(self.fields) == FIELDS_MOST:
                    raise _MixedError
                shape = self.fields[name] = _Shape()
            shape.add(value, depth)


class KeepInference:
    """Looks at every row of a scan, then knows the kept columns."""

    def __init__(self, names: Sequence[str]) -> None:
        self._shapes: dict[str, _Shape | None] = {name: _Shape() for name in names}  # None: mixed
        self._unseen = set(names)
        self._first: list[str] | None = None

    def observe(self, values: Mapping[str, Any]) -> None:
        """Take in one row."""
        if self._first is None:
            self._first = list(values)
        for name, shape in self._shapes.items():
            value = values.get(name, _MISSING)
            if value is _MISSING:
                continue
            if self._unseen:
                self._unseen.discard(name)
            if shape is None:
                continue
            try:
                shape.add(value)
            except _MixedError:
                self._shapes[name] = None

    def finish(self, place: str) -> tuple[KeepColumn, ...]:
        """The columns; raises `UsageError` at `place` for one that no row had."""
        if self._unseen and self._first is not None:
            name = next(name for name in self._shapes if name in self._unseen)
            raise UsageError(
                f"{place}: keep: no row has {shown(name)}; the first has {shown_names(self._first)}"
            )
        return tuple(_column(name, shape) for name, shape in self._shapes.items())


def _column(name: str, shape: _Shape | None) -> KeepColumn:
    if shape is None:
        return KeepColumn.json(name)
    try:
        return KeepColumn.of(name, shape.arrow_type())
    except _MixedError:
        return KeepColumn.json(name)
