"""Record batches as files of each export format, written as a stream."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, BinaryIO, TypeAlias, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit.batch_output import line_of

Batches: TypeAlias = Iterator[pa.RecordBatch]
Writer: TypeAlias = Callable[[Batches, pa.Schema, BinaryIO], int]  # how many rows it wrote

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a spreadsheet takes for one at a cell's beginning


class To(StrEnum):
    """What results can be exported to."""

    ARROW = "arrow"
    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"
    OPENAI = "openai"  # the lines of an OpenAI batch's output file


def writer_of(to: To, *, defuse: bool = False) -> Writer:
    """What writes the format `to`; `defuse` is for CSV alone."""
    return _write_defused_csv if defuse else _WRITERS[to]


def _write_arrow(batches: Batches, schema: pa.Schema, out: BinaryIO) -> int:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(cast("io.IOBase", out), schema, options=options) as writer:
        return sum(_written(writer, batch) for batch in batches)


def _write_parquet(batches: Batches, schema: pa.Schema, out: BinaryIO) -> int:
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        return sum(_written(writer, batch) for batch in batches)


def _written(writer: Any, batch: pa.RecordBatch) -> int:
    writer.write_batch(batch)
    return batch.num_rows


def _write_jsonl(batches: Batches, _schema: pa.Schema, out: BinaryIO) -> int:
    rows = 0
    for row in _rows(batches):
        out.write(_to_json(row) + b"\n")
        rows += 1
    return rows


def _write_openai(batches: Batches, _schema: pa.Schema, out: BinaryIO) -> int:
    rows = 0
    for row in _rows(batches):
        out.write(_to_json(line_of(row)) + b"\n")
        rows += 1
    return rows


def _write_csv(batches: Batches, schema: pa.Schema, out: BinaryIO) -> int:
    """RFC 4180; what is nested is JSON text, null is empty."""
    return _write_cells(batches, schema, out, _cell)


def _write_defused_csv(batches: Batches, schema: pa.Schema, out: BinaryIO) -> int:
    """No text begins as a formula does: it gets an apostrophe (OWASP, "CSV Injection")."""
    return _write_cells(batches, schema, out, _defused)


def _write_cells(
    batches: Batches, schema: pa.Schema, out: BinaryIO, cell: Callable[[Any], Any]
) -> int:
    rows = 0
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(map(cell, schema.names))
        for batch in batches:
            for row in batch.to_pylist():
                writer.writerow(map(cell, row.values()))
            rows += batch.num_rows
    finally:
        text.detach()  # `out` belongs to the caller
    return rows


def _rows(batches: Batches) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for row in batch.to_pylist():
            yield {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Money as it is written by people: `0.000001`, never `1E-6`."""
    return f"{value:f}" if isinstance(value, Decimal) else value


def _to_json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict | list):
        return _to_json(value).decode()
    return str(_plain(value))


def _defused(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_formula else _cell(value)


_WRITERS: dict[To, Writer] = {
    To.ARROW: _write_arrow,
    To.PARQUET: _write_parquet,
    To.JSONL: _write_jsonl,
    To.CSV: _write_csv,
    To.OPENAI: _write_openai,
}
