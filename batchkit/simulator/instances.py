"""A valid instance of a JSON Schema, drawn from a generator.

Understood: type (also lists), enum, const, properties, required, additionalProperties for required
names, items, prefixItems, minItems, maxItems, uniqueItems, minLength, maxLength, format, minimum,
maximum, their exclusive forms, multipleOf, allOf, anyOf and oneOf by their first branch, and `$ref`
within the document. `pattern` and conditions are not: their instances may not validate. A schema
comes from a request and is not trusted: what is malformed or asks for too much is a `SchemaError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import msgspec

from batchkit.simulator.words import words

Schema: TypeAlias = dict[str, Any]

_SHALLOW = 6  # below this depth only what is required is made, so that recursive schemas end
_DEEPEST = 48
_MOST_NODES = 20_000
_LONGEST = 20_000  # characters of one string

_FORMATS = {
    "date": "2024-05-17",
    "date-time": "2024-05-17T09:30:00Z",
    "time": "09:30:00Z",
    "email": "lin@example.com",
    "uri": "https://example.com/a",
    "uuid": "0b9c6f7e-7a55-4c55-9d3e-2f8c1f6f3a10",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
}


class SchemaError(ValueError):
    """The schema is malformed, has no instance that can be found, or asks for too much."""


def instance(schema: Any, rng: Random) -> Any:
    """An instance of `schema`; raises `SchemaError`."""
    try:
        return _Maker(schema, rng).make(schema, 0)
    except (OverflowError, RecursionError) as error:
        raise SchemaError("the schema asks for too much") from error


class _Maker:
    def __init__(self, root: Any, rng: Random) -> None:
        self._root = root
        self._rng = rng
        self._nodes = 0

    def make(self, schema: Any, depth: int) -> Any:
        self._nodes += 1
        if depth > _DEEPEST or self._nodes > _MOST_NODES:
            raise SchemaError("the schema asks for too much")
        plain = self._plain(schema, depth)
        if "const" in plain:
            return plain["const"]
        if "enum" in plain:
            return self._rng.choice(_list(plain, "enum") or _fail("enum is empty"))
        maker = _MAKERS.get(_type(plain))
        if maker is None:
            raise SchemaError(f"unknown type {plain.get('type')!r:.40}")
        return maker(self, plain, depth)

    def _plain(self, schema: Any, depth: int) -> Schema:
        """`schema` with references followed, parts merged and a branch chosen."""
        for _ in range(_DEEPEST):
            if schema is True:
                return {}
            if not isinstance(schema, dict):
                raise SchemaError("a schema is an object or true")
            if "$ref" in schema:
                schema = _merged(_without(schema, "$ref"), self._target(schema["$ref"]))
            elif "allOf" in schema:
                parts = _list(schema, "allOf")
                schema = _without(schema, "allOf")
                for part in parts:
                    schema = _merged(schema, part)
            elif key := next((key for key in ("anyOf", "oneOf") if key in schema), None):
                schema = _merged(_without(schema, key), _branch(_list(schema, key), depth))
            else:
                return schema
        raise SchemaError("references form a ring")

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not (reference + "/").startswith("#/"):
            raise SchemaError("only references within the document are followed")
        node = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or name not in node:
                raise SchemaError("a reference leads nowhere")
            node = node[name]
        return node

    def object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = _list(schema, "required")
        if not isinstance(properties, dict) or not all(isinstance(name, str) for name in required):
            raise SchemaError("properties is an object and required a list of names")
        others = schema.get("additionalProperties", True)
        names = [name for name in properties if depth < _SHALLOW or name in required]
        names += [name for name in dict.fromkeys(required) if name not in properties]
        return {name: self.make(properties.get(name, others), depth + 1) for name in names}

    def array(self, schema: Schema, depth: int) -> list[Any]:
        first = _list(schema, "prefixItems")
        rest = schema.get("items", True)
        least = _size(schema, "minItems", 0)
        most = _size(schema, "maxItems", max(least, len(first)) + 2)
        if rest is False:
            most = min(most, len(first))
        wanted = least if depth >= _SHALLOW else max(least, self._rng.randint(min(1, most), most))
        if wanted > _MOST_NODES:
            raise SchemaError("the schema asks for too many items")
        made: list[Any] = []
        seen: set[bytes] = set()
        for _ in range(wanted * (8 if schema.get("uniqueItems") is True else 1)):
            if len(made) == wanted:
                break
            item = self.make(first[len(made)] if len(made) < len(first) else rest, depth + 1)
            key = msgspec.json.encode(item)
            if schema.get("uniqueItems") is not True or key not in seen:
                made.append(item)
                seen.add(key)
        if len(made) < least:
            raise SchemaError("not enough different items were found")
        return made

    def string(self, schema: Schema, _: int) -> str:
        least = _size(schema, "minLength", 0)
        most = _size(schema, "maxLength", max(least, 60))
        if least > most or least > _LONGEST:
            raise SchemaError("no string is that long")
        known = _FORMATS.get(str(schema.get("format")))
        if known is not None and least <= len(known) <= most:
            return known
        text = words(self._rng, self._rng.randint(1, 4))
        while len(text) < least:
            text += " " + words(self._rng, 8)
        return text[: max(least, min(most, 60))].rstrip().ljust(least, "e")

    def integer(self, schema: Schema, _: int) -> int:
        step = _step(schema) or 1
        if step != int(step):
            raise SchemaError("a step between integers is whole")
        return self._rng.randint(*_multiples(schema, int(step))) * int(step)

    def number(self, schema: Schema, _: int) -> float:
        step = _step(schema)
        if step is not None:
            return self._rng.randint(*_multiples(schema, step)) * step
        low, high = _bounds(schema)
        value = low + (high - low) * self._rng.uniform(0.1, 0.9)
        if not math.isfinite(value) or low > high:
            raise SchemaError("no number lies between the bounds")
        return round(value, 2) if low < round(value, 2) < high else value

    def boolean(self, _: Schema, __: int) -> bool:
        return self._rng.random() < 0.5

    def null(self, _: Schema, __: int) -> None:
        return None


_MAKERS: dict[str, Callable[[_Maker, Schema, int], Any]] = {
    "object": _Maker.object,
    "array": _Maker.array,
    "string": _Maker.string,
    "integer": _Maker.integer,
    "number": _Maker.number,
    "boolean": _Maker.boolean,
    "null": _Maker.null,
}


def _type(schema: Schema) -> str:
    given = schema.get("type")
    if isinstance(given, list):
        given = next((name for name in given if name != "null"), "null")
    if given is not None:
        return str(given)
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "number" if "minimum" in schema or "maximum" in schema else "string"


def _branch(branches: list[Any], depth: int) -> Any:
    if depth >= _SHALLOW and {"type": "null"} in branches:
        return {"type": "null"}
    return branches[0] if branches else _fail("no branch to choose from")


def _merged(schema: Schema, other: Any) -> Schema:
    if other is True:
        return schema
    if not isinstance(other, dict):
        raise SchemaError("a schema is an object or true")
    both = schema | other
    for key in ("required", "allOf"):
        if key in schema and key in other:
            both[key] = _list(schema, key) + _list(other, key)
    if isinstance(schema.get("properties"), dict) and isinstance(other.get("properties"), dict):
        both["properties"] = schema["properties"] | other["properties"]
    return both


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def _list(schema: Schema, key: str) -> list[Any]:
    value = schema.get(key, [])
    return value if isinstance(value, list) else _fail(f"{key} is a list")


def _size(schema: Schema, key: str, default: int) -> int:
    value = schema.get(key, default)
    return value if type(value) is int and value >= 0 else _fail(f"{key} is a whole number")


def _amount(schema: Schema, key: str) -> float | None:
    value = schema.get(key)
    if value is None or type(value) in {int, float}:
        return value
    raise SchemaError(f"{key} is a number")


def _step(schema: Schema) -> float | None:
    step = _amount(schema, "multipleOf")
    return step if step is None or step > 0 else _fail("multipleOf is above 0")


def _bounds(schema: Schema) -> tuple[float, float]:
    """Least and greatest value, excluded ones among them."""
    lows = [v for k in ("minimum", "exclusiveMinimum") if (v := _amount(schema, k)) is not None]
    highs = [v for k in ("maximum", "exclusiveMaximum") if (v := _amount(schema, k)) is not None]
    low = max(lows) if lows else (min(0, min(highs) - 100) if highs else 0)
    return low, min(highs) if highs else low + 100


def _multiples(schema: Schema, step: float) -> tuple[int, int]:
    """The least and the greatest multiple of `step` within the bounds, in steps."""
    low, high = _bounds(schema)
    first, last = math.ceil(-(-low // step)), math.floor(high // step)
    if first * step == _amount(schema, "exclusiveMinimum"):
        first += 1
    if last * step == _amount(schema, "exclusiveMaximum"):
        last -= 1
    return (first, last) if first <= last else _fail("no multiple lies between the bounds")


def _fail(message: str) -> Any:
    raise SchemaError(message)
