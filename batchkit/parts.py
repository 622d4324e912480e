"""Sealed parts: Arrow or Parquet files of results and attempts, whole once they have their names.

Order of sealing ("new truth first, then drop the old"): write `.tmp`, fsync, rename, fsync the
folder, and only then may the journal record the part and drop its rows. A part that opens proves
nothing (pyarrow's writers leave a valid footer behind on the way out of an exception); its size and
hash in the journal do.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from msgspec.structs import astuple

from batchkit.folder import fsync_folder
from batchkit.journal import SealedPart, Settled
from batchkit.records import Attempt, Result, Usage
from batchkit.spec import Format

# A part is written in batches, so that memory is bounded whatever the answers' length.
_BATCH_ROWS = 1000
_BATCH_BYTES = 4 << 20  # of text
_MONEY = pa.decimal128(24, 12)
_TIME = pa.timestamp("us", tz="UTC")


class Column(msgspec.Struct, frozen=True):
    """A column whose values come from the user's data: how it is named, typed and built."""

    name: str
    type: Any  # pyarrow.DataType
    build: Callable[[Sequence[Settled]], Any]  # rows -> pyarrow.Array of `type`
    store: Callable[[Any], list[Any]]  # and back: an array -> values as they are journaled


class Layout(msgspec.Struct, frozen=True):
    """What every part of one run has in common."""

    folder: Path
    format: Format
    output: Column | None
    keep: tuple[Column, ...]
    metadata: dict[bytes | str, bytes | str]
    votes: bool = False  # rows are voted on
    dedupe: bool = False  # equal rows are asked once

    def results_path(self, part: int) -> Path:
        return self.folder / "results" / f"part-{part:05}.{self.format}"

    def attempts_path(self, part: int) -> Path:
        return self.folder / "attempts" / f"part-{part:05}.{self.format}"


