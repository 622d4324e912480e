"""Any answer can be read; an answer that is valid is stored whole."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.schema import Invalid, OutputSchema, Valid

SCALARS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "date-time"},
    {"type": "integer"},
    {"type": "number"},
    {"type": "boolean"},
    {"enum": ["x", None]},
    {"enum": [1, 2.5]},
    {"type": ["integer", "string"]},
    {"$ref": "#/$defs/tree"},
    {"type": "object", "additionalProperties": {"type": "number"}},
    {},
]
TREE = {"type": "object", "properties": {"n": {"type": "integer"}, "up": {"$ref": "#/$defs/tree"}}}
TEXT = st.text(st.sampled_from(["a", "é", "😀", "\0", "\n", '"', "\\", "{", "}", "`"]), max_size=9)
PIECES = [*'{}[]",:\\ \n\0\ud800a1', "```json\n", '{"a":', '{"a":1}']
NAMES = st.sampled_from(["n", "up", "a", "", "$", "é\0"])


def compound(values: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        values.map(lambda v: {"type": "array", "items": v}),
        values.map(lambda v: {"anyOf": [v, {"type": "null"}]}),
        values.map(lambda v: {"allOf": [v]}),
        st.dictionaries(NAMES, values, max_size=3).map(
            lambda fields: {"type": ["object", "null"], "properties": fields}
        ),
    )


VALUES = st.recursive(st.sampled_from(SCALARS), compound, max_leaves=6)
SCHEMAS = st.dictionaries(NAMES, VALUES, max_size=3).map(
    lambda fields: {"type": "object", "properties": fields, "$defs": {"tree": TREE}}
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXT,
    st.sampled_from([1, 2.5, "x", 2**63, -(2**63), 1e300, "0000-01-01", "2016-12-31T23:59:60Z"]),
    st.dates().map(date.isoformat),
    st.datetimes().map(lambda instant: datetime.isoformat(instant) + "+01:00"),
)
ANSWERS = st.recursive(
    LEAVES,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=3),
    max_leaves=10,
)


def conforming(value: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Answers that mostly validate against `value`, and now and then just miss."""
    if "items" in value:
        return st.lists(conforming(value["items"]), max_size=3)
    if "properties" in value:
        fields = {name: conforming(v) for name, v in value["properties"].items()}
        return st.fixed_dictionaries({}, optional=fields)
    for key in ("anyOf", "allOf"):
        if key in value:
            return conforming(value[key][0]) | st.none()
    by_type: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXT | st.dates().map(date.isoformat) | LEAVES,
        "integer": st.integers(-(2**64), 2**64),
        "number": st.floats() | st.integers(),
        "boolean": st.booleans(),
    }
    return by_type.get(str(value.get("type")), ANSWERS)


@given(SCHEMAS, st.data())
def test_a_valid_answer_becomes_a_value_of_the_arrow_type(
    source: dict[str, Any], draw: st.DataObject
) -> None:
    loaded = OutputSchema.load(source, "p")
    read = loaded.read(json.dumps(draw.draw(conforming(source))))
    if isinstance(read, Invalid):
        assert read.reason.isprintable()
        return
    array = loaded.to_arrow([read.json, None])
    array.validate(full=True)
    assert array.type == loaded.arrow_type()
    assert [scalar.is_valid for scalar in array] == [True, False]
    assert loaded.read(read.json) == read


@given(st.dictionaries(TEXT, ANSWERS))
def test_an_object_survives_prose_and_fences(answer: dict[str, Any]) -> None:
    loaded = OutputSchema.load({"type": "object"}, "p")
    text = json.dumps(answer, ensure_ascii=False, indent=1)
    plain = loaded.read(text)
    if isinstance(plain, Valid):
        assert json.loads(plain.json) == json.loads(text)
        assert loaded.read(f"Here it is:\n```json\n{text}\n```\nBye {{}}") == plain
        assert loaded.read(f"It is {text}, I think.") == plain


@pytest.mark.parametrize(
    "source", [{"type": "object"}, {"type": "object", "properties": {"a": {}}}]
)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_no_answer_is_too_odd_to_read(source: dict[str, Any], answer: str) -> None:
    read = OutputSchema.load(source, "p").read(answer)
    if isinstance(read, Invalid):
        assert read.reason.isprintable()
        assert 0 < len(read.reason) <= 310
