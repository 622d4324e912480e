"""Reads a run as it was at one moment: its sealed parts, and what is still in the journal.

Rows come in input order and in batches, so memory does not grow with the run; what a part holds is
read column by column, and only the columns that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa

from batchkit.errors import UsageError
from batchkit.folder import RunFolder
from batchkit.inputs import layout_of
from batchkit.journal import DamagedError, Journal, SealedPart
from batchkit.parts import Layout, attempts_batch, results_batch, results_schema
from batchkit.plan import Plan, decode_plan
from batchkit.unseal import batches_of, check_attempts

_BATCH_ROWS = 1000
_ROWS_MOST = 1 << 62


class NotPlannedError(UsageError):
    """A run whose input was hardly read: nothing was sent."""


class RunReading:
    """A run at one moment. What is damaged raises `DamagedError` where it is read."""

    def __init__(self, folder: RunFolder, journal: Journal, plan: Plan, layout: Layout) -> None:
        self.folder = folder
        self.journal = journal
        self.plan = plan
        self.layout = layout
        self.schema = results_schema(layout)
        self.parts = journal.parts()  # the sealed ones

    @property
    def missing(self) -> int:
        """Rows that have not settled."""
        sealed = sum(part.rows for part in self.parts)
        return self.plan.rows - sealed - self.journal.count_settled(0, self.plan.rows)

    def results(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Settled rows: `columns` in their order, all if None."""
        rows, is_sealed = self.plan.part_rows, {part.part for part in self.parts}
        for number in range(-(-self.plan.rows // rows)):
            if number in is_sealed:
                path = self.layout.results_path(number)
                yield from batches_of(path, self.layout.format, columns)
                continue
            settled = self.journal.settled(number * rows, (number + 1) * rows)
            while group := list(islice(settled, _BATCH_ROWS)):
                batch = results_batch(self.layout, group)
                yield batch if columns is None else batch.select(list(columns))

    def sealed_attempts(self, part: SealedPart, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """HTTP exchanges of a part's rows; raises `DamagedError` if they are not as sealed."""
        fault = check_attempts(self.layout, part)
        if fault is not None:
            raise DamagedError(fault)
        yield from batches_of(self.layout.attempts_path(part.part), self.layout.format, columns)

    def open_attempts(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """HTTP exchanges of every other row, those that have not settled too; in no order."""
        settled = self.journal.settled(0, _ROWS_MOST)
        of_settled = (one.attempt for one in settled if one.attempt is not None)
        for attempts in (of_settled, self.journal.attempts(0, _ROWS_MOST)):
            while group := list(islice(attempts, _BATCH_ROWS)):
                yield attempts_batch(self.layout, group).select(list(columns))


@contextmanager
def open_run(path: Path) -> Iterator[RunReading]:
    """The run in the folder `path`; raises `UsageError` if there is none to read."""
    folder = RunFolder(path)
    if not folder.journal.is_file():
        raise UsageError(f"{path}: no run here; expected a folder that batchkit run has made")
    with closing(Journal.open(folder.journal, read_only=True)) as journal, journal.snapshot():
        blob = journal.get("plan")
        plan = None if blob is None else decode_plan(blob)
        if plan is None or not plan.rows:
            raise NotPlannedError(f"{path}: none of the run's rows was planned; run it again")
        yield RunReading(folder, journal, plan, layout_of(folder, plan))