def results_schema(layout: Layout) -> pa.Schema:
    """Columns of `results/`, flat, units in the names."""
    fields: list[tuple[str, pa.DataType]] = [
        ("row", pa.int64()),
        ("custom_id", pa.string()),
        ("model", pa.string()),
        ("status", pa.string()),
        ("content", pa.large_string()),
        ("finish_reason", pa.string()),
        ("tool_calls", pa.large_string()),
        *([(layout.output.name, layout.output.type)] if layout.output else []),
        *([("agreement", pa.float64())] if layout.votes else []),
        *([("deduplicated", pa.bool_())] if layout.dedupe else []),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("total_tokens", pa.int64()),
        ("cost", _MONEY),
        ("currency", pa.string()),
        ("attempts", pa.int32()),
        ("latency_s", pa.float64()),
        ("total_s", pa.float64()),
        ("finished_at", _TIME),
        ("error_kind", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("http_status", pa.int32()),
        ("response_id", pa.string()),
        ("response_model", pa.string()),
        ("metadata", pa.large_string()),
        *((column.name, column.type) for column in layout.keep),
    ]
    return pa.schema(fields, metadata=layout.metadata)


def attempts_schema(layout: Layout) -> pa.Schema:
    """Columns of `attempts/`: one row per HTTP exchange."""
    fields: list[tuple[str, pa.DataType]] = [
        ("row", pa.int64()),
        ("custom_id", pa.string()),
        ("attempt", pa.int32()),
        ("model", pa.string()),
        ("started_at", _TIME),
        ("latency_s", pa.float64()),
        ("in_flight", pa.int32()),
        ("limit", pa.int32()),
        ("http_status", pa.int32()),
        ("error_kind", pa.string()),
        ("error_code", pa.string()),
        ("retry_after_s", pa.float64()),
        ("wait_s", pa.float64()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("cost", _MONEY),
        ("billing", pa.string()),
        ("cost_bound", _MONEY),
        ("chunk", pa.int32()),
    ]
    return pa.schema(fields, metadata=layout.metadata)


def reserved_columns() -> frozenset[str]:
    """Names that a kept column cannot have."""
    bare = Layout(Path(), Format.ARROW, None, (), {})
    return frozenset((*results_schema(bare).names, "output", "agreement", "deduplicated"))


def seal(
    layout: Layout, number: int, settled: Iterable[Settled], attempts: Iterable[Attempt]
) -> SealedPart:
    """Write both files of part `number`; afterwards they are durable under their final names.

    `settled` and `attempts` (those that settled nothing) come in input order.
    """
    rows = failed = 0
    results, trail = layout.results_path(number), layout.attempts_path(number)
    in_order = _Merged(attempts)
    with (
        _writing(results, results_schema(layout), layout.format) as write_results,
        _writing(trail, attempts_schema(layout), layout.format) as write_attempts,
    ):
        for group in _grouped(settled):
            rows += len(group)
            failed += sum(one.result.status == "failed" for one in group)
            write_results(results_batch(layout, group))
            write_attempts(attempts_batch(layout, in_order.up_to(group)))
        left = in_order.left
        assert left is None, f"part {number}: an attempt of row {left.row} has no result"
    pa.default_memory_pool().release_unused()  # it keeps as much as the largest batch took
    return SealedPart(
        part=number,
        rows=rows,
        failed=failed,
        results_bytes=results.stat().st_size,
        results_xxh3=file_hash(results),
        attempts_bytes=trail.stat().st_size,
        attempts_xxh3=file_hash(trail),
    )


class _Merged:
    """A part's attempts in order: of a row first those that settled nothing."""

    def __init__(self, attempts: Iterable[Attempt]) -> None:
        self._waiting = iter(attempts)
        self._next = next(self._waiting, None)

    @property
    def left(self) -> Attempt | None:
        """The next attempt that no group has taken."""
        return self._next

    def up_to(self, group: Sequence[Settled]) -> list[Attempt]:
        """The attempts of the rows of `group`, which follows on the one before."""
        merged: list[Attempt] = []
        for one in group:
            while self._next is not None and self._next.row <= one.result.row:
                merged.append(self._next)
                self._next = next(self._waiting, None)
            if one.attempt is not None:
                merged.append(one.attempt)
        return merged


def file_hash(path: Path) -> str:
    """xxh3_128 of the file's bytes, in hex."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _writing(
    path: Path, schema: pa.Schema, format_: Format
) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Takes batches; the file is durable under its name when the block has ended well."""
    if not path.parent.is_dir():
        path.parent.mkdir()
        fsync_folder(path.parent.parent)
    unfinished = path.with_suffix(path.suffix + ".tmp")
    with unfinished.open("wb") as file:
        with _writer(file, schema, format_) as writer:
            yield writer.write_batch
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    fsync_folder(path.parent)


def _writer(file: Any, schema: pa.Schema, format_: Format) -> Any:
    if format_ is Format.PARQUET:
        return pq.ParquetWriter(file, schema, compression="zstd")
    # Arrow's own threads would each keep a compressor and a heap for the rest of the run.
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    return pa.ipc.new_file(file, schema, options=options)


def _grouped(settled: Iterable[Settled]) -> Iterator[list[Settled]]:
    group: list[Settled] = []
    held = 0
    for one in settled:
        group.append(one)
        held += len(one.result.content or "") + len(one.result.metadata or "")
        if held >= _BATCH_BYTES or len(group) == _BATCH_ROWS:
            yield group
            group, held = [], 0
    if group:
        yield group


def results_batch(layout: Layout, settled: Sequence[Settled]) -> pa.RecordBatch:
    """Results as a record batch of `results_schema`."""
    columns = _columns(Result, [one.result for one in settled])
    columns |= _token_columns(columns["usage"])
    columns["total_tokens"] = list(
        map(operator.add, columns["prompt_tokens"], columns["completion_tokens"])
    )
    columns["cost"] = _money(columns["cost"])
    columns["finished_at"] = _times(columns["finished_at"])
    for column in (*((layout.output,) if layout.output else ()), *layout.keep):
        columns[column.name] = column.build(settled)
    return _batch(columns, results_schema(layout))


def attempts_batch(layout: Layout, attempts: Sequence[Attempt]) -> pa.RecordBatch:
    """Attempts as a record batch of `attempts_schema`."""
    columns = _columns(Attempt, attempts)
    columns |= _token_columns(columns["usage"])
    columns["cost"] = _money(columns["cost"])
    columns["cost_bound"] = _money(columns["bound"])
    columns["started_at"] = _times(columns["started_at"])
    return _batch(columns, attempts_schema(layout))


def _columns(kind: type[msgspec.Struct], records: Sequence[msgspec.Struct]) -> dict[str, Any]:
    """The fields of `records`, each with its values in order."""
    names = kind.__struct_fields__
    if not records:
        return dict.fromkeys(names, ())
    return dict(zip(names, zip(*map(astuple, records), strict=True), strict=True))


def _batch(columns: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        columns[field.name]
        if isinstance(columns[field.name], pa.Array)
        else _array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], type_: pa.DataType) -> pa.Array[Any]:
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        try:
            return pa.array(values, type_)
        except UnicodeEncodeError:  # a lone surrogate in an answer; Arrow strings are UTF-8
            return pa.array([_utf8(value) for value in values], type_)
    return pa.array(values, type_)


def _utf8(value: str | None) -> str | None:
    return None if value is None else value.encode("utf-8", "replace").decode("utf-8")


def _token_columns(usages: Sequence[Usage]) -> dict[str, Sequence[int]]:
    used = _columns(Usage, usages)
    return {f"{name}_tokens": used[name] for name in Usage.__struct_fields__}


def _money(amounts: Sequence[int]) -> pa.Array[Any]:
    """PICO as decimals with twelve places: the integers that Arrow keeps for such, as they are.

    (Arrow columnar format, "Fixed-size primitive layout": 128 bits each, little-endian.)
    """
    values = b"".join([amount.to_bytes(16, "little", signed=True) for amount in amounts])
    return pa.Array.from_buffers(_MONEY, len(amounts), [None, pa.py_buffer(values)])


def _times(seconds: Sequence[float]) -> pa.Array[Any]:
    return pa.array([round(second * 1e6) for second in seconds], pa.int64()).cast(_TIME)
