"""Instances are valid, and a hostile schema costs nothing but a `SchemaError`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.simulator.instances import SchemaError, instance
from batchkit.simulator.seeds import seeded

RECEIPT = {
    "type": "object",
    "properties": {
        "company": {"type": "string", "minLength": 3, "maxLength": 12},
        "date": {"type": "string", "format": "date"},
        "email": {"type": ["null", "string"], "format": "email"},
        "total": {"type": "number", "minimum": 0, "maximum": 1},
        "count": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
        "kind": {"enum": ["cash", "card", None, 3]},
        "version": {"const": {"v": 1}},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 2, "maxItems": 3},
        "paid": {"type": "boolean"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["company", "total", "lines", "extra"],
    "additionalProperties": {"type": "integer"},
    "$defs": {
        "line": {
            "allOf": [
                {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                },
                {"properties": {"cents": {"multipleOf": 5, "minimum": 7}}, "required": ["cents"]},
            ],
            "oneOf": [{"properties": {"tax": {"type": "null"}}}],
        }
    },
}

SCHEMAS: list[Any] = [
    True,
    {},
    RECEIPT,
    {"type": "string", "minLength": 5000},
    {"type": "string", "maxLength": 0},
    {"type": "string", "maxLength": 4, "format": "date-time"},
    {"type": "integer", "minimum": 10**17 + 1, "maximum": 10**17 + 1},
    {"type": "integer", "maximum": -5},
    {"type": "integer", "minimum": 0.5, "maximum": 1.5},
    {"type": "number", "minimum": 0.001, "maximum": 0.002},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.01},
    {"type": "number", "minimum": 3, "maximum": 3},
    {"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 0, "maximum": 1},
    {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2, 3]}, "minItems": 3},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "items": False},
    {"type": "array", "maxItems": 0},
    {"minimum": 4},
    {"items": {"type": "boolean"}, "minItems": 1},
    {"required": ["a"]},
    {"$defs": {"a/b": {"const": 1}}, "$ref": "#/$defs/a~1b"},
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name", "next"],
            }
        },
        "$ref": "#/$defs/node",
    },
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_an_instance_is_valid(schema: Any) -> None:
    validator = jsonschema_rs.validator_for(schema)
    for seed in range(20):
        validator.validate(instance(schema, seeded(seed)))


def test_the_same_draws_give_the_same_instance() -> None:
    assert instance(RECEIPT, seeded(1)) == instance(RECEIPT, seeded(1))
    assert instance(RECEIPT, seeded(1)) != instance(RECEIPT, seeded(2))


@pytest.mark.parametrize(
    "schema",
    [
        False,
        None,
        7,
        [],
        {"type": "robot"},
        {"type": 3},
        {"type": {}},
        {"enum": []},
        {"enum": {}},
        {"anyOf": []},
        {"anyOf": {}},
        {"anyOf": [3]},
        {"$ref": 3},
        {"$ref": "#/nowhere"},
        {"$ref": "#anchor"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "properties": []},
        {"type": "object", "required": [[]]},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "minItems": 10**9},
        {"type": "array", "minItems": 1.5},
        {"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True},
        {
            "type": "array",
            "minItems": 1000,
            "items": {"type": "array", "minItems": 1000, "items": {}},
        },
        {"type": "string", "minLength": 10**9},
        {"type": "string", "minLength": -1},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "integer", "minimum": "3"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "integer", "multipleOf": 0.5},
        {"type": "integer", "multipleOf": 0},
        {"type": "integer", "multipleOf": 1e-300, "minimum": 1e300},
        {"type": "number", "minimum": -1e308, "maximum": 1.7e308},
        {"type": "number", "minimum": 3, "maximum": 2},
        {"type": "number", "multipleOf": 5e-324, "minimum": 1},
    ],
)
def test_a_malformed_or_greedy_schema_is_a_schema_error(schema: Any) -> None:
    with pytest.raises(SchemaError):
        instance(schema, seeded(0))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "items", "enum", "properties", "anyOf", "$ref", "minItems"])
            | st.sampled_from(["required", "minimum", "maxLength", "multipleOf", "allOf", "const"]),
            inner | st.sampled_from(["object", "array", "string", "integer", "number", "#"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_schema_gives_an_instance_or_a_schema_error(schema: Any) -> None:
    with suppress(SchemaError):
        instance(schema, seeded(0))
