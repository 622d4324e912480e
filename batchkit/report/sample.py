"""A few rows in full view: every so manieth one, with its texts cut."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batchkit.parts import reserved_columns
from batchkit.report.facts import Excerpt, SampleRow

SAMPLE_MOST = 200
CONTENT_MOST = 600  # characters of an answer
GIVEN_MOST = 240  # of what came from the input
_COLUMN_MOST = 2000  # of one kept column, before all of them are cut together


def step_of(rows: int) -> int:
    """Every how manieth row is in the sample."""
    return max(1, -(-rows // SAMPLE_MOST))


def sample_of(batch: pa.RecordBatch, step: int) -> list[SampleRow]:
    """The rows of a batch of results that are in the sample."""
    rows = batch.column("row")
    offset = pc.subtract(rows, pc.multiply(pc.divide(rows, pa.scalar(step)), pa.scalar(step)))
    chosen = batch.filter(pc.equal(offset, pa.scalar(0)))
    if not chosen.num_rows:
        return []
    contents = excerpts(chosen.column("content"), CONTENT_MOST)
    given = [_given(row) for row in _from_input(chosen).to_pylist()]
    plain = chosen.select(list(_PLAIN)).to_pylist()
    return [
        SampleRow(
            row=row["row"],
            custom_id=row["custom_id"],
            model=row["model"],
            status=row["status"],
            why=_why(row),
            content=content,
            error=row["error_message"],
            given=came,
            prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"],
            total_s=row["total_s"],
        )
        for row, content, came in zip(plain, contents, given, strict=True)
    ]


_PLAIN = (
    "row", "custom_id", "model", "status", "finish_reason", "error_kind", "error_code",
    "error_message", "prompt_tokens", "completion_tokens", "total_s",
)  # fmt: skip
SAMPLE_COLUMNS = (*_PLAIN, "content", "metadata")


def excerpts(texts: Any, most: int) -> list[Excerpt | None]:
    """The beginnings of a column of texts."""
    heads = pc.utf8_slice_codeunits(texts, 0, most).to_pylist()
    lengths = pc.utf8_length(texts).to_pylist()
    return [
        None if head is None else Excerpt(head, length)
        for head, length in zip(heads, lengths, strict=True)
    ]


def excerpt(text: str, most: int) -> Excerpt:
    """The beginning of one text."""
    return Excerpt(text[:most], len(text))


def _from_input(batch: pa.RecordBatch) -> pa.Table:
    """The kept columns and the metadata of a batch, texts bounded."""
    own = reserved_columns() - {"metadata"}
    columns = {
        name: batch.column(name)
        for name in batch.schema.names
        if name not in own and not pa.types.is_null(batch.column(name).type)
    }
    for name, column in columns.items():
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = pc.utf8_slice_codeunits(column, 0, _COLUMN_MOST)
    return pa.table(columns)


def _given(row: dict[str, Any]) -> Excerpt | None:
    values = {name: value for name, value in row.items() if value is not None}
    if not values:
        return None
    return excerpt(
        "\n".join(f"{name}: {_text(value)}" for name, value in values.items()), GIVEN_MOST
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _why(row: dict[str, Any]) -> str | None:
    if row["status"] == "ok":
        return None if row["finish_reason"] == "stop" else row["finish_reason"]
    return " ".join(filter(None, (row["error_kind"], row["error_code"])))
