"""What the answers to a schema become in Arrow."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from batchkit.schema import OutputSchema, Valid

PLACE = "jobs/demo.toml: output.schema"


def schema(**properties: Any) -> OutputSchema:
    return OutputSchema.load({"type": "object", "properties": properties}, PLACE)


def field_type(value: Any, **rest: Any) -> pa.DataType:
    source = {"type": "object", "properties": {"a": value}, **rest}
    found: pa.DataType = OutputSchema.load(source, PLACE).arrow_type().field(0).type
    return found


STRING, INT, FLOAT = pa.string(), pa.int64(), pa.float64()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "string"}, STRING),
        ({"type": "string", "format": "uri"}, STRING),
        ({"type": "string", "format": "date"}, pa.date32()),
        ({"type": "string", "format": "date-time"}, pa.timestamp("us", tz="UTC")),
        ({"enum": ["x", None]}, STRING),
        ({"const": 3}, INT),
        ({"enum": [1, 2.5]}, FLOAT),
        ({"type": "integer"}, INT),
        ({"type": ["integer", "number", "null"]}, FLOAT),
        ({"type": "boolean"}, pa.bool_()),
        ({"type": ["string", "null"], "format": "date"}, pa.date32()),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, INT),
        ({"oneOf": [{"const": None}, {"type": "boolean"}]}, pa.bool_()),
        ({"allOf": [{"type": "integer"}], "description": "n"}, INT),
        ({"type": "array", "items": {"type": "number"}}, pa.list_(FLOAT)),
        ({"type": "array", "items": {}}, pa.list_(STRING)),
        ({"type": "object", "properties": {"b": {"const": True}}}, pa.struct([("b", pa.bool_())])),
    ],
)
def test_a_schema_has_its_arrow_type(value: Any, expected: pa.DataType) -> None:
    assert field_type(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        True,
        {},
        {"type": "null"},
        {"type": ["string", "integer"]},
        {"enum": ["x", 1]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [{"type": "integer"}, {"minimum": 1}]},
        {"type": "array"},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "string"}},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"type": "object", "properties": {"b": True}, "patternProperties": {"^x": True}},
    ],
)
def test_what_arrow_cannot_type_is_json_text(value: Any) -> None:
    assert field_type(value) == STRING


def test_refs_are_followed_into_the_schema() -> None:
    assert field_type({"$ref": "#/$defs/a~1%25"}, **{"$defs": {"a/%": {"type": "integer"}}}) == INT
    assert field_type({"$ref": "#/x/0"}, x=[{"type": "boolean"}]) == pa.bool_()


def test_an_embedded_resource_is_json_text() -> None:
    """Its `$id` gives `#/$defs/b` another meaning than in the schema around it."""
    inner = {"$id": "http://x.test/", "$ref": "#/$defs/b", "$defs": {"b": {"type": "integer"}}}
    assert field_type(inner, **{"$defs": {"b": {"type": "boolean"}}}) == STRING


def test_a_recursive_schema_ends_in_json_text() -> None:
    tree = {"type": "object", "properties": {"up": {"$ref": "#/$defs/t"}, "n": {"type": "integer"}}}
    source = {"type": "object", "properties": {"t": {"$ref": "#/$defs/t"}}, "$defs": {"t": tree}}
    loaded = OutputSchema.load(source, PLACE)
    assert loaded.arrow_type() == pa.struct([("t", pa.struct([("up", STRING), ("n", INT)]))])
    assert loaded.to_arrow(['{"t":{"n":1,"up":{"n":2,"up":null}}}']).to_pylist() == [
        {"t": {"up": '{"n":2,"up":null}', "n": 1}}
    ]


def test_a_chain_of_refs_does_not_exhaust_the_stack() -> None:
    links: dict[str, Any] = {
        str(i): {"anyOf": [{"$ref": f"#/$defs/{i + 1}"}, {"type": "null"}]} for i in range(3_000)
    }
    links["3000"] = {"type": "integer"}
    assert field_type({"$ref": "#/$defs/0"}, **{"$defs": links}) == STRING


def test_a_schema_without_properties_is_one_json_text() -> None:
    loaded = OutputSchema.load({"type": "object"}, PLACE)
    assert loaded.arrow_type() == STRING
    assert loaded.to_arrow(['{"a":1}', None]).to_pylist() == ['{"a":1}', None]


def test_the_top_may_be_a_ref_to_an_object() -> None:
    row = {"type": "object", "properties": {"n": {"type": "integer"}}}
    loaded = OutputSchema.load({"$ref": "#/$defs/row", "$defs": {"row": row}}, PLACE)
    assert loaded.arrow_type() == pa.struct([("n", INT)])


def test_answers_become_typed_values() -> None:
    loaded = schema(
        day={"type": "string", "format": "date"},
        at={"type": "string", "format": "date-time"},
        n={"type": "integer"},
        total={"type": ["number", "null"]},
        tags={"type": "array", "items": {"type": "object", "properties": {"t": {"const": "x"}}}},
        free={"type": "object"},
    )
    first = loaded.read(
        '{"day":"2026-01-02","at":"2026-01-02t03:04:05.1234567+08:00","n":3.0,"total":2,'
        '"tags":[{"t":"x","more":1},{}],"free":{"b":null},"other":1}'
    )
    assert isinstance(first, Valid)
    array = loaded.to_arrow([first.json, None, "{}"])
    assert array.type == loaded.arrow_type()
    assert array.to_pylist() == [
        {
            "day": date(2026, 1, 2),
            "at": datetime(2026, 1, 1, 19, 4, 5, 123456, tzinfo=UTC),
            "n": 3,
            "total": 2.0,
            "tags": [{"t": "x"}, {"t": None}],
            "free": '{"b":null}',
        },
        None,
        dict.fromkeys(("day", "at", "n", "total", "tags", "free")),
    ]


def test_no_answers_are_an_empty_column() -> None:
    assert schema(total={"type": "number"}).to_arrow([]).type == pa.struct([("total", FLOAT)])
