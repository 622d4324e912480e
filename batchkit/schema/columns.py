"""Reads a JSON Schema as columns: which type every answer that validates has.

A column's type follows from one thing the schema demands of the value (`type`, `enum`, `const`, a
`$ref`, the one alternative that is not null). What demands nothing that a column can hold is JSON
text, and so is everything this module does not know.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from urllib.parse import unquote

import msgspec

MAX_LEVELS = 32  # of nesting, deeper values are JSON text; Arrow's IPC reader stops at 64


class Kind(StrEnum):
    """What a column holds."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATE_TIME = "date-time"
    LIST = "list"
    STRUCT = "struct"
    JSON = "json"


class Column(msgspec.Struct, frozen=True):
    """A typed value; any column may be null."""

    kind: Kind
    element: Column | None = None  # of a list
    fields: dict[str, Column] = {}  # of a struct


_JSON = Column(Kind.JSON)
_STRING = Column(Kind.STRING)
_BY_FORMAT = {"date": Column(Kind.DATE), "date-time": Column(Kind.DATE_TIME)}
_SCALARS = {
    "integer": Column(Kind.INTEGER),
    "number": Column(Kind.NUMBER),
    "boolean": Column(Kind.BOOLEAN),
}
_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_MAPS = ("additionalProperties", "patternProperties", "unevaluatedProperties")


def column_of(schema: dict[str, Any]) -> Column:
    """The column for the values that `schema` accepts."""
    return _Reader(schema).column(schema)


def is_object_schema(schema: dict[str, Any]) -> bool:
    """Whether `schema`, or what it refers to, says `"type": "object"` and nothing beside it."""
    resolved, _ = _Reader(schema).resolve(schema, frozenset())
    return isinstance(resolved, dict) and resolved.get("type") == "object"


class _Reader:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def column(self, schema: Any, above: frozenset[str] = frozenset(), level: int = 0) -> Column:
        """The column of `schema`, which stands `level` levels deep, inside the `$ref`s `above`."""
        schema, above = self.resolve(schema, above)
        if not isinstance(schema, dict) or level > MAX_LEVELS:
            return _JSON
        types = _types(schema)
        if not types:
            return self.column(_only_branch(schema), above, level + 1)
        name = types.pop() if len(types) == 1 else "several"
        match name:
            case "string":
                return _BY_FORMAT.get(str(schema.get("format")), _STRING)
            case "array":
                return self._list(schema, above, level)
            case "object":
                return self._struct(schema, above, level)
            case _:
                return _SCALARS.get(name, _JSON)

    def resolve(self, schema: Any, above: frozenset[str]) -> tuple[Any, frozenset[str]]:
        """What `schema` stands for, and every `$ref` on the way; None if that cannot be known here.

        None too for a `$ref` that leads back to itself and for an embedded resource, whose `$id`
        changes what the `$ref`s in it mean.
        """
        while isinstance(schema, dict):
            if "$id" in schema and schema is not self._root:
                return None, above
            if "$ref" not in schema:
                return schema, above
            ref = schema["$ref"]
            if ref in above:
                return None, above
            schema, above = self._target(ref), above | {ref}
        return schema, above

    def _target(self, ref: str) -> Any:
        if ref != "#" and not ref.startswith("#/"):
            return None
        target: Any = self._root
        for part in ref.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and key.isdecimal() and int(key) < len(target):
                target = target[int(key)]
            elif isinstance(target, dict):
                target = target.get(key)
            else:
                return None
        return target

    def _list(self, schema: dict[str, Any], above: frozenset[str], level: int) -> Column:
        elements = schema.get("items")
        if not isinstance(elements, dict) or "prefixItems" in schema:
            return _JSON
        return Column(Kind.LIST, element=self.column(elements, above, level + 1))

    def _struct(self, schema: dict[str, Any], above: frozenset[str], level: int) -> Column:
        properties = schema.get("properties")
        if not properties or any(
            isinstance(schema.get(key), dict) and schema[key] for key in _MAPS
        ):
            return _JSON
        fields = {name: self.column(value, above, level + 1) for name, value in properties.items()}
        return Column(Kind.STRUCT, fields=fields)


def _types(schema: dict[str, Any]) -> set[str]:
    """The JSON types that the schema itself allows, null apart; empty if it does not say."""
    if "type" in schema:
        given = schema["type"]
        types = {given} if isinstance(given, str) else set(given)
    elif "enum" in schema:
        types = {_NAMES[type(value)] for value in schema["enum"]}
    elif "const" in schema:
        types = {_NAMES[type(schema["const"])]}
    else:
        return set()
    if "number" in types:
        types.discard("integer")
    return types - {"null"} if len(types) > 1 else types


def _only_branch(schema: dict[str, Any]) -> Any:
    """The one schema in `allOf`, or the one in `anyOf` or `oneOf` that takes more than null."""
    for key in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(key, [])
        if key != "allOf":
            branches = [b for b in branches if not isinstance(b, dict) or _types(b) != {"null"}]
        if len(branches) == 1:
            return branches[0]
    return None
