"""Reads one model's rows, in input order, as its workers want them.

Each model has its own cursor over the input, so a slow model never holds up a fast one. `chunk`
blocks for I/O and runs in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from batchkit.errors import RowError, StoppedError
from batchkit.plan import BLOCK_ROWS, BlockStore, Entry, Plan, block_entries
from batchkit.pool import Fed, Prior
from batchkit.prepare import Builder
from batchkit.records import Request
from batchkit.rows import SettledRows
from batchkit.sources import Cursor


class Feeder:
    """The rows of one model that have not settled, as requests."""

    def __init__(
        self,
        *,
        plan: Plan,
        model: str,
        store: BlockStore,
        cursor: Cursor,
        builder: Builder,
        digest: Callable[[Request], int],
        settled: SettledRows,
        prior: Mapping[int, Prior],
        chunk_rows: int,
        bound: Callable[[Request], int],
        only: frozenset[int] | None = None,
    ) -> None:
        """`only` are the rows to ask at all; None for every one."""
        self._plan = plan
        self._model = plan.models.index(model)
        self._cursor = cursor
        self._builder = builder
        self._digest = digest
        self._prior = prior
        self._chunk_rows = chunk_rows
        self._only = only
        self._wanted = self._walk(store, settled)
        self._bound_of = bound
        self.last_row = -1  # of the chunks so far
        self.bound = 0  # PICO; the most that one attempt of them can cost

    def _walk(self, store: BlockStore, settled: SettledRows) -> Iterator[tuple[int, Entry]]:
        for number in range(-(-self._plan.rows // BLOCK_ROWS)):
            first = number * BLOCK_ROWS
            if settled.has_all(range(first, min(first + BLOCK_ROWS, self._plan.rows))):
                continue
            for row, entry in enumerate(block_entries(store.block(number)), first):
                if entry.model != self._model or entry.invalid or row in settled:
                    continue
                if self._only is None or row in self._only:
                    yield row, entry

    def chunk(self) -> list[Fed]:
        """The next rows, at most `chunk_rows`; empty at the end. Raises `StoppedError`."""
        wanted: dict[int, Entry] = {}
        for row, entry in self._wanted:
            wanted[row] = entry
            if len(wanted) == self._chunk_rows:
                break
        if not wanted:
            return []
        fed: list[Fed] = []
        for raw in self._cursor.take([(row, entry.offset) for row, entry in wanted.items()]):
            try:
                request = self._builder.build(raw)
            except RowError as error:
                raise self._changed(raw.row) from error
            if self._digest(request) != wanted[raw.row].digest:
                raise self._changed(raw.row)
            self.last_row = raw.row
            self.bound = max(self.bound, self._bound_of(request))
            fed.append(Fed(request, self._prior.get(raw.row)))
        if len(fed) != len(wanted):
            raise self._changed(
                next(row for row in wanted if row not in {f.request.row for f in fed})
            )
        return fed

    def close(self) -> None:
        """Close the cursor."""
        self._cursor.close()

    def _changed(self, row: int) -> StoppedError:
        return StoppedError(
            f"{self._plan.input['path']}: row {row} is not what it was when the run began; "
            "put the file back as it was, or begin another run with -o"
        )
