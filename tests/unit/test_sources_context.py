"""A row comes with the rows before it, whichever rows are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.sources import Raw, Source, open_source
from batchkit.sources.context import ContextCursor, with_rows_before

ROWS = 12


def texts(raws: Sequence[Raw]) -> list[tuple[int, list[Any]]]:
    return [(raw.row, [before and before["t"] for before in raw.before]) for raw in raws]


@pytest.fixture(scope="module", params=["jsonl", "parquet"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    path: Path = tmp_path_factory.mktemp("context") / f"in.{request.param}"
    if request.param == "parquet":
        pq.write_table(pa.table({"t": list(range(ROWS))}), path, row_group_size=5)
    else:
        lines = [json.dumps({"t": n}) if n != 5 else "not JSON" for n in range(ROWS)]
        path.write_text("\n\n".join(lines), "utf-8")
    return open_source(path)


def test_the_first_rows_have_fewer_before_them(source: Source) -> None:
    raws = texts(list(with_rows_before(source.scan(), 2)))
    assert raws[:3] == [(0, []), (1, [0]), (2, [0, 1])]
    assert raws[-1] == (11, [9, 10])


@given(st.data(), st.integers(1, 4))
def test_a_cursor_gives_what_a_scan_gives_however_the_rows_are_taken(
    source: Source, data: st.DataObject, count: int
) -> None:
    scanned = {raw.row: raw for raw in with_rows_before(source.scan(), count)}
    wanted = sorted(data.draw(st.sets(st.integers(0, ROWS - 1), min_size=1)))
    cursor = ContextCursor(source.cursor(), count, lambda row: scanned[row].offset)
    taken: list[Raw] = []
    with closing(cursor):
        while wanted:
            size = data.draw(st.integers(1, len(wanted)))
            taken += cursor.take([(row, scanned[row].offset) for row in wanted[:size]])
            wanted = wanted[size:]
    assert [(r.row, r.values, r.before) for r in taken] == [
        (r.row, scanned[r.row].values, scanned[r.row].before) for r in taken
    ]
