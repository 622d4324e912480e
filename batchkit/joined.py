"""The input's columns beside the results', row by row, as both are read as streams.

A result knows the position of its row, and the input must be the file that was planned, so nothing
is looked up. Kept columns are among the results already; of the others a name that the results have
too gets `input_` in front.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from batchkit.errors import UsageError
from batchkit.reading import RunReading
from batchkit.sources import Raw, Source, open_source
from batchkit.sources.inference import KeepInference
from batchkit.sources.keep import KeepColumn, plain_type, to_plain, to_storage

PREFIX = "input_"
_COLUMNS_MOST = 1000  # different keys in a JSONL file; more are data, not names


class InputColumns(msgspec.Struct, frozen=True):
    """Columns of the input, read in order."""

    source: Source
    columns: tuple[KeepColumn, ...]
    names: tuple[str, ...]  # in the export

    def fields(self) -> list[pa.Field[Any]]:
        return [
            pa.field(name, plain_type(column))
            for name, column in zip(self.names, self.columns, strict=True)
        ]

    def beside(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """`batches`, which have a column `row` that ascends, with these columns behind theirs."""
        rows = self.source.scan()
        for batch in batches:
            wanted: list[Any] = batch.column("row").to_pylist()
            values = [self._values(_forward(rows, row)) for row in wanted]
            columns = zip(*values, strict=True) if values else [()] * len(self.columns)
            arrays = map(to_plain, self.columns, columns)
            fields = [*batch.schema, *self.fields()]
            yield pa.RecordBatch.from_arrays([*batch.columns, *arrays], schema=pa.schema(fields))

    def _values(self, raw: Raw | None) -> list[Any]:
        if raw is None or (raw.values is None and raw.keep is None):
            return [None] * len(self.columns)
        return to_storage(self.columns, raw)


def input_columns(run: RunReading, file: Path | None = None) -> InputColumns:
    """The columns of the input of `run`, in `file` if it was moved.

    Raises `UsageError` if it is not the file that was planned.
    """
    if "group" in run.plan.asks:
        raise UsageError(
            "--with-input: a row of this run is several rows of its input ([group]); "
            "name the columns that are needed under keep"
        )
    noted = run.plan.input
    path = Path(str(noted.get("path"))) if file is None else file
    source = open_source(path)
    if not source.is_as_noted(noted):
        raise UsageError(
            f"{path}: is not the input of this run, or was changed since; "
            "name that file with --with-input FILE"
        )
    kept = {column.name for column in run.layout.keep}
    if source.columns is None:
        columns = _found_columns(source, kept)
    else:
        names = [name for name in source.columns if name not in kept]
        source = open_source(path, keep=names, columns=())
        columns = source.keep_columns or ()
    return InputColumns(source, columns, _names(columns, run.schema.names))


def _found_columns(source: Source, kept: Collection[str]) -> tuple[KeepColumn, ...]:
    """The columns of a JSONL file: every key that a row has, in the order of their appearance."""
    found: dict[str, KeepInference] = {}
    for raw in source.scan():
        for name, value in (raw.values or {}).items():
            if name not in found:
                if len(found) == _COLUMNS_MOST:
                    raise UsageError(
                        f"{source.path}: more than {_COLUMNS_MOST:,} different keys, too many for "
                        "columns; keep those that are needed in the job file"
                    )
                found[name] = KeepInference([name])
            found[name].observe({name: value})
    inferred = (found[name] for name in found if name not in kept)
    return tuple(column for one in inferred for column in one.finish(str(source.path)))


def _names(columns: Sequence[KeepColumn], taken: Sequence[str]) -> tuple[str, ...]:
    used = {*taken}
    names = []
    for column in columns:
        name = column.name
        while name in used:
            name = f"{PREFIX}{name}"
        used.add(name)
        names.append(name)
    return tuple(names)


def _forward(rows: Iterator[Raw], wanted: int) -> Raw | None:
    """The row at position `wanted`, which lies ahead; None if the input ends before it."""
    for raw in rows:
        if raw.row == wanted:
            return raw
    return None
