"""The input's columns beside the results': the right row, the right type, the right file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit.errors import UsageError
from batchkit.joined import input_columns
from batchkit.reading import open_run
from batchkit.sources import open_source
from tests.runs import make_run, settled

ROWS = [{"id": n, "text": f"text {n}", "score": n / 2, "label": "x"} for n in range(6)]


def jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def arrow(path: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return path


def run_over(path: Path, folder: Path, rows: Iterable[int], **words: Any) -> Path:
    """A run over the file `path` of which `rows` have settled."""
    source = open_source(path)
    noted = {"path": str(path), **source.fingerprint(), "xxh3": source.content_hash()}
    keep = {"label": pa.string()} if words.pop("keeps", False) else {}
    done = [settled(row, f"answer {row}", *["x"][: len(keep)]) for row in rows]
    return make_run(folder, done, keep=keep, input=noted, planned=6, **words)


def joined(folder: Path, file: Path | None = None) -> pa.Table:
    with open_run(folder) as run:
        columns = input_columns(run, file)
        batches = list(columns.beside(run.results(["row", "content"])))
    return pa.Table.from_batches(batches)


@pytest.fixture(params=["jsonl", "parquet", "arrow"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """`ROWS` in a file of each format."""
    path = tmp_path / f"docs.{request.param}"
    if request.param == "jsonl":
        yield jsonl(path, ROWS)
        return
    table = pa.Table.from_pylist(ROWS)
    if request.param == "arrow":
        arrow(path, table)
    else:
        pq.write_table(table, path, row_group_size=2)
    yield path


@pytest.mark.parametrize("sealed", [0, 1])
def test_each_row_has_its_own_input(given: Path, tmp_path: Path, sealed: int) -> None:
    """Also when rows in between have not settled."""
    rows = [0, 1, 2, 3, 5] if sealed else [1, 4, 5]
    table = joined(run_over(given, tmp_path / "run", rows, sealed=sealed))
    assert table.to_pylist() == [
        {"row": row, "content": f"answer {row}", **ROWS[row]} for row in rows
    ]
    assert table.schema.field("score").type == pa.float64()


def test_kept_columns_are_there_already(given: Path, tmp_path: Path) -> None:
    table = joined(run_over(given, tmp_path / "run", [2], keeps=True))
    assert table.column_names == ["row", "content", "id", "text", "score"]


def test_a_name_that_the_results_have_gets_another(tmp_path: Path) -> None:
    rows = [{"model": "m", "input_model": "n", "row": 7, "free": 1}] * 6
    table = joined(run_over(jsonl(tmp_path / "q.jsonl", rows), tmp_path / "run", [0]))
    assert table.to_pylist() == [
        {
            "row": 0,
            "content": "answer 0",
            "input_model": "m",
            "input_input_model": "n",
            "input_row": 7,
            "free": 1,
        }
    ]


def test_rows_may_lack_keys_or_be_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"a": 1}\n\nnot JSON\n{"b": [1]}\n{"a": "mixed"}\n', "utf-8")
    table = joined(run_over(path, tmp_path / "run", [0, 1, 2, 3]))
    assert table.select(["a", "b"]).to_pylist() == [
        {"a": "1", "b": None},
        {"a": None, "b": None},
        {"a": None, "b": [1]},
        {"a": '"mixed"', "b": None},
    ]


def test_types_come_as_they_are_in_the_file(tmp_path: Path) -> None:
    columns = {
        "day": pa.array([None, 1, 2, 3, 4, 5], pa.date32()),
        "kind": pa.array(["a", "b", "a", None, "a", "b"]).dictionary_encode(),
        "nested": pa.array([[{"x": n}] for n in range(6)]),
    }
    given = arrow(tmp_path / "docs.arrow", pa.table(columns))
    table = joined(run_over(given, tmp_path / "run", [0, 5]))
    types = [table.schema.field(name).type for name in columns]
    assert types == [pa.date32(), pa.string(), columns["nested"].type]
    assert table.column("kind").to_pylist() == ["a", "b"]


def test_another_file_is_refused_and_a_moved_one_found(given: Path, tmp_path: Path) -> None:
    folder = run_over(given, tmp_path / "run", [0])
    os.utime(given, ns=(1, 1))  # touched, not changed
    assert joined(folder).num_rows == 1
    moved = given.rename(tmp_path / f"moved{given.suffix}")
    with pytest.raises(UsageError, match="there is no such file; check the path"):
        joined(folder)
    assert joined(folder, moved).column("id").to_pylist() == [0]
    changed = jsonl(tmp_path / "changed.jsonl", [*ROWS[:5], {"id": 9}])
    with pytest.raises(UsageError) as caught:
        joined(folder, changed)
    assert str(caught.value) == (
        f"{changed}: is not the input of this run, or was changed since; "
        "name that file with --with-input FILE"
    )


def test_keys_without_end_are_no_columns(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "q.jsonl", [{f"key {n}": 1 for n in range(1001)}] * 6)
    with pytest.raises(UsageError, match="more than 1,000 different keys, too many for columns"):
        joined(run_over(path, tmp_path / "run", [0]))
