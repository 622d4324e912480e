"""Parquet and Arrow sources: rows of plain values, chosen columns, cursors that leap."""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit.errors import UsageError
from batchkit.sources import Raw, open_source
from batchkit.sources.tables import ArrowTable, ParquetTable


def write_parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, row_group_size=300)


def write_arrow(path: Path, table: pa.Table) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


def write_compressed(path: Path, table: pa.Table) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=700)


def write_stream(path: Path, table: pa.Table) -> None:
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


Writer = Callable[[Path, pa.Table], None]
WRITERS = [
    pytest.param("parquet", write_parquet, id="parquet"),
    pytest.param("arrow", write_arrow, id="arrow"),
    pytest.param("arrow", write_compressed, id="arrow-zstd"),
    pytest.param("arrow", write_stream, id="stream"),
]
EACH_FORMAT = pytest.mark.parametrize(("suffix", "write"), WRITERS)


def numbers(count: int) -> pa.Table:
    return pa.table({"id": list(range(count)), "text": [f"text {n}" for n in range(count)]})


def one(folder: Path, **columns: Any) -> Raw:
    """The only row of a Parquet file with these columns."""
    path = folder / "data.parquet"
    pq.write_table(pa.table(columns), path)
    (raw,) = open_source(path).scan()
    return raw


@EACH_FORMAT
def test_rows_come_in_order_with_their_numbers(tmp_path: Path, suffix: str, write: Writer) -> None:
    path = tmp_path / f"data.{suffix}"
    write(path, numbers(2000))
    source = open_source(path)
    assert list(source.scan()) == [
        Raw(n, n + 1, 0, {"id": n, "text": f"text {n}"}, None, []) for n in range(2000)
    ]
    assert source.columns == ("id", "text")
    assert source.place(Raw(17, 18, 0, {})) == f"{path}:row 17"


@EACH_FORMAT
def test_a_cursor_takes_chosen_rows(tmp_path: Path, suffix: str, write: Writer) -> None:
    path = tmp_path / f"data.{suffix}"
    write(path, numbers(2000))
    source = open_source(path, keep=["id"])
    chosen = [3, 4, 5, 250, 299, 300, 302, 1500, 1999]
    cursor, other = source.cursor(), source.cursor()
    taken = cursor.take([(row, 0) for row in chosen[:4]])
    assert [raw.row for raw in other.take([(1999, 0)])] == [1999]
    taken += cursor.take([])
    taken += cursor.take([(row, 0) for row in chosen[4:]])
    assert taken == [Raw(n, n + 1, 0, {"id": n, "text": f"text {n}"}, None, [n]) for n in chosen]
    (beyond,) = cursor.take([(2000, 0)])
    assert beyond.fault == "the file ends before this row; it was changed while it was read"
    cursor.close()
    other.close()


def test_a_cursor_leaps_over_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    write_parquet(path, numbers(2000))
    table = ParquetTable(path)
    assert [table.chapter(row) for row in (0, 299, 300, 1999, 2000)] == [0, 0, 1, 6, 7]
    first, batch = next(table.slices(["id"], 1000))
    assert (first, batch.column("id")[0].as_py()) == (900, 900)
    table.close()


def test_one_huge_batch_is_cut_into_slices(tmp_path: Path) -> None:
    path = tmp_path / "data.arrow"
    table = numbers(1000)
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    opened = ArrowTable(path)
    assert [batch.num_rows for _, batch in opened.slices(["id"])] == [256, 256, 256, 232]
    opened.close()


@EACH_FORMAT
def test_only_the_wanted_columns_are_in_the_values(
    tmp_path: Path, suffix: str, write: Writer
) -> None:
    path = tmp_path / f"data.{suffix}"
    write(path, pa.table({"a": [1], "b": [2], "c": [3]}))

    def only_row(**options: Any) -> tuple[Any, Any]:
        (raw,) = open_source(path, **options).scan()
        return raw.values, raw.keep

    assert only_row(columns={"c", "a", "missing"}) == ({"a": 1, "c": 3}, [])
    assert only_row(columns={"a"}, keep=["c", "b"]) == ({"a": 1}, [3, 2])
    assert only_row(columns=set()) == ({}, [])


