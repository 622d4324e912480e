"""A schema from the caller: a dictionary, a file, a class of msgspec's or pydantic's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pydantic
import pytest

from batchkit.errors import UsageError
from batchkit.given_schema import given_schema
from batchkit.job import Job, OutputSection
from batchkit.schema import OutputSchema, Valid

ANSWER = '{"lines": [{"name": "tea", "price": 1.5}], "paid": "2026-01-02", "how": "cash"}'
OUTPUT = pa.struct(
    [
        ("how", pa.string()),
        ("lines", pa.list_(pa.struct([("name", pa.string()), ("price", pa.float64())]))),
        ("note", pa.string()),
        ("paid", pa.date32()),
    ]
)


class How(StrEnum):
    CASH = "cash"
    CARD = "card"


class StructLine(msgspec.Struct):
    name: str
    price: float


class StructReceipt(msgspec.Struct):
    how: How
    lines: list[StructLine]
    paid: date
    note: str | None = None


class PydanticLine(pydantic.BaseModel):
    name: str
    price: float


class PydanticReceipt(pydantic.BaseModel):
    how: How
    lines: list[PydanticLine]
    paid: date
    note: str | None = None


@dataclass
class PlainLine:
    name: str
    price: float


@dataclass
class PlainReceipt:
    how: How
    lines: list[PlainLine]
    paid: date
    note: str | None = None


def given(value: Any, job: Job | None = None) -> dict[str, Any] | None:
    return given_schema(Path("jobs/demo.toml"), job or Job(), value)


@pytest.mark.parametrize("kind", [StructReceipt, PydanticReceipt, PlainReceipt])
def test_a_class_becomes_a_typed_column_through_its_refs(kind: type) -> None:
    schema = given(kind)
    assert schema is not None
    assert "$defs" in schema
    loaded = OutputSchema.load(schema, "schema")
    column = loaded.arrow_type()
    assert isinstance(column, pa.StructType)
    assert {field.name: field.type for field in column} == {f.name: f.type for f in OUTPUT}
    found = loaded.read(ANSWER)
    assert isinstance(found, Valid)
    (row,) = loaded.to_arrow([found.json]).to_pylist()
    assert row is not None
    assert (row["lines"], row["paid"]) == ([{"name": "tea", "price": 1.5}], date(2026, 1, 2))


def test_the_callers_schema_wins_over_the_jobs() -> None:
    job = Job(output=OutputSection(schema={"type": "object", "title": "job"}))
    assert given(None, job) == {"type": "object", "title": "job"}
    assert given({"type": "object"}, job) == {"type": "object"}


def test_a_file_of_the_caller_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_bytes(b'\xef\xbb\xbf{"type": "object"}')
    assert given("a.json") == given(tmp_path / "a.json") == {"type": "object"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object, "schema: expected a JSON Schema, the path of one or a class that stands for one"),
        (7, "schema: expected a JSON Schema, the path of one or a class that stands for one"),
        ("none.json", "schema: none.json cannot be read as JSON: no such file or directory"),
    ],
)
def test_what_is_no_schema_is_refused_in_one_line(value: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        given(value)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_pydantic_is_not_imported_unless_it_is_given() -> None:
    code = (
        "import sys, msgspec; from pathlib import Path; from batchkit.job import Job; "
        "from batchkit.given_schema import given_schema; "
        "given_schema(Path('x'), Job(), msgspec.defstruct('A', [('a', int)])); "
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
