"""Rows that follow each other with the same value, as one row."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit.errors import UsageError
from batchkit.sources import Raw, open_source
from batchkit.sources import grouped as grouped_module
from batchkit.sources.grouped import GroupedSource

ROWS = [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("c", 5), ("c", 6), ("a", 7)]
FORMATS = ["jsonl", "jsonl.gz", "parquet", "arrow"]


def as_dicts(rows: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"doc": doc, "n": n, "k": n * 10} for doc, n in rows]


def write(here: Path, form: str, rows: list[dict[str, Any]]) -> Path:
    path = here / f"rows.{form}"
    lines = "\n\n".join(json.dumps(row) for row in rows).encode()
    if form == "jsonl":
        path.write_bytes(lines)
    elif form == "jsonl.gz":
        path.write_bytes(gzip.compress(lines))
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    else:
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return path


def opened(path: Path, *keep: str) -> GroupedSource:
    return GroupedSource(open_source(path, keep=keep), "doc", keep)


def summary(raw: Raw) -> tuple[int, str, list[int]]:
    assert raw.values is not None, raw.fault
    return raw.row, raw.values["doc"], [row["n"] for row in raw.values["rows"]]


GROUPS = [(0, "a", [1, 2]), (1, "b", [3]), (2, "c", [4, 5, 6]), (3, "a", [7])]


@pytest.mark.parametrize("form", FORMATS)
def test_neighbours_are_grouped_and_a_value_that_comes_again_is_another_group(
    tmp_path: Path, form: str
) -> None:
    source = opened(write(tmp_path, form, as_dicts(ROWS)))
    assert [summary(raw) for raw in source.scan()] == GROUPS


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("wanted", [[0, 1, 2, 3], [1], [0, 2], [1, 3], [2, 3], [3]])
def test_a_cursor_reads_chosen_groups(tmp_path: Path, form: str, wanted: list[int]) -> None:
    source = opened(write(tmp_path, form, as_dicts(ROWS)))
    places = [(raw.row, raw.offset) for raw in source.scan()]
    with closing(source.cursor()) as cursor:
        taken = [one for row in wanted for one in cursor.take([places[row]])]
    assert [summary(raw) for raw in taken] == [GROUPS[row] for row in wanted]
    with closing(source.cursor()) as cursor:
        taken = cursor.take([places[row] for row in wanted])
    assert [summary(raw) for raw in taken] == [GROUPS[row] for row in wanted]


@pytest.mark.parametrize("form", FORMATS)
def test_what_travels_along_is_that_of_the_first_row(tmp_path: Path, form: str) -> None:
    source = opened(write(tmp_path, form, as_dicts(ROWS)), "k")
    first = next(source.scan())
    assert first.values is not None
    assert {name: first.values[name] for name in first.values if name != "rows"} == {
        "doc": "a",
        "k": 10,
    }
    assert first.keep in (None, [10])


def test_a_row_that_cannot_be_read_spoils_its_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"doc":"a","n":1}\n[]\n{"doc":"a","n":2}\n{"doc":"b","n":3}\n')
    source = opened(path)
    first, second = source.scan()
    assert (first.values, first.fault) == (None, "expected a JSON object, got a list")
    assert source.place(first) == f"{path}:2"
    assert summary(second) == (1, "b", [3])


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"n": 1}, "group.by: column 'doc' is missing; the row has n"),
        ({"doc": None}, "group.by: column 'doc' is null"),
    ],
)
def test_a_row_without_the_column_says_so(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    (raw,) = opened(write(tmp_path, "jsonl", [row])).scan()
    assert (raw.values, raw.fault) == (None, fault)


def test_a_group_without_end_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped_module, "ROWS_MOST", 2)
    first, second, third, _ = opened(write(tmp_path, "jsonl", as_dicts(ROWS))).scan()
    assert [summary(first), summary(second)] == GROUPS[:2]
    assert third.fault == "more than 2 rows in a row have doc 'c'"


def test_a_file_that_lacks_the_column_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "parquet", [{"n": 1}])
    with pytest.raises(UsageError) as caught:
        opened(path)
    assert str(caught.value) == (f"{path}: group.by: there is no column 'doc'; the file has n")


def test_a_column_named_as_the_groups_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl", [{"doc": "a", "rows": 1}])
    with pytest.raises(UsageError, match="'rows' is also a column's; rename the column"):
        opened(path, "rows")
