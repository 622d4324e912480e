"""Kept columns come back as they were, whatever their type, through the journal's MessagePack."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from batchkit.errors import UsageError
from batchkit.sources import Raw, open_source
from batchkit.sources.inference import FIELDS_MOST, KeepInference
from batchkit.sources.keep import (
    KeepColumn,
    dump_columns,
    load_columns,
    to_arrow,
    to_storage,
)

INSIDE = pa.struct(
    [
        pa.field("pair", pa.list_(pa.int32(), 2)),
        pa.field("at", pa.timestamp("ns", "Asia/Shanghai")),
        pa.field("money", pa.decimal128(9, 2)),
        pa.field("kind", pa.dictionary(pa.int8(), pa.string())),
        pa.field("day", pa.date32()),
    ]
)
FULL = {"pair": [1, 2], "at": 3, "money": Decimal("4.50"), "kind": "k", "day": 5}
EMPTY = dict.fromkeys(FULL)

COLUMNS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.null(), [None, None]),
    (pa.bool_(), [True, None]),
    (pa.int8(), [-128, None]),
    (pa.uint64(), [2**64 - 1, None]),
    (pa.float16(), [1.5, None]),
    (pa.float32(), [0.1, None]),
    (pa.float64(), [0.1, None]),
    (pa.string(), ["中", None]),
    (pa.large_string(), ["中", None]),
    (pa.string_view(), ["中", None]),
    (pa.binary(), [b"\xff", None]),
    (pa.large_binary(), [b"\xff", None]),
    (pa.binary_view(), [b"\xff", None]),
    (pa.binary(2), [b"\xff\0", None]),
    (pa.date32(), [20_000, None]),
    (pa.date64(), [86_400_000, None]),
    (pa.time32("ms"), [5, None]),
    (pa.time64("ns"), [5, None]),
    (pa.timestamp("s"), [10**17, None]),
    (pa.timestamp("ns", "Asia/Shanghai"), [1_777_777_777_123_456_789, None]),
    (pa.duration("ns"), [5, None]),
    (pa.decimal32(5, 1), [Decimal("1.5"), None]),
    (pa.decimal128(38, 9), [Decimal("-1.500000000"), None]),
    (pa.decimal256(60, 20), [Decimal("1.5"), None]),
    (pa.decimal128(10, -2), [Decimal("1E+2"), None]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", None]),
    (pa.dictionary(pa.int32(), pa.int64()), [7, None]),
    (pa.list_(pa.timestamp("us")), [[1, None], None, []]),
    (pa.large_list(pa.decimal128(5, 1)), [[Decimal("1.5"), None], None]),
    (pa.list_(pa.int32(), 2), [[1, 2], None]),
    (pa.list_(pa.field("element", pa.string(), nullable=False)), [["a"], None]),
    (pa.map_(pa.string(), pa.decimal128(5, 1)), [[("a", Decimal("1.5"))], None, []]),
    (INSIDE, [FULL, None, EMPTY]),
    (pa.list_(INSIDE), [[FULL, None, EMPTY], None, []]),
    (pa.uuid(), [b"0123456789abcdef", None]),
    (pa.json_(), ['{"a": 1}', None]),
]


def through_the_journal(array: Any) -> tuple[KeepColumn, pa.Array[Any]]:
    column = KeepColumn.of("kept", array.type)
    values = array.cast(column.storage).to_pylist()
    journaled = msgspec.msgpack.decode(msgspec.msgpack.encode(values))
    (loaded,) = load_columns(dump_columns([column]))
    assert loaded == column
    return column, to_arrow(loaded, journaled)


@pytest.mark.parametrize(("kind", "values"), COLUMNS, ids=lambda value: str(value)[:30])
def test_a_column_comes_back_as_it_was(kind: pa.DataType, values: list[Any]) -> None:
    array = pa.array(values, kind)
    column, back = through_the_journal(array)
    back.validate(full=True)
    assert not column.as_json
    assert back.type == kind
    assert back.equals(array)


def test_a_type_without_storage_becomes_json_text(tmp_path: Path) -> None:
    kinds = {
        "interval": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
        "view": pa.array([[1], None], pa.list_view(pa.int64())),
        "either": pa.UnionArray.from_sparse(
            pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", None])]
        ),
    }
    path = tmp_path / "data.arrow"
    table = pa.table(kinds)
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    source = open_source(path, keep=list(kinds))
    columns = source.keep_columns
    assert columns == tuple(KeepColumn.json(name) for name in kinds)
    assert [raw.keep for raw in source.scan()] == [
        ["[1,2,3]", "[1]", "1"],
        [None, None, None],
    ]
    assert load_columns(dump_columns(columns)) == columns


def inferred(*values: Any) -> tuple[pa.DataType | str, list[Any]]:
    """The type found for a column with these values ("json" for JSON text), and what comes back."""
    inference = KeepInference(["x"])
    for value in values:
        inference.observe({"x": value})
    columns = inference.finish("r.jsonl")
    stored = [to_storage(columns, Raw(0, 1, 0, {"x": value}))[0] for value in values]
    journaled = msgspec.msgpack.decode(msgspec.msgpack.encode(stored))
    kind = "json" if columns[0].as_json else columns[0].type
    return kind, to_arrow(columns[0], journaled).to_pylist()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, None], pa.null()),
        ([True, None], pa.bool_()),
        ([1, None, -(2**63)], pa.int64()),
        ([1.5, None], pa.float64()),
        ([1, 1.5, 2**53], pa.float64()),
        (["a", None], pa.string()),
        ([["a"], [], None], pa.list_(pa.string())),
        ([[], None], pa.list_(pa.null())),
        ([[1], [1.5]], pa.list_(pa.float64())),
        (
            [{"a": 1, "b": ["x"]}],
            pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.list_(pa.string()))]),
        ),
    ],
)
def test_a_jsonl_column_takes_the_narrowest_type(values: list[Any], kind: pa.DataType) -> None:
    assert inferred(*values) == (kind, values)


def test_a_key_that_an_object_lacks_is_null() -> None:
    kind = pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.string())])
    assert inferred({"a": 1}, {"b": "x"}) == (kind, [{"a": 1, "b": None}, {"a": None, "b": "x"}])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "a", None], ["1", '"a"', None]),
        ([True, 1], ["true", "1"]),
        ([2**63], ["9223372036854775808"]),
        ([10**40], ["1" + "0" * 40]),
        ([1.5, 2**53 + 1], ["1.5", "9007199254740993"]),
        ([2**53 + 1, 1.5], ["9007199254740993", "1.5"]),
        ([{}], ["{}"]),
        ([[{}]], ["[{}]"]),
        ([[1], {"a": 1}], ["[1]", '{"a":1}']),
        ([{"a": [1, "x"]}, {"a": 1}], ['{"a":[1,"x"]}', '{"a":1}']),
    ],
)
def test_values_without_a_common_type_become_json_text(
    values: list[Any], texts: list[str | None]
) -> None:
    assert inferred(*values) == ("json", texts)


def test_an_object_with_data_in_its_keys_and_deep_nesting_become_json_text() -> None:
    wide = {f"key {n}": n for n in range(FIELDS_MOST + 1)}
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert [inferred(wide)[0], inferred(deep)[0]] == ["json", "json"]


def test_a_row_that_lacks_the_column_has_null() -> None:
    inference = KeepInference(["label"])
    inference.observe({"label": "x"})
    inference.observe({})
    columns = inference.finish("r.jsonl")
    assert to_storage(columns, Raw(1, 2, 0, {})) == [None]
    assert to_storage(columns, Raw(1, 2, 0, None, "not JSON")) == [None]


def test_a_column_that_no_row_has_is_refused() -> None:
    inference = KeepInference(["label", "lable"])
    inference.observe({"id": 1, "label": "x"})
    with pytest.raises(UsageError) as error:
        inference.finish("r.jsonl")
    assert str(error.value) == "r.jsonl: keep: no row has 'lable'; the first has id, label"


def test_without_rows_nothing_is_refused() -> None:
    assert KeepInference(["label"]).finish("r.jsonl") == (KeepColumn.of("label", pa.null()),)
