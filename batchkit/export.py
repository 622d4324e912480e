"""Results in other formats, streaming and in input order; also of a run that goes on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batchkit.errors import UsageError
from batchkit.reading import open_run


class To(StrEnum):
    """What results can be exported to."""

    ARROW = "arrow"
    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"
    OPENAI = "openai"  # the lines of an OpenAI batch's output file


class Exported(msgspec.Struct, frozen=True):
    """What an export came to."""

    rows: int
    missing: int  # rows that have not settled yet


def export(
    folder: Path, to: To, out: BinaryIO, *, columns: Sequence[str] = (), only: str | None = None
) -> Exported:
    """Write the results of the run in `folder` to `out`.

    `columns` are those wanted, all if none is named; `only` is a status. Raises `UsageError` for a
    folder without a run and for columns that the results lack.
    """
    with open_run(folder) as run:
        names = _names(run.schema, columns, to)
        batches = _chosen(run.results(), names, only)
        schema = pa.schema([run.schema.field(name) for name in names])
        rows = _WRITERS[to](batches, schema, out)
        return Exported(rows, run.missing)


def _names(schema: pa.Schema, columns: Sequence[str], to: To) -> list[str]:
    for name in columns:
        if name not in schema.names:
            raise UsageError(f"--columns: no column {name!r}; there are {', '.join(schema.names)}")
    if columns and to is To.OPENAI:
        raise UsageError("--columns: the openai format has its own; leave them out")
    return list(columns or schema.names)


def _chosen(
    batches: Iterator[pa.RecordBatch], names: list[str], only: str | None
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        wanted = (
            batch
            if only is None
            else batch.filter(pc.equal(batch.column("status"), pa.scalar(only)))
        )
        if wanted.num_rows:
            yield wanted.select(names)


def _write_arrow(batches: Iterator[pa.RecordBatch], schema: pa.Schema, out: BinaryIO) -> int:
    rows = 0
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(cast("io.IOBase", out), schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_parquet(batches: Iterator[pa.RecordBatch], schema: pa.Schema, out: BinaryIO) -> int:
    rows = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_jsonl(batches: Iterator[pa.RecordBatch], _schema: pa.Schema, out: BinaryIO) -> int:
    rows = 0
    for row in _rows(batches):
        out.write(_to_json(row) + b"\n")
        rows += 1
    return rows


def _write_csv(batches: Iterator[pa.RecordBatch], schema: pa.Schema, out: BinaryIO) -> int:
    """RFC 4180; what is nested is JSON text, null is empty."""
    rows = 0
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(schema.names)
    for row in _rows(batches):
        writer.writerow([_cell(value) for value in row.values()])
        rows += 1
    text.detach()
    return rows


def _write_openai(batches: Iterator[pa.RecordBatch], _schema: pa.Schema, out: BinaryIO) -> int:
    rows = 0
    for row in _rows(batches):
        out.write(_to_json(_openai_line(row)) + b"\n")
        rows += 1
    return rows


def _openai_line(row: dict[str, Any]) -> dict[str, Any]:
    error, response = None, None
    if row["status"] == "failed":
        code = row["error_code"] or row["error_kind"]
        error = {"code": code, "message": row["error_message"]}
    else:
        calls = json.loads(row["tool_calls"]) if row["tool_calls"] else None
        message = {"role": "assistant", "content": row["content"]}
        usage = {name: row[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
        details = {"cached_tokens": row["cached_tokens"]}
        body = {
            "id": row["response_id"],
            "object": "chat.completion",
            "created": int(row["finished_at"].timestamp()),
            "model": row["response_model"] or row["model"],
            "choices": [
                {
                    "index": 0,
                    "message": message | ({"tool_calls": calls} if calls else {}),
                    "finish_reason": row["finish_reason"],
                }
            ],
            "usage": usage | {"prompt_tokens_details": details},
        }
        response = {"status_code": row["http_status"], "body": body}
    return {"custom_id": row["custom_id"], "response": response, "error": error}


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
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
    return _to_json(value).decode() if isinstance(value, dict | list) else str(value)


_WRITERS = {
    To.ARROW: _write_arrow,
    To.PARQUET: _write_parquet,
    To.JSONL: _write_jsonl,
    To.CSV: _write_csv,
    To.OPENAI: _write_openai,
}
