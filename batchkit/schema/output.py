"""Owns the answer schema of a job: what the model is told, and what becomes of its answers.

What `OutputSchema.read` finds valid, `OutputSchema.to_arrow` stores: a value that validates but
does not fit its column (an integer past 64 bits, a leap second) is invalid when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jsonschema_rs
import msgspec

from batchkit.errors import UsageError
from batchkit.schema.answer import NotJsonError, decode, encode, json_value
from batchkit.schema.arrow import UnfitError, cell, data_type
from batchkit.schema.columns import column_of, is_object_schema

if TYPE_CHECKING:
    import pyarrow as pa

EXPLAINED = 32_768  # characters; jsonschema-rs takes seconds to explain the faults of a 2 MB answer
MAX_WORDS = 200  # characters of a validator's message, which may quote the answer
MAX_PATH = 100

_INSTRUCTION = (
    "Answer with one JSON object and nothing else: no explanation, no code fence. "
    "It must validate against this JSON Schema:\n\n```json schema\n{schema}\n```"
)


class Valid(msgspec.Struct, frozen=True):
    """An answer that validates."""

    json: str  # compact, keys sorted


class Invalid(msgspec.Struct, frozen=True):
    """An answer that does not validate."""

    reason: str  # one short line, for a person and for the model


class OutputSchema:
    """A JSON Schema for answers; `format` is asserted, and nothing is ever fetched.

    Attributes:
        source: the schema as given.
        instruction: what to append to a prompt; the same for every row, so that a provider's
            prefix cache can hold it.
        correction: how to end the turn that asks again.
    """

    correction = "Answer again with the corrected JSON object and nothing else."

    def __init__(self, source: dict[str, Any]) -> None:
        """Raises `jsonschema_rs.ValidationError` if `source` is no schema; see `load`."""
        self.source = source
        # The only place for a backtick in JSON is a string, so its escape means the same.
        text = msgspec.json.encode(source).decode().replace("```", "\\u0060" * 3)
        self.instruction = _INSTRUCTION.replace("{schema}", text)
        self._validator = jsonschema_rs.validator_for(source, validate_formats=True, offline=True)
        self._column = column_of(source)

    @classmethod
    def load(cls, source: Path | Mapping[str, Any], place: str) -> Self:
        """The schema in a file, or in the job file itself; raises `UsageError`."""
        if isinstance(source, Path):
            place = f"{place}: {source}"
        schema = _read(source, place)
        if not isinstance(schema, dict):
            raise UsageError(f"{place}: expected a schema, an object, got {_line(encode(schema))}")
        try:
            loaded = cls(schema)
        except jsonschema_rs.ValidationError as error:
            raise UsageError(f"{place}: {_refusal(error)}") from None
        except ValueError as error:  # jsonschema-rs refuses to go so deep
            raise UsageError(f"{place}: not a JSON Schema: {_line(str(error))}") from None
        if not is_object_schema(schema):
            given = _line(encode(schema.get("type")))
            raise UsageError(f'{place}: type: expected "object" at the top, got {given}')
        return loaded

    def read(self, text: str | None) -> Valid | Invalid:
        """Finds the object in an answer (alone, in a code fence, in prose) and validates it."""
        try:
            value = json_value(text or "")
        except NotJsonError as error:
            return Invalid(_line(str(error)))
        answer = encode(value)
        if not self._validator.is_valid(value):
            return Invalid(self._explain(value, len(answer)))
        try:
            cell(self._column, value)
        except UnfitError as error:
            return Invalid(_fault(error.path, error.message))
        return Valid(answer)

    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the answers; anything in it may be null.

        | in the schema                                              | in Arrow             |
        |------------------------------------------------------------|----------------------|
        | string, and an `enum` or `const` of strings                | string               |
        | string with `format` `date`                                | date32               |
        | string with `format` `date-time`                           | timestamp[us, UTC]   |
        | integer                                                    | int64                |
        | number, also together with integer                         | float64              |
        | boolean                                                    | bool                 |
        | array with one schema for its `items`                      | list                 |
        | object with `properties`                                   | struct of these      |
        | one of these or null (`type` list, `anyOf`, `oneOf`)       | the same             |
        | `$ref` into the schema, a single `allOf`                   | as what it names     |
        | several types, tuples, objects without `properties`, maps  | string, as JSON text |
        | a `$ref` inside what it names, past 32 levels of nesting   | string, as JSON text |

        Keys that `properties` does not name are left out; `"additionalProperties": false` makes an
        answer that has any invalid.
        """
        return data_type(self._column)

    def to_arrow(self, texts: Sequence[str | None]) -> pa.Array[Any]:
        """A column of `Valid.json` texts; null for None."""
        import pyarrow as pa  # noqa: PLC0415  # `batchkit --help` must not load it

        values = [None if text is None else cell(self._column, decode(text)) for text in texts]
        return pa.array(values, type=self.arrow_type())

    def _explain(self, value: Any, size: int) -> str:
        if size > EXPLAINED:
            return f"the answer does not validate; its {size} characters are too many to say where"
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return _fault(error.instance_path, error.message)
        raise AssertionError("is_valid and validate disagree")


def _read(source: Path | Mapping[str, Any], place: str) -> Any:
    try:
        # A mapping becomes plain JSON: TOML has decimals and dates, which no validator knows.
        text = (
            source.read_bytes().decode("utf-8-sig")
            if isinstance(source, Path)
            else msgspec.json.Encoder(decimal_format="number").encode(source).decode()
        )
    except OSError as error:
        raise UsageError(f"{place}: cannot be read: {error.strerror}; check the path") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{place}: not JSON: {_line(str(error))}") from error
    try:
        return decode(text)
    except NotJsonError as error:
        raise UsageError(f"{place}: {error}") from error


def _refusal(error: jsonschema_rs.ValidationError) -> str:
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Referencing):
        return f"refers to what it does not hold: {_line(error.message)}; copy that into its $defs"
    return f"not a JSON Schema: {_fault(error.instance_path, error.message)}"


def _fault(path: Sequence[str | int], message: str) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"at {_line('$' + ''.join(steps), MAX_PATH)}: {_line(message)}"


def _line(text: str, limit: int = MAX_WORDS) -> str:
    """`text` on one line, its middle left out if it is long: both ends of a message matter."""
    if len(text) > limit:
        text = f"{text[: limit // 2 - 1]}…{text[-(limit // 2) :]}"
    return "".join(char if char.isprintable() else " " for char in text)
