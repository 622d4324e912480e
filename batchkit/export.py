"""Results in other formats, streaming and in input order; also of a run that goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from batchkit.errors import UsageError
from batchkit.joined import InputColumns, input_columns
from batchkit.reading import RunReading, open_run
from batchkit.writers import To, writer_of


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What of a run is exported, and how."""

    to: To
    columns: tuple[str, ...] = ()  # in this order; all if none is named
    only: str | None = None  # rows of this status
    with_input: bool = False  # the input's columns too
    input: Path | None = None  # where the input is now, if it was moved
    defuse: bool = False  # CSV cells that a spreadsheet would take for formulas


class Exported(msgspec.Struct, frozen=True):
    """What an export came to."""

    rows: int
    missing: int  # rows that have not settled yet
    all_rows: bool  # false while the input was not checked to its end


def check_selection(selection: Selection) -> None:
    """Raise `UsageError` for what can be told without the run."""
    if selection.to is To.OPENAI and (selection.columns or selection.with_input):
        option = "--columns" if selection.columns else "--with-input"
        raise UsageError(f"{option}: the openai format has its own columns; leave it out")
    if selection.defuse and selection.to is not To.CSV:
        raise UsageError(f"--defuse: is for csv, not for {selection.to}; leave it out")


def export(folder: Path, selection: Selection, out: BinaryIO) -> Exported:
    """Write the results of the run in `folder` to `out`.

    Raises `UsageError` for a folder without a run, for columns that there are not, and for an input
    that is not the one that was planned.
    """
    check_selection(selection)
    with open_run(folder) as run:
        joined = input_columns(run, selection.input) if selection.with_input else None
        schema = _schema(run, joined)
        names = _names(schema, selection.columns)
        batches = _chosen(_results(run, names, joined, selection), names)
        writer = writer_of(selection.to, defuse=selection.defuse)
        rows = writer(batches, pa.schema([schema.field(name) for name in names]), out)
        return Exported(rows, run.missing, run.plan.is_whole)


def _schema(run: RunReading, joined: InputColumns | None) -> pa.Schema:
    return run.schema if joined is None else pa.schema([*run.schema, *joined.fields()])


def _names(schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    for name in columns:
        if name not in schema.names:
            raise UsageError(f"--columns: no column {name!r}; there are {', '.join(schema.names)}")
    return list(columns or schema.names)


def _results(
    run: RunReading, names: Sequence[str], joined: InputColumns | None, selection: Selection
) -> Iterator[pa.RecordBatch]:
    """The rows that are wanted, with the columns that are and those that it takes to find them."""
    taken = dict.fromkeys(name for name in run.schema.names if name in names)
    taken |= dict.fromkeys(["row", "status"])
    batches = run.results(list(taken))
    if selection.only is not None:
        batches = _of_status(batches, selection.only)
    return batches if joined is None else joined.beside(batches)


def _of_status(batches: Iterator[pa.RecordBatch], status: str) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.filter(pc.equal(batch.column("status"), pa.scalar(status)))


def _chosen(batches: Iterator[pa.RecordBatch], names: list[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.num_rows:
            yield batch.select(names)
