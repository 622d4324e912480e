"""Sealed parts read back as records, so that their rows can go back into the journal.

What comes back seals to the same bytes of content: times are whole microseconds, money whole units,
kept values are in storage form, and `output` is read from `content` again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchkit.accounting import from_decimal
from batchkit.errors import Billing, ErrorKind
from batchkit.journal import DamagedError, SealedPart, Settled
from batchkit.parts import Layout, file_hash
from batchkit.records import Attempt, Result, Usage
from batchkit.spec import Format

ReadOutput = Callable[[str | None], str | None]  # content -> JSON text that validates


def check_part(layout: Layout, part: SealedPart) -> str | None:
    """What is wrong with a sealed part's files, in words; None if they are as they were sealed."""
    path = layout.results_path(part.part)
    return _fault(path, part.results_bytes, part.results_xxh3) or check_attempts(layout, part)


def check_attempts(layout: Layout, part: SealedPart) -> str | None:
    """`check_part` of a part's attempts alone."""
    path = layout.attempts_path(part.part)
    return _fault(path, part.attempts_bytes, part.attempts_xxh3)


def _fault(path: Path, size: int, digest: str) -> str | None:
    if not path.is_file():
        return f"{path}: is missing"
    if path.stat().st_size != size:
        return f"{path}: has {path.stat().st_size:,} bytes, was sealed with {size:,}"
    return None if file_hash(path) == digest else f"{path}: its content is not what was sealed"


def read_part(layout: Layout, number: int, read_output: ReadOutput) -> Iterator[Settled | Attempt]:
    """The rows of a part, each with its last attempt, and before it its earlier attempts."""
    attempts = groupby(_attempts(layout.attempts_path(number)), key=attrgetter("row"))
    row, group = next(attempts, (-1, iter(())))
    for result in _results(layout, number, read_output):
        own = list(group) if row == result.row else []
        if row == result.row:
            row, group = next(attempts, (-1, iter(())))
        yield from own[:-1]
        yield Settled(result, own[-1] if own else None)


def batches_of(
    path: Path, format_: Format, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """A part's record batches, `columns` in their order, all if None.

    Raises `DamagedError` if they cannot be read.
    """
    try:
        if format_ is Format.PARQUET:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=None if columns is None else list(columns)):
                    yield batch if columns is None else batch.select(list(columns))
        else:
            with pa.memory_map(str(path)) as source:
                yield from _ipc_batches(source, columns)
    except (pa.ArrowException, OSError) as error:
        raise DamagedError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error


def _ipc_batches(source: Any, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    options = None
    if columns is not None:
        with pa.ipc.open_file(source) as reader:
            wanted = [reader.schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=sorted(wanted))
    with pa.ipc.open_file(source, options=options) as reader:
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            yield batch if columns is None else batch.select(list(columns))


def _results(layout: Layout, number: int, read_output: ReadOutput) -> Iterator[Result]:
    for batch in batches_of(layout.results_path(number), layout.format):
        kept = [column.store(batch.column(column.name)) for column in layout.keep]
        keeps = [list(values) for values in zip(*kept, strict=True)] if kept else None
        for index, row in enumerate(_rows(batch, {c.name for c in layout.keep} | {"output"})):
            output = (
                read_output(row["content"]) if layout.output and row["status"] == "ok" else None
            )
            yield _result(row, output, keeps[index] if keeps else None)


def _result(row: dict[str, Any], output: str | None, keep: list[Any] | None) -> Result:
    return Result(
        usage=_usage(row),
        cost=from_decimal(row["cost"]),
        finished_at=row["finished_at"],
        error_kind=None if row["error_kind"] is None else ErrorKind(row["error_kind"]),
        output=output,
        keep=keep,
        agreement=row.get("agreement"),
        deduplicated=row.get("deduplicated", False),
        **{name: row[name] for name in _PLAIN_RESULT},
    )


_READ_APART = {
    "usage",
    "cost",
    "finished_at",
    "error_kind",
    "output",
    "keep",
    "agreement",
    "deduplicated",
}
_PLAIN_RESULT = [name for name in Result.__struct_fields__ if name not in _READ_APART]
_PLAIN_ATTEMPT = [
    name
    for name in Attempt.__struct_fields__
    if name not in {"usage", "cost", "bound", "started_at", "error_kind", "billing"}
]


def _attempts(path: Path) -> Iterator[Attempt]:
    format_ = Format.PARQUET if path.suffix == ".parquet" else Format.ARROW
    for batch in batches_of(path, format_):
        for row in _rows(batch, set()):
            yield Attempt(
                usage=_usage(row),
                cost=from_decimal(row["cost"]),
                bound=from_decimal(row["cost_bound"]),
                started_at=row["started_at"],
                error_kind=None if row["error_kind"] is None else ErrorKind(row["error_kind"]),
                billing=Billing(row["billing"]),
                **{name: row[name] for name in _PLAIN_ATTEMPT},
            )


def _usage(row: dict[str, Any]) -> Usage:
    return Usage(row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"])


def _rows(batch: pa.RecordBatch, without: set[str]) -> Iterator[dict[str, Any]]:
    """Rows as plain values; times in seconds since the epoch."""
    columns: dict[str, list[Any]] = {}
    for name in batch.schema.names:
        if name in without:
            continue
        column = batch.column(name)
        if pa.types.is_timestamp(column.type):
            micros: list[Any] = column.cast(pa.int64()).to_pylist()
            columns[name] = [value / 1e6 for value in micros]
        else:
            columns[name] = column.to_pylist()
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))
