"""Rows of the input as they were planned: walked by the plan, read in place, held against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from batchkit.document import Document
from batchkit.errors import RowError, StoppedError
from batchkit.plan import BLOCK_ROWS, BlockStore, Entry, Plan, block_entries
from batchkit.prepare import Builder
from batchkit.records import Request
from batchkit.rows import SettledRows
from batchkit.sources import Cursor, Raw


class PlannedRows:
    """The rows of one run, for one reader that only goes forward. Blocks for I/O."""

    def __init__(
        self,
        plan: Plan,
        *,
        store: BlockStore,
        cursor: Callable[[], Cursor],
        builder: Builder,
        digest: Callable[[Request | Document], int],
        settled: SettledRows,
        is_over: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_over` tells whether the plan has all the rows that it will have."""
        self.plan = plan
        self._is_over = is_over
        self._store = store
        self._open_cursor = cursor
        self._cursor = cursor()
        self._builder = builder
        self._digest = digest
        self._settled = settled

    @property
    def known(self) -> tuple[int, bool]:
        """How many rows there are so far, and whether they are all."""
        is_over = self._is_over()  # read first: more rows may come in between
        return self.plan.rows, is_over

    def walk(
        self, is_wanted: Callable[[Entry], bool], start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Entry]]:
        """Rows that have not settled and whose entry is wanted, in input order.

        From the block of `start` on, up to `stop` or the plan's end.
        """
        stop = self.plan.rows if stop is None else stop
        for number in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
            first = number * BLOCK_ROWS
            if self._settled.has_all(range(first, min(first + BLOCK_ROWS, stop))):
                continue
            for row, entry in enumerate(block_entries(self._store.block(number)), first):
                if is_wanted(entry) and row not in self._settled:
                    yield row, entry

    def read(self, wanted: Mapping[int, Entry]) -> list[Request | Document]:
        """What `wanted` rows ask, in input order; raises `StoppedError` if one is not as planned.

        Rows of one call come after those of the call before, unless there was a `rewind`.
        """
        taken = self._cursor.take([(row, entry.offset) for row, entry in wanted.items()])
        if len(taken) != len(wanted):
            raise self._changed(min(wanted.keys() - {raw.row for raw in taken}))
        return [self._asked(raw, wanted[raw.row]) for raw in taken]

    def rewind(self) -> None:
        """Read from the first row again: cursors only go forward."""
        self._cursor.close()
        self._cursor = self._open_cursor()

    def close(self) -> None:
        """Close the cursor."""
        self._cursor.close()

    def _asked(self, raw: Raw, entry: Entry) -> Request | Document:
        try:
            asked = self._builder.build(raw)
        except RowError as error:
            raise self._changed(raw.row) from error
        if self._digest(asked) != entry.digest:
            raise self._changed(raw.row)
        return asked

    def _changed(self, row: int) -> StoppedError:
        return StoppedError(
            f"{self.plan.input['path']}: row {row} is not what it was when the run began; "
            "put the file back as it was, or begin another run with -o"
        )
