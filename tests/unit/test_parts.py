"""Sealed parts: the contract's columns, in files that others read, whole once they have names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from batchkit.errors import Billing, ErrorKind
from batchkit.journal import SealedPart, Settled
from batchkit.parts import (
    Column,
    Layout,
    attempts_schema,
    file_hash,
    reserved_columns,
    results_schema,
    seal,
)
from batchkit.records import Attempt, Usage
from batchkit.spec import Format
from tests.samples import new_attempt, new_result, new_settled

MONEY, TIME = "decimal128(24, 12)", "timestamp[us, tz=UTC]"
RESULTS = [
    ("row", "int64"), ("custom_id", "string"), ("model", "string"), ("status", "string"),
    ("content", "large_string"), ("finish_reason", "string"), ("tool_calls", "large_string"),
    ("output", "struct<intent: string>"), ("prompt_tokens", "int64"), ("cached_tokens", "int64"),
    ("completion_tokens", "int64"), ("total_tokens", "int64"), ("cost", MONEY),
    ("currency", "string"), ("attempts", "int32"), ("latency_s", "double"), ("total_s", "double"),
    ("finished_at", TIME), ("error_kind", "string"), ("error_code", "string"),
    ("error_message", "string"), ("http_status", "int32"), ("response_id", "string"),
    ("response_model", "string"), ("metadata", "large_string"), ("label", "int8"),
]  # fmt: skip
ATTEMPTS = [
    ("row", "int64"), ("custom_id", "string"), ("attempt", "int32"), ("model", "string"),
    ("started_at", TIME), ("latency_s", "double"), ("in_flight", "int32"), ("limit", "int32"),
    ("http_status", "int32"), ("error_kind", "string"), ("error_code", "string"),
    ("retry_after_s", "double"), ("wait_s", "double"), ("prompt_tokens", "int64"),
    ("cached_tokens", "int64"), ("completion_tokens", "int64"), ("cost", MONEY),
    ("billing", "string"), ("cost_bound", MONEY), ("chunk", "int32"),
]  # fmt: skip


def build_output(settled: Sequence[Settled]) -> Any:
    kind = pa.struct([("intent", pa.string())])
    return pa.array([None if s.result.output is None else {"intent": "x"} for s in settled], kind)


def build_label(settled: Sequence[Settled]) -> Any:
    return pa.array([s.result.keep and s.result.keep[0] for s in settled], pa.int8())


def new_layout(folder: Path, format_: Format = Format.ARROW) -> Layout:
    return Layout(
        folder,
        format_,
        Column("output", pa.struct([("intent", pa.string())]), build_output, list),
        (Column("label", pa.int8(), build_label, list),),
        {"batchkit.version": "1", "batchkit.currency": "CNY"},
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return new_layout(tmp_path)


def seal_rows(layout: Layout, settled: Sequence[Settled], *earlier: Attempt) -> SealedPart:
    return seal(layout, 0, iter(settled), iter(earlier))


def rows_of(path: Path) -> list[dict[str, Any]]:
    format_: Any = path.suffix[1:]
    rows: list[dict[str, Any]] = ds.dataset(path, format=format_).to_table().to_pylist()
    return rows


def results(layout: Layout) -> list[dict[str, Any]]:
    return rows_of(layout.results_path(0))


def attempts(layout: Layout) -> list[dict[str, Any]]:
    return rows_of(layout.attempts_path(0))


def test_columns_are_those_of_the_contract(layout: Layout) -> None:
    schema = results_schema(layout)
    assert [(field.name, str(field.type)) for field in schema] == RESULTS
    assert [(field.name, str(field.type)) for field in attempts_schema(layout)] == ATTEMPTS
    assert schema.metadata == {b"batchkit.version": b"1", b"batchkit.currency": b"CNY"}


def test_columns_that_a_job_has_not_asked_for_are_not_there_and_their_names_stay_reserved() -> None:
    bare = Layout(Path(), Format.ARROW, None, (), {})
    assert not {"output", "agreement", "deduplicated"} & set(results_schema(bare).names)
    assert reserved_columns() == {name for name, _ in RESULTS} - {"label"} | {
        "agreement",
        "deduplicated",
    }


@pytest.mark.parametrize("format_", Format)
def test_a_row_reads_as_it_was_settled(tmp_path: Path, format_: Format) -> None:
    layout = new_layout(tmp_path, format_)
    settled = new_settled(3, output="{}", keep=[7], metadata='{"a": 1}', tool_calls="[]")
    part = seal_rows(layout, [settled])
    assert results(layout) == [
        {
            "row": 3,
            "custom_id": "id-3",
            "model": "glm-4-plus",
            "status": "ok",
            "content": "yes",
            "finish_reason": "stop",
            "tool_calls": "[]",
            "output": {"intent": "x"},
            "prompt_tokens": 10,
            "cached_tokens": 4,
            "completion_tokens": 5,
            "total_tokens": 15,
            "cost": Decimal("0.000065000000"),
            "currency": "CNY",
            "attempts": 1,
            "latency_s": 0.5,
            "total_s": 0.75,
            "finished_at": datetime(2026, 9, 21, 14, 13, 21, 250_000, tzinfo=UTC),
            "error_kind": None,
            "error_code": None,
            "error_message": None,
            "http_status": 200,
            "response_id": "r-1",
            "response_model": "glm-4-plus",
            "metadata": '{"a": 1}',
            "label": 7,
        }
    ]
    assert attempts(layout) == [
        {
            "row": 3,
            "custom_id": "id-3",
            "attempt": 1,
            "model": "glm-4-plus",
            "started_at": datetime(2026, 9, 21, 14, 13, 20, 250_000, tzinfo=UTC),
            "latency_s": 0.5,
            "in_flight": 3,
            "limit": 50,
            "http_status": 200,
            "error_kind": None,
            "error_code": None,
            "retry_after_s": None,
            "wait_s": None,
            "prompt_tokens": 10,
            "cached_tokens": 4,
            "completion_tokens": 5,
            "cost": Decimal("0.000065000000"),
            "billing": "billed",
            "cost_bound": Decimal(0),
            "chunk": None,
        }
    ]
    assert (part.part, part.rows, part.failed) == (0, 1, 0)


def test_a_sealed_part_is_known_by_size_and_hash(layout: Layout) -> None:
    failed = Settled(new_result(1, status="failed", error_kind=ErrorKind.ARREARS), None)
    part = seal_rows(layout, [new_settled(0), failed])
    files = (layout.results_path(0), layout.attempts_path(0))
    assert part == SealedPart(
        part=0,
        rows=2,
        failed=1,
        results_bytes=files[0].stat().st_size,
        results_xxh3=file_hash(files[0]),
        attempts_bytes=files[1].stat().st_size,
        attempts_xxh3=file_hash(files[1]),
    )
    assert len(part.results_xxh3) == 32


def test_the_same_rows_seal_to_the_same_bytes(tmp_path: Path) -> None:
    parts = [seal_rows(new_layout(tmp_path / n), [new_settled(0)]) for n in made(tmp_path, "ab")]
    assert parts[0] == parts[1]


def made(tmp_path: Path, names: str) -> Iterator[str]:
    for name in names:
        (tmp_path / name).mkdir()
        yield name


@pytest.mark.parametrize("format_", Format)
def test_only_final_names_are_left(tmp_path: Path, format_: Format) -> None:
    seal_rows(new_layout(tmp_path, format_), [new_settled(0)])
    names = [str(file.relative_to(tmp_path)) for file in sorted(tmp_path.rglob("*.*"))]
    assert names == [f"attempts/part-00000.{format_}", f"results/part-00000.{format_}"]


def test_a_part_that_breaks_off_gets_no_name(layout: Layout) -> None:
    def rows() -> Iterator[Settled]:
        yield new_settled(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal(layout, 0, rows(), iter(()))
    assert not layout.results_path(0).exists()
    assert not layout.attempts_path(0).exists()
    seal_rows(layout, [new_settled(0)])
    assert len(results(layout)) == 1
    assert list(layout.folder.rglob("*.tmp")) == []


def test_attempts_are_in_the_order_of_rows_and_numbers(layout: Layout) -> None:
    settled = [
        Settled(new_result(0), new_attempt(0, 3)),
        Settled(new_result(1, attempts=0), None),
        Settled(new_result(2), new_attempt(2, 1)),
        Settled(new_result(3), None),  # its last attempt was journaled before it was given up
    ]
    earlier = [new_attempt(0, 1), new_attempt(0, 2), new_attempt(3, 1)]
    seal_rows(layout, settled, *earlier)
    order = [(row["row"], row["attempt"]) for row in attempts(layout)]
    assert order == [(0, 1), (0, 2), (0, 3), (2, 1), (3, 1)]


def test_an_attempt_of_a_row_without_a_result_is_refused(layout: Layout) -> None:
    with pytest.raises(AssertionError, match="part 0: an attempt of row 5 has no result"):
        seal_rows(layout, [new_settled(0)], new_attempt(5))


def test_a_part_without_attempts_has_an_empty_file_of_them(layout: Layout) -> None:
    seal_rows(layout, [Settled(new_result(0, status="failed", attempts=0), None)])
    assert attempts(layout) == []
    assert len(results(layout)) == 1


def test_an_attempt_that_may_have_been_billed_has_its_bound(layout: Layout) -> None:
    lost: dict[str, Any] = {
        "usage": Usage(),
        "cost": 0,
        "billing": Billing.UNKNOWN,
        "bound": 123_000_000,
    }
    seal_rows(layout, [new_settled(0)], new_attempt(0, 0, error_kind=ErrorKind.TIMEOUT, **lost))
    first = attempts(layout)[0]
    told = [first[name] for name in ("billing", "cost", "cost_bound", "error_kind")]
    assert told == ["unknown", Decimal(0), Decimal("0.000123000000"), "timeout"]


@pytest.mark.parametrize("format_", Format)
def test_any_text_is_kept_and_half_a_character_is_replaced(tmp_path: Path, format_: Format) -> None:
    layout = new_layout(tmp_path, format_)
    texts = ["a\0b", "", "你好😀", "x\ud800y", None]
    seal_rows(layout, [Settled(new_result(n, content=t), None) for n, t in enumerate(texts)])
    assert [row["content"] for row in results(layout)] == ["a\0b", "", "你好😀", "x?y", None]


def test_long_answers_are_written_in_several_batches(layout: Layout) -> None:
    long = "x" * (3 << 19)
    seal_rows(layout, [new_settled(row, content=long) for row in range(7)])
    with pa.memory_map(str(layout.results_path(0))) as source, pa.ipc.open_file(source) as reader:
        sizes = [reader.get_batch(n).num_rows for n in range(reader.num_record_batches)]
    assert sizes == [3, 3, 1]
    assert [len(row["content"]) for row in results(layout)] == [len(long)] * 7


def test_arrow_parts_read_as_one_dataset_and_in_polars(layout: Layout) -> None:
    for number in range(2):
        seal(layout, number, [new_settled(number, output="{}", keep=[1])], [])
    table = ds.dataset(layout.folder / "results", format="arrow").to_table()
    assert table.schema == results_schema(layout)
    assert table.column("row").to_pylist() == [0, 1]
    frame = pl.read_ipc(layout.folder / "results" / "*.arrow")
    assert frame.get_column("row").to_list() == [0, 1]
    assert str(frame.get_column("cost").sum()) == "0.000130000000"


def test_parquet_parts_read_in_pyarrow_and_duckdb(tmp_path: Path) -> None:
    layout = new_layout(tmp_path, Format.PARQUET)
    for number in range(2):
        seal(layout, number, [new_settled(number, output="{}", keep=[1])], [])
    assert pq.read_schema(layout.results_path(0)).equals(results_schema(layout))
    with duckdb.connect() as database:
        query = "SELECT count(*), sum(cost), max(output.intent), sum(label) FROM read_parquet(?)"
        found = database.execute(query, [f"{tmp_path}/results/*.parquet"]).fetchall()
    assert found == [(2, Decimal("0.000130000000"), "x", 2)]
