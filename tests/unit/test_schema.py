"""The schema of a job: what is refused, what the model is told, what its answer must be."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import UsageError
from batchkit.schema import Invalid, OutputSchema, Valid

PLACE = "jobs/demo.toml: output.schema"


def schema(**properties: Any) -> OutputSchema:
    return OutputSchema.load({"type": "object", "properties": properties}, PLACE)


def refusal(source: Any) -> str:
    with pytest.raises(UsageError) as caught:
        OutputSchema.load(source, PLACE)
    return str(caught.value).removeprefix(f"{PLACE}: ")


def reason(loaded: OutputSchema, answer: str | None) -> str:
    read = loaded.read(answer)
    assert isinstance(read, Invalid)
    return read.reason


TOTAL = schema(total={"type": "number"})
ANY = schema(a={})

# --- what is no schema ---


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file or directory; check the path"),
        (b"", "not JSON: Input data was truncated"),
        (
            b"\xff",
            "not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (b"true", "expected a schema, an object, got true"),
        (b'{"type": "objct"}', 'not a JSON Schema: at $.type: "objct" is not valid under any of'),
    ],
)
def test_a_file_that_is_no_schema_is_refused_by_name(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "x.schema.json"
    if content is not None:
        path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: {fault}")


@pytest.mark.parametrize("given", ['"array"', "null", '["object","null"]'])
def test_an_answer_is_an_object(given: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}" if given == "null" else f'{{"type": {given}}}')
    assert refusal(path) == f'{path}: type: expected "object" at the top, got {given}'


@pytest.mark.parametrize(
    "ref", ["http://127.0.0.1:9/a.json", "file:///etc/passwd", "other.json", "#/$defs/none"]
)
def test_a_ref_that_leaves_the_schema_is_refused(ref: str) -> None:
    source = {"type": "object", "properties": {"a": {"$ref": ref}}}
    assert refusal(source).startswith("refers to what it does not hold: ")


def test_an_unknown_dialect_is_not_fetched() -> None:
    fault = refusal({"$schema": "http://127.0.0.1:9/dialect", "type": "object"})
    assert fault.startswith("refers to what it does not hold: Unknown meta-schema")


@pytest.mark.parametrize(
    "value", [{"pattern": "("}, {"minimum": "x"}, {"const": "\ud800"}, {"const": object()}]
)
def test_a_fault_deep_in_the_schema_is_refused(value: Any) -> None:
    assert refusal({"type": "object", "properties": {"a": value}}).startswith("not ")


def test_a_schema_from_toml_is_plain_json() -> None:
    loaded = schema(a={"type": "number", "minimum": Decimal("0.5"), "examples": [date(2026, 1, 2)]})
    assert loaded.source["properties"]["a"] == {
        "type": "number",
        "minimum": 0.5,
        "examples": ["2026-01-02"],
    }


# --- what the model is told ---


def test_the_instruction_holds_the_schema_in_its_fence() -> None:
    text = TOTAL.instruction
    assert text.endswith(
        '\n\n```json schema\n{"type":"object","properties":{"total":{"type":"number"}}}\n```'
    )
    assert "one JSON object and nothing else" in text


def test_no_description_can_close_the_fence_of_the_instruction() -> None:
    loaded = schema(a={"description": "in ```` fences"})
    assert loaded.instruction.count("```") == 2
    assert "in \\u0060\\u0060\\u0060` fences" in loaded.instruction


# --- where the object is in the answer ---


@pytest.mark.parametrize(
    "answer",
    [
        '{"total": 1}',
        '\ufeff \n{"total": 1}\n',
        '{"total": 5, "total": 1}',
        '```json\n{"total": 1}\n```',
        'Sure!\n```JSON\r\n{\n "total": 1\n}\r\n```\nAnything else?',
        '```\n{"total": 1}\n```',
        'For {"total"} I read:\n```json\n{"total": 1}\n```',
        'The answer is {"total": 1}.',
        'As {this} says: {"total": 1} or {"total": 2}',
        'Not {"total": NaN} but { "total": 1 }',
        '{"total": 1} and then {',
        '```json\n{"total": 1}',
        '\ud800 {"total": 1}',
    ],
)
def test_the_object_is_found(answer: str) -> None:
    assert TOTAL.read(answer) == Valid('{"total":1}')


def test_a_fence_inside_a_string_is_no_fence() -> None:
    answer = '{"a": "```json\\n{\\"b\\": {}}\\n```"} as asked'
    assert ANY.read(answer) == Valid('{"a":"```json\\n{\\"b\\": {}}\\n```"}')


def test_braces_and_quotes_inside_strings_do_not_count() -> None:
    assert ANY.read(r'so: {"a": "}\"{ \\"} ok') == Valid(r'{"a":"}\"{ \\"}')


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, "the answer is empty"),
        (" \n", "the answer is empty"),
        ("I cannot tell.", "no JSON object in the answer"),
        ("{see above}", "no JSON object in the answer"),
        ('see {"above"}', "not JSON: expected ':' (byte 8)"),
        ('{"total": 1', "not JSON: an object is not closed"),
        ('{"a": {"total": 1}', "not JSON: an object is not closed"),
        ('{"total": 1,}', "not JSON: trailing comma in object (byte 12)"),
        ('{"total": NaN}', "not JSON: invalid character (byte 10)"),
        ('{"total": -Infinity}', "not JSON: invalid character (byte 11)"),
        ('{"total": 1e999}', "not JSON: Number out of range - at `$[...]`"),
        ('{"total": \0}', "not JSON: invalid character (byte 10)"),
        ('{"a": "\ud800"}', "not JSON: a lone surrogate"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested deeper than 100 levels"),
        ('{"total": "abc"}', 'at $.total: "abc" is not of type "number"'),
        ('[{"total": 1}]', 'at $: [{"total":1}] is not of type "object"'),
        ('Two: [{"total": 1}, {}]', 'at $: [{"total":1},{}] is not of type "object"'),
        ("null", 'at $: null is not of type "object"'),
    ],
)
def test_what_is_not_the_object_is_invalid_and_says_why(answer: str | None, expected: str) -> None:
    assert reason(TOTAL, answer) == expected


# --- validation ---


def test_a_reason_names_the_path() -> None:
    nested = schema(rows={"type": "array", "items": {"enum": ["x", "y"]}})
    assert reason(nested, '{"rows": ["x", 1]}') == 'at $.rows[1]: 1 is not one of "x" or "y"'


def test_a_reason_is_one_short_printable_line_that_keeps_both_ends() -> None:
    long = reason(TOTAL, '{"total": "a\\n\\u0000\\u202e' + "x" * 9_000 + '"}')
    assert len(long) == len("at $.total: ") + 200
    assert long.isprintable()
    assert long.startswith('at $.total: "a')
    assert long.endswith('x" is not of type "number"')


def test_a_long_path_is_shortened() -> None:
    deep = OutputSchema.load({"type": "object", "additionalProperties": {"type": "null"}}, PLACE)
    assert len(reason(deep, '{"%s": 1}' % ("k" * 9_000))) < 200


@pytest.mark.parametrize("value", ["2026-02-30", "30/02/2026", "20260230", "0000-01-01"])
def test_a_date_that_is_no_date_is_invalid(value: str) -> None:
    dated = schema(a={"type": "string", "format": "date"})
    assert reason(dated, f'{{"a": "{value}"}}').startswith(f'at $.a: "{value}" ')


@pytest.mark.parametrize(
    "value", ["2026-01-02T03:04:05", "2016-12-31T23:59:60Z", "0001-01-01T00:00:00+01:00"]
)
def test_an_instant_that_no_timestamp_holds_is_invalid(value: str) -> None:
    timed = schema(a={"type": "string", "format": "date-time"})
    assert reason(timed, f'{{"a": "{value}"}}').startswith(f'at $.a: "{value}" ')


@pytest.mark.parametrize("value", [str(2**63), str(-(2**63) - 1), "1e300"])
def test_an_integer_past_64_bits_is_invalid(value: str) -> None:
    counted = schema(a={"type": "integer"})
    assert reason(counted, f'{{"a": {value}}}').endswith("does not fit a column of type integer")


def test_a_number_that_no_float_holds_is_invalid() -> None:
    assert reason(TOTAL, '{"total": %s}' % ("9" * 400)) == (
        "at $.total: an integer of 1329 bits does not fit a column of type number"
    )


def test_integers_of_any_size_live_in_json_text() -> None:
    assert ANY.read(f'{{"a": {2**90}}}') == Valid(f'{{"a":{2**90}}}')


def test_equal_answers_have_equal_texts() -> None:
    assert ANY.read('{"b": 1, "a": {"d": "é", "c": []}}') == Valid('{"a":{"c":[],"d":"é"},"b":1}')


@pytest.mark.parametrize(
    "answer",
    [
        '{"' * 1_000_000,
        '{"a":' * 400_000,
        '{"}' * 700_000,
        "{}" * 1_000_000,
        "```json\n" * 250_000,
        '{"a":"' + '\\"' * 1_000_000,
        '{"rows":[' + '"x",' * 500_000 + "0]}",
    ],
    ids=lambda answer: answer[:9],
)
def test_no_answer_of_2_mb_takes_long(answer: str) -> None:
    """Quadratic work would take minutes, jsonschema-rs's account of every fault half of one.

    The processor's seconds are meant, of which others on the machine take none.
    """
    row = {"anyOf": [{"type": "integer"}, {"const": 0}]}
    choice = schema(rows={"anyOf": [{"type": "array", "items": row}, {"const": 0}]})
    began = time.process_time()
    choice.read(answer)
    assert time.process_time() - began < 10


def test_reading_answers_does_not_load_pyarrow() -> None:
    code = (
        "import sys; from batchkit.schema import OutputSchema; "
        "OutputSchema.load({'type': 'object'}, 'x').read('{}'); "
        "sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
