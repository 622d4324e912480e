"""Parquet and Arrow files (IPC file or stream) as numbered batches, a slice at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

SLICE_ROWS = 256  # rows that are Python objects at one time: 16 MB of 64 KB documents
_READ_BUFFER = 1 << 20  # bytes of a column read ahead, instead of a row group's whole chunk

Slices: TypeAlias = Iterator[tuple[int, pa.RecordBatch]]  # each with its first row's number


class Table(Protocol):
    """An open file of record batches."""

    schema: pa.Schema

    def has_rows(self) -> bool: ...

    def slices(self, columns: Sequence[str], row: int = 0) -> Slices:
        """Batches of at most `SLICE_ROWS` rows, the first of them at or before `row`."""
        ...

    def chapter(self, row: int, /) -> int:
        """Number of the stretch of rows that holds `row` and that `slices` can begin at."""
        ...

    def close(self) -> None: ...


class ParquetTable:
    """A Parquet file; reading can begin at any row group."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, buffer_size=_READ_BUFFER, pre_buffer=False)
        self.schema: pa.Schema = self._file.schema_arrow
        metadata = self._file.metadata
        sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        self._ends = list(accumulate(sizes))

    def has_rows(self) -> bool:
        return self._ends[-1:] > [0]

    def slices(self, columns: Sequence[str], row: int = 0) -> Slices:
        group = self.chapter(row)
        groups = list(range(group, len(self._ends)))
        first = self._ends[group - 1] if group else 0
        for batch in self._file.iter_batches(
            SLICE_ROWS, groups, columns=list(columns), use_threads=False
        ):
            yield first, batch
            first += batch.num_rows

    def chapter(self, row: int) -> int:
        return bisect_right(self._ends, row)

    def close(self) -> None:
        self._file.close()


class ArrowTable:
    """An Arrow file, mapped into memory, so that one huge batch is not loaded; read from its start.

    A batch is checked before its use: an offset that points outside would end the process.
    """

    def __init__(self, path: Path) -> None:
        self._map = pa.memory_map(str(path))
        is_file = self._map.read(6) == b"ARROW1"
        self._map.seek(0)
        self._reader = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(self._map)
        self.schema: pa.Schema = self._reader.schema

    def has_rows(self) -> bool:
        return any(batch.num_rows for batch in self._batches())

    def slices(self, columns: Sequence[str], row: int = 0) -> Slices:
        del row  # there is one chapter
        first = 0
        for whole in self._batches():
            batch = whole.select(list(columns))
            batch.validate(full=True)
            for start in range(0, whole.num_rows, SLICE_ROWS):
                yield first + start, batch.slice(start, SLICE_ROWS)
            first += whole.num_rows

    def chapter(self, _row: int) -> int:
        return 0

    def close(self) -> None:
        self._map.close()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self._reader, pa.ipc.RecordBatchStreamReader):
            yield from self._reader
        else:
            for number in range(self._reader.num_record_batches):
                yield self._reader.get_batch(number)
