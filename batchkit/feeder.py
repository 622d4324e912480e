"""Reads one model's rows, in input order, as its workers want them.

Each model has its own cursor over the input, so a slow model never holds up a fast one. `batch`
blocks for I/O and runs in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from batchkit.assembly import Assembly
from batchkit.document import Document
from batchkit.errors import RowError, StoppedError
from batchkit.journal import SettledChunk
from batchkit.plan import BLOCK_ROWS, Entry, Plan, block_entries
from batchkit.pool import Fed
from batchkit.prepare import Builder
from batchkit.records import Prior, Request
from batchkit.rows import SettledRows
from batchkit.sources import Cursor, Raw


class Store(Protocol):
    """What a feeder reads of the journal."""

    def block(self, number: int) -> bytes: ...
    def chunks(self, first: int, last: int) -> Iterator[SettledChunk]: ...


class Feeder:
    """The rows of one model that have not settled, as requests."""

    def __init__(
        self,
        *,
        plan: Plan,
        model: str,
        store: Store,
        cursor: Cursor,
        builder: Builder,
        digest: Callable[[Request | Document], int],
        settled: SettledRows,
        prior: Mapping[int, Prior],
        batch_requests: int,
        bound: Callable[[Request | Document], int],
        only: frozenset[int] | None = None,
    ) -> None:
        """`only` are the rows to ask at all; None for every one."""
        self._plan = plan
        self._model = plan.models.index(model)
        self._store = store
        self._cursor = cursor
        self._builder = builder
        self._digest = digest
        self._prior = prior
        self._batch_requests = batch_requests
        self._only = only
        self._wanted = self._walk(settled)
        self._bound_of = bound
        self.last_row = -1  # of the batches so far
        self.bound = 0  # PICO; the most that one attempt of them can cost
        self.most_requests = 1  # that one of their rows is

    def _walk(self, settled: SettledRows) -> Iterator[tuple[int, Entry]]:
        for number in range(-(-self._plan.rows // BLOCK_ROWS)):
            first = number * BLOCK_ROWS
            if settled.has_all(range(first, min(first + BLOCK_ROWS, self._plan.rows))):
                continue
            for row, entry in enumerate(block_entries(self._store.block(number)), first):
                if entry.model != self._model or not entry.requests or row in settled:
                    continue
                if self._only is None or row in self._only:
                    yield row, entry

    def batch(self) -> list[Fed]:
        """The next rows, up to about `batch_requests` requests; empty at the end.

        Raises `StoppedError` if a row is not what was planned.
        """
        wanted: dict[int, Entry] = {}
        requests = 0
        for row, entry in self._wanted:
            wanted[row] = entry
            requests += entry.requests
            if requests >= self._batch_requests:
                break
        if not wanted:
            return []
        self.most_requests = max(self.most_requests, *(e.requests for e in wanted.values()))
        fed: list[Fed] = []
        taken = self._cursor.take([(row, entry.offset) for row, entry in wanted.items()])
        if len(taken) != len(wanted):
            raise self._changed(min(wanted.keys() - {raw.row for raw in taken}))
        for raw in taken:
            asked = self._asked(raw, wanted[raw.row])
            self.last_row = raw.row
            self.bound = max(self.bound, self._bound_of(asked))
            if isinstance(asked, Request):
                fed.append(Fed(asked, self._prior.get(raw.row)))
            else:
                fed += self._chunks(asked)
        return fed

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

    def _chunks(self, document: Document) -> list[Fed]:
        """The chunks of a document that lack an answer; if none does, one to settle it with."""
        row = document.row
        prior = self._prior.get(row)
        known = [] if prior is None else self._store.chunks(row, row + 1)
        assembly = Assembly(document, prior, known)
        chunks = assembly.missing() or document.chunks[-1:]
        return [Fed(chunk, assembly.prior(chunk), assembly) for chunk in chunks]

    def _changed(self, row: int) -> StoppedError:
        return StoppedError(
            f"{self._plan.input['path']}: row {row} is not what it was when the run began; "
            "put the file back as it was, or begin another run with -o"
        )