def test_values_are_what_a_prompt_can_print(tmp_path: Path) -> None:
    day = dt.datetime(2026, 5, 4, 3, 2, 1, tzinfo=dt.UTC)
    raw = one(
        tmp_path,
        ns=pa.array([1_777_777_777_123_456_789], pa.timestamp("ns")),
        us=pa.array([day], pa.timestamp("us", "UTC")),
        time=pa.array([1_000_001], pa.time64("ns")),
        took=pa.array([1_000_001], pa.duration("ns")),
        money=pa.array([Decimal("1.20")]),
        text_as_bytes=pa.array(["中文".encode()], pa.binary()),
        bytes=pa.array([b"\xff"], pa.binary()),
        label=pa.array(["x"]).dictionary_encode(),
        messages=pa.array([[{"role": "user", "content": "hi", "name": None}]]),
        facts=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        none=pa.array([None], pa.null()),
    )
    assert raw.values == {
        "ns": dt.datetime(2026, 5, 3, 3, 9, 37, 123456),  # noqa: DTZ001  # the column has no zone
        "us": day,
        "time": dt.time(0, 0, 0, 1000),
        "took": dt.timedelta(microseconds=1000),
        "money": Decimal("1.20"),
        "text_as_bytes": "中文",
        "bytes": b"\xff",
        "label": "x",
        "messages": [{"role": "user", "content": "hi", "name": None}],
        "facts": {"a": 1},
        "none": None,
    }


def test_a_value_that_python_cannot_hold_is_the_fault_of_its_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    raw_bytes = pa.array([b"ok", b"\xff", b"ok"]).cast(pa.binary()).buffers()
    texts = pa.Array.from_buffers(pa.string(), 3, raw_bytes)
    pq.write_table(pa.table({"text": texts}), path)
    assert [(raw.row, raw.values, raw.fault) for raw in open_source(path).scan()] == [
        (0, {"text": "ok"}, None),
        (1, None, "cannot be read: text that is not UTF-8"),
        (2, {"text": "ok"}, None),
    ]


def test_a_time_beyond_the_year_9999_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "data.arrow"
    write_arrow(path, pa.table({"at": pa.array([0, 10**17], pa.timestamp("s"))}))
    good, far = open_source(path, keep=["at"]).scan()
    assert (good.values, good.keep) == ({"at": dt.datetime(1970, 1, 1)}, [0])  # noqa: DTZ001
    assert (far.values, (far.fault or "")[:16]) == (None, "cannot be read: ")
    (unread,) = list(open_source(path, keep=["at"], columns=set()).scan())[1:]
    assert unread == Raw(1, 2, 0, {}, None, [10**17])


def test_an_arrow_file_whose_offsets_point_outside_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "data.arrow"
    write_arrow(path, pa.table({"text": ["ab", "cd"]}))
    offsets, outside = struct.pack("<3i", 0, 2, 4), struct.pack("<3i", 0, 2, 2_000_000_000)
    assert path.read_bytes().count(offsets) == 1
    path.write_bytes(path.read_bytes().replace(offsets, outside))
    (raw,) = open_source(path).scan()
    assert (raw.row, raw.values) == (0, None)
    assert (raw.fault or "").startswith("cannot be read: ")


def test_a_file_damaged_in_the_middle_ends_in_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(numbers(50_000), path, row_group_size=10_000, compression="zstd")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    source = open_source(path)
    *whole, last = source.scan()
    assert all(raw.fault is None for raw in whole)
    assert (last.row, last.values) == (len(whole), None)
    assert (last.fault or "").startswith("cannot be read: ")
    cursor = source.cursor()
    assert [raw.fault is None for raw in cursor.take([(0, 0), (29_999, 0)])] == [True, False]
    cursor.close()


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("content", [b"garbage, not a table at all", b"PAR1", b"ARROW1\0\0"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"data.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        open_source(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    write_parquet(path, numbers(1000))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"data\.parquet: cannot be read: .*; mend the file$"):
        open_source(path)


@pytest.mark.parametrize(
    ("table", "keep", "message"),
    [
        (numbers(1), ["label"], "keep: there is no column 'label'; the file has id, text"),
        (
            pa.table([[1], [2]], names=["a", "a"]),
            [],
            "has two columns 'a'; rename one",
        ),
        (numbers(0), [], "has no rows; expected at least one"),
        (pa.table({}), [], "has no columns; expected requests or documents"),
    ],
)
def test_a_table_that_cannot_serve_is_refused(
    tmp_path: Path, table: pa.Table, keep: list[str], message: str
) -> None:
    path = tmp_path / "data.arrow"
    write_arrow(path, table)
    with pytest.raises(UsageError) as error:
        open_source(path, keep=keep)
    assert str(error.value) == f"{path}: {message}"


def test_a_struct_with_one_field_name_twice_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "data.arrow"
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    write_arrow(path, pa.table({"s": twice}))
    (raw,) = open_source(path, keep=["s"]).scan()
    assert raw.values is None
    assert json.dumps(raw.fault).isascii()
