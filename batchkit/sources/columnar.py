"""Parquet and Arrow files as sources: columns become rows of plain Python values.

Times come without nanoseconds, bytes that are UTF-8 as text, maps as objects. Kept columns are read
a second time, in storage form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from batchkit.errors import UsageError
from batchkit.sources.arrow_types import readable_type
from batchkit.sources.base import ENDED, FileCursor, FileSource, Raw
from batchkit.sources.keep import KeepColumn, to_json
from batchkit.sources.tables import ArrowTable, ParquetTable, Table
from batchkit.wording import reason, shown_names

_CANNOT_READ = (pa.ArrowException, ValueError, OverflowError, KeyError, OSError)


def open_columnar(
    path: Path, *, keep: Sequence[str], columns: Collection[str] | None
) -> ColumnarSource:
    """The source in a file; see `open_source`."""
    try:
        table = _open_table(path)
        try:
            source = ColumnarSource(path, table.schema, keep, columns)
            has_rows = table.has_rows()
        finally:
            table.close()
    except _CANNOT_READ as error:
        raise UsageError(f"{path}: cannot be read: {_why(error)}; mend the file") from error
    if not has_rows:
        raise UsageError(f"{path}: has no rows; expected at least one")
    return source


class ColumnarSource(FileSource):
    """Rows of a Parquet or Arrow file."""

    def __init__(
        self, path: Path, schema: pa.Schema, keep: Sequence[str], columns: Collection[str] | None
    ) -> None:
        super().__init__(path)
        names: list[str] = schema.names
        if not names:
            raise UsageError(f"{path}: has no columns; expected requests or documents")
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"{path}: has two columns {name!r}; rename one")
        for name in keep:
            if name not in names:
                raise UsageError(
                    f"{path}: keep: there is no column {name!r}; the file has {shown_names(names)}"
                )
        self.columns = tuple(names)
        self.keep_columns = tuple(KeepColumn.of(name, schema.field(name).type) for name in keep)
        wanted = names if columns is None else [name for name in names if name in columns]
        self._reading = _Reading(wanted, self.keep_columns, spare=names[0])

    def scan(self) -> Iterator[Raw]:
        row = 0
        try:
            table = _open_table(self.path)
            try:
                for first, batch in table.slices(self._reading.columns):
                    numbers = range(first, first + batch.num_rows)
                    yield from self._reading.rows(batch, numbers)
                    row = numbers.stop
            finally:
                table.close()
        except _CANNOT_READ as error:
            yield _broken(row, error)

    def cursor(self) -> FileCursor:
        return ColumnarCursor(_open_table(self.path), self._reading)


class ColumnarCursor:
    """Chosen rows of a columnar file; what lies between them is not turned into Python objects."""

    def __init__(self, table: Table, reading: _Reading) -> None:
        self._table = table
        self._reading = reading
        self._slices = table.slices(reading.columns)
        self._first = 0
        self._batch: pa.RecordBatch | None = None

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[Raw]:
        rows = [row for row, _ in wanted]
        taken: list[Raw] = []
        while len(taken) < len(rows):
            row = rows[len(taken)]
            try:
                batch = self._slice_with(row)
            except _CANNOT_READ as error:
                taken.append(_broken(row, error))
                continue
            if batch is None:
                taken.append(Raw(row, row + 1, 0, None, ENDED))
                continue
            end = self._first + batch.num_rows
            here = [one for one in rows[len(taken) :] if one < end]
            taken.extend(self._reading.rows(_chosen(batch, self._first, here), here))
        return taken

    def read_on(self, place: int) -> Iterator[Raw]:
        row = place
        try:
            while (batch := self._slice_with(row)) is not None:
                numbers = range(row, self._first + batch.num_rows)
                yield from self._reading.rows(batch.slice(row - self._first), numbers)
                row = numbers.stop
        except _CANNOT_READ as error:
            yield _broken(row, error)

    def close(self) -> None:
        self._table.close()

    def _slice_with(self, row: int) -> pa.RecordBatch | None:
        assert row >= self._first, "cursors only go forward"
        while self._batch is None or row >= self._first + self._batch.num_rows:
            if self._table.chapter(row) > self._table.chapter(self._first):
                self._slices = self._table.slices(self._reading.columns, row)
            following = next(self._slices, None)
            if following is None:
                return None
            self._first, self._batch = following
        return self._batch


class _Reading:
    """Which columns are read, and how a batch of them becomes rows."""

    def __init__(self, values: Sequence[str], keep: Sequence[KeepColumn], spare: str) -> None:
        self._values = values
        self._keep = keep
        # A batch without columns has no rows, so read one even if nobody looks at it.
        self.columns = list(dict.fromkeys([*values, *(column.name for column in keep)])) or [spare]

    def rows(self, batch: pa.RecordBatch, numbers: Sequence[int]) -> list[Raw]:
        """The rows of `batch`, numbered; those that cannot be read have a fault."""
        try:
            return self._convert(batch, numbers)
        except _CANNOT_READ as error:
            if batch.num_rows == 1:
                return [_broken(numbers[0], error)]
        return [
            self.rows(batch.slice(index, 1), [number])[0] for index, number in enumerate(numbers)
        ]

    def _convert(self, batch: pa.RecordBatch, numbers: Sequence[int]) -> list[Raw]:
        cells = [_readable(batch.column(name)) for name in self._values]
        values = [dict(zip(self._values, row, strict=True)) for row in zip(*cells, strict=True)]
        kept = [_stored(batch.column(column.name), column) for column in self._keep]
        keep = [list(row) for row in zip(*kept, strict=True)]
        return [
            Raw(row, row + 1, 0, row_values, None, row_keep)
            for row, row_values, row_keep in zip(
                numbers,
                values or [{} for _ in numbers],
                keep or [[] for _ in numbers],
                strict=True,
            )
        ]


def _readable(column: Any) -> Any:
    if pt.is_binary(column.type) or pt.is_large_binary(column.type):
        try:
            column = column.cast(pa.large_string())  # older writers mark text as bytes
        except pa.ArrowInvalid:
            return column.to_pylist()
    kind = readable_type(column.type)
    if kind != column.type:
        column = column.cast(kind, safe=False)
    if pt.is_nested(kind):
        return column.to_pylist(maps_as_pydicts="strict")
    return column.to_pylist()  # without options it is nine times as fast


def _stored(column: Any, keep: KeepColumn) -> Any:
    if keep.as_json:
        return [to_json(value) for value in _readable(column)]
    return column.cast(keep.storage).to_pylist()


def _chosen(batch: pa.RecordBatch, first: int, rows: Sequence[int]) -> pa.RecordBatch:
    if rows[-1] - rows[0] == len(rows) - 1:
        return batch.slice(rows[0] - first, len(rows))
    return batch.take(pa.array([row - first for row in rows]))


def _open_table(path: Path) -> Table:
    return ParquetTable(path) if path.name.lower().endswith(".parquet") else ArrowTable(path)


def _broken(row: int, error: Exception) -> Raw:
    return Raw(row, row + 1, 0, None, f"cannot be read: {_why(error)}")


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "text that is not UTF-8"
    if isinstance(error, KeyError):  # its words are the key, which may be the row's text
        return "a map with the same key twice, or an unknown time zone"
    return reason(error)
